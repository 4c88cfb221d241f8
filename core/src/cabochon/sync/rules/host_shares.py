"""Who may work next where many want to: each host gets a share of the workers, and one that fails a smaller one.

A host may have half of the workers, and a sixteenth of them after it failed. Hosts that did not do well last, or were
not tried before, have half of the workers among them all: however many hang, there is room for the others. Fewer than
sixteen workers are not shared out. Every step costs the same however much waits. No clock, tasks or I/O.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

__all__ = ["Shares"]

T = TypeVar("T")

_HOSTS_REMEMBERED = 1_000
_FAILING = 16


class _Host(Generic[T]):
    __slots__ = ("listed", "name", "running", "waiting", "well")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: OrderedDict[T, None] = OrderedDict()
        self.running = 0
        self.well: bool | None = None
        """Whether it did well the last time; None before that."""
        self.listed = False


class Shares(Generic[T]):
    """What waits for one of `workers` workers, in the order in which it came for each host, hosts in turns."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._share = workers // 2 if workers >= _FAILING else workers
        self._failing = workers // _FAILING if workers >= _FAILING else workers
        self._hosts: dict[str, _Host[T]] = {}
        self._idle: OrderedDict[str, _Host[T]] = OrderedDict()
        """Hosts of which nothing waits or runs, idle for longest first: how they did is remembered for a while."""
        self._listed: dict[bool, deque[_Host[T]]] = {True: deque(), False: deque()}
        """Hosts that may work, by whether they are unproven: new, or failed of late."""
        self._running: dict[T, tuple[_Host[T], bool]] = {}
        self._unproven = 0
        self._waiting = 0

    def __len__(self) -> int:
        """How much waits."""
        return self._waiting

    @property
    def running(self) -> int:
        """How much is being worked on."""
        return len(self._running)

    def add(self, name: str, item: T) -> None:
        """Let something wait for its turn, on behalf of a host."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = self._idle.pop(name, None) or _Host(name)
        self._waiting += item not in host.waiting
        host.waiting[item] = None
        self._list(host)

    def take(self) -> T | None:
        """Return what may be worked on now, None if nothing may; `done` follows."""
        while len(self._running) < self._workers:
            unproven = bool(self._listed[True]) and self._unproven < self._share
            if not self._listed[unproven]:
                return None
            host = self._listed[unproven].popleft()
            host.listed = False
            item: T | None = None
            if (host.well is not True) is unproven and host.waiting and host.running < self._most_of(host):
                item, _ = host.waiting.popitem(last=False)
                self._waiting -= 1
                host.running += 1
                self._unproven += unproven
                self._running[item] = (host, unproven)
            self._list(host)
            if item is not None:
                return item
        return None

    def done(self, item: T, *, well: bool | None) -> None:
        """Take note of how something that was taken went; None says nothing about its host."""
        host, unproven = self._running.pop(item)
        host.running -= 1
        self._unproven -= unproven
        if well is not None:
            host.well = well
        self._list(host)
        self._forget(host)

    def withdraw(self, name: str, item: T) -> None:
        """Take back what waits."""
        host = self._hosts[name]
        del host.waiting[item]
        self._waiting -= 1
        self._forget(host)

    def _most_of(self, host: _Host[T]) -> int:
        return self._failing if host.well is False else self._share

    def _list(self, host: _Host[T]) -> None:
        if not host.listed and host.waiting and host.running < self._most_of(host):
            host.listed = True
            self._listed[host.well is not True].append(host)

    def _forget(self, host: _Host[T]) -> None:
        if host.waiting or host.running:
            return
        self._idle[host.name] = self._hosts.pop(host.name)
        if len(self._idle) > _HOSTS_REMEMBERED:
            self._idle.popitem(last=False)
