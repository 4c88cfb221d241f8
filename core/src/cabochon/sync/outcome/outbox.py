"""Which report is delivered next, to whom, and which is dropped when there are too many. No clock, tasks or I/O.

Each receiver gets its reports in order, one at a time. Receivers of one host share what that host may take of the
workers: half of them, or a single one after a delivery that failed. Hosts that have not taken a report yet, or failed
to, share half of the workers among them all; so however many receivers hang, the others are served. Every step costs
the same however much waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from typing import NamedTuple
from urllib.parse import urlsplit

from cabochon.contract.callback_reporter import Callback

__all__ = ["Delivery", "Outbox", "Receiver"]

_HOSTS_REMEMBERED = 1_000


class Delivery(NamedTuple):
    """One report for one receiver."""

    callback: Callback
    update_id: str | None
    policy_hash: str | None
    report: bytes


class _Host:
    __slots__ = ("listed", "name", "ready", "receivers", "running", "takes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Receiver] = deque()
        self.receivers = 0
        self.running = 0
        self.takes: bool | None = None
        """Whether it took what was last brought to it; None before that."""
        self.listed = False


class Receiver:
    """Who has reports waiting; `tries` counts those of the first of them, which `began` when it was first tried."""

    __slots__ = ("began", "doubtful", "host", "queue", "tries", "trying", "url")

    def __init__(self, url: str, host: _Host) -> None:
        self.url = url
        self.host = host
        self.queue: deque[Delivery] = deque()
        self.tries = 0
        self.began = 0.0
        self.trying = False
        self.doubtful = False


class Outbox:
    """At most `size` deliveries that wait or are under way, by at most `workers` workers."""

    def __init__(self, *, size: int, workers: int) -> None:
        self._size = size
        self._share = max(1, workers // 2)
        self._receivers: dict[str, Receiver] = {}
        self._hosts: dict[str, _Host] = {}
        self._idle: OrderedDict[str, _Host] = OrderedDict()
        """Hosts of no receiver, the one that was idle longest first: how they were is remembered for a while."""
        self._by_length: dict[int, dict[Receiver, None]] = {}
        self._longest = 0
        self._listed: dict[bool, deque[_Host]] = {True: deque(), False: deque()}
        """Hosts that can be served, by whether they are in doubt."""
        self._doubtful = 0
        self._pausing: list[tuple[float, int, Receiver]] = []
        self._turns = itertools.count()
        self._waiting = 0

    def __len__(self) -> int:
        """How many deliveries wait or are under way."""
        return self._waiting

    def put(self, delivery: Delivery) -> Delivery | None:
        """Take a delivery in; return the one that is dropped for it, of the receiver that has most, if it is full."""
        dropped = None
        if self._waiting >= self._size:
            dropped = self._make_room()
            if dropped is None:
                return delivery
        receiver = self._receivers.get(delivery.callback.url)
        if receiver is None:
            receiver = self._receivers[delivery.callback.url] = Receiver(delivery.callback.url, self._host(delivery))
            receiver.host.receivers += 1
            receiver.host.ready.append(receiver)
            self._list(receiver.host)
        self._resized(receiver, 1)
        receiver.queue.append(delivery)
        return dropped

    def take(self) -> Receiver | None:
        """Return whose first delivery is to be tried now, None if nobody's; `done` or `again` follows."""
        while True:
            doubtful = bool(self._listed[True]) and self._doubtful < self._share
            listed = self._listed[doubtful]
            if not listed:
                return None
            host = listed.popleft()
            host.listed = False
            receiver = self._first_of(host) if (host.takes is not True) is doubtful else None
            self._list(host)
            if receiver is not None:
                return receiver

    def _first_of(self, host: _Host) -> Receiver | None:
        while host.ready and host.running < self._most_of(host):
            receiver = host.ready.popleft()
            if not receiver.queue:
                continue
            host.running += 1
            receiver.trying = True
            receiver.tries += 1
            receiver.doubtful = host.takes is not True
            self._doubtful += receiver.doubtful
            return receiver
        return None

    def done(self, receiver: Receiver, *, taken: bool) -> None:
        """Take note that the first delivery of a receiver was taken, or is given up."""
        self._tried(receiver, taken=taken)
        receiver.queue.popleft()
        self._resized(receiver, -1)
        receiver.tries = 0
        if receiver.queue:
            receiver.host.ready.append(receiver)
        self._list(receiver.host)
        self._forget(receiver)

    def again(self, receiver: Receiver, due_at: float) -> None:
        """Take note that the first delivery of a receiver failed, and is to be tried again at a time."""
        self._tried(receiver, taken=False)
        heapq.heappush(self._pausing, (due_at, next(self._turns), receiver))
        self._list(receiver.host)

    def wake(self, now: float) -> None:
        """Make ready what was to be tried again by now."""
        while self._pausing and self._pausing[0][0] <= now:
            receiver = heapq.heappop(self._pausing)[2]
            if receiver.queue:
                receiver.host.ready.append(receiver)
                self._list(receiver.host)

    def next_due_at(self) -> float | None:
        """When `wake` is worth it again; None if nothing waits for a time."""
        return self._pausing[0][0] if self._pausing else None

    # --------------------------------------------------------------------------------------------------- how

    def _host(self, delivery: Delivery) -> _Host:
        try:
            name = urlsplit(delivery.callback.url).netloc.rpartition("@")[2].lower()
        except ValueError:
            name = ""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = self._idle.pop(name, None) or _Host(name)
        return host

    def _most_of(self, host: _Host) -> int:
        return 1 if host.takes is False else self._share

    def _list(self, host: _Host) -> None:
        if not host.listed and host.ready and host.running < self._most_of(host):
            host.listed = True
            self._listed[host.takes is not True].append(host)

    def _tried(self, receiver: Receiver, *, taken: bool) -> None:
        receiver.trying = False
        receiver.host.running -= 1
        receiver.host.takes = taken
        self._doubtful -= receiver.doubtful

    def _resized(self, receiver: Receiver, by: int) -> None:
        """Keep the receivers in the order of how much waits for them, before a queue grows or after it shrank."""
        now = len(receiver.queue)
        before, after = (now, now + 1) if by > 0 else (now + 1, now)
        self._waiting += by
        if before:
            of_before = self._by_length[before]
            del of_before[receiver]
            if not of_before:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, {})[receiver] = None
        if after > self._longest or (before == self._longest and before not in self._by_length):
            self._longest = after

    def _make_room(self) -> Delivery | None:
        for receiver in self._by_length[self._longest]:
            # What is under way is not dropped: the one behind it is.
            place = 1 if receiver.trying else 0
            if len(receiver.queue) > place:
                dropped = receiver.queue[place]
                del receiver.queue[place]
                self._resized(receiver, -1)
                if not place:
                    receiver.tries = 0
                self._forget(receiver)
                return dropped
        return None

    def _forget(self, receiver: Receiver) -> None:
        if receiver.queue:
            return
        del self._receivers[receiver.url]
        host = receiver.host
        host.receivers -= 1
        if not host.receivers:
            host.ready.clear()
            self._idle[host.name] = self._hosts.pop(host.name)
            if len(self._idle) > _HOSTS_REMEMBERED:
                self._idle.popitem(last=False)
