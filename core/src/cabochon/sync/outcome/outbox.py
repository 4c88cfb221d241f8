"""Which report is delivered next, to whom, and which is dropped when there are too many. No clock, tasks or I/O.

Each receiver gets its reports in order, one at a time; receivers of one host share what that host may take of the
workers. Every step costs the same however much waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import NamedTuple

from cabochon.contract.callback_reporter import Callback
from cabochon.sync.rules.host_shares import Shares
from cabochon.urls import host_of

__all__ = ["Delivery", "Outbox", "Receiver"]


class Delivery(NamedTuple):
    """One report for one receiver."""

    callback: Callback
    update_id: str | None
    policy_hash: str | None
    report: bytes


class Receiver:
    """Who has reports waiting; `tries` counts those of the first of them, which `began` when it was first tried."""

    __slots__ = ("began", "host", "queue", "tries", "trying", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = host_of(url)
        self.queue: deque[Delivery] = deque()
        self.tries = 0
        self.began = 0.0
        self.trying = False


class Outbox:
    """At most `size` deliveries that wait or are under way, by at most `workers` workers."""

    def __init__(self, *, size: int, workers: int) -> None:
        self._size = size
        self._shares: Shares[Receiver] = Shares(workers)
        self._receivers: dict[str, Receiver] = {}
        self._by_length: dict[int, dict[Receiver, None]] = {}
        self._longest = 0
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
            receiver = self._receivers[delivery.callback.url] = Receiver(delivery.callback.url)
            self._shares.add(receiver.host, receiver)
        self._resized(receiver, len(receiver.queue), len(receiver.queue) + 1)
        receiver.queue.append(delivery)
        return dropped

    def take(self) -> Receiver | None:
        """Return whose first delivery is to be tried now, None if nobody's; `done` or `again` follows."""
        while (receiver := self._shares.take()) is not None:
            if receiver.queue:
                receiver.trying = True
                receiver.tries += 1
                return receiver
            self._shares.done(receiver, well=None)
        return None

    def done(self, receiver: Receiver, *, well: bool) -> None:
        """Take note that the first delivery of a receiver was taken, or is given up."""
        receiver.trying = False
        receiver.tries = 0
        self._shares.done(receiver, well=well)
        receiver.queue.popleft()
        self._resized(receiver, len(receiver.queue) + 1, len(receiver.queue))
        if receiver.queue:
            self._shares.add(receiver.host, receiver)

    def again(self, receiver: Receiver, due_at: float) -> None:
        """Take note that the first delivery of a receiver failed, and is to be tried again at a time."""
        receiver.trying = False
        self._shares.done(receiver, well=False)
        heapq.heappush(self._pausing, (due_at, next(self._turns), receiver))

    def wake(self, now: float) -> None:
        """Make ready what was to be tried again by now."""
        while self._pausing and self._pausing[0][0] <= now:
            receiver = heapq.heappop(self._pausing)[2]
            if receiver.queue:
                self._shares.add(receiver.host, receiver)

    def next_due_at(self) -> float | None:
        """When `wake` is worth it again; None if nothing waits for a time."""
        return self._pausing[0][0] if self._pausing else None

    def _resized(self, receiver: Receiver, before: int, after: int) -> None:
        """Keep the receivers by how much waits for each."""
        self._waiting += after - before
        if before:
            of_before = self._by_length[before]
            del of_before[receiver]
            if not of_before:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, {})[receiver] = None
        else:
            del self._receivers[receiver.url]
        if after > self._longest or (before == self._longest and before not in self._by_length):
            self._longest = after

    def _make_room(self) -> Delivery | None:
        for receiver in self._by_length[self._longest]:
            # What is under way is not dropped: the one behind it is.
            place = 1 if receiver.trying else 0
            if len(receiver.queue) > place:
                dropped = receiver.queue[place]
                del receiver.queue[place]
                self._resized(receiver, len(receiver.queue) + 1, len(receiver.queue))
                if not place:
                    receiver.tries = 0
                return dropped
        return None
