"""What became of each update, policy bundle and report, for whoever traces them."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = ["EntryTrace", "Period", "PolicyTrace", "ReportTrace", "Tracer", "UpdateTrace"]


class Period(NamedTuple):
    """When something began and ended, in seconds since the epoch."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTrace:
    """How one entry of a data update went.

    Attributes:
        dst_path: where it was to be written.
        save_method: "PUT", "PATCH" or "DELETE".
        url: where it was fetched from, masked; "" if its data came with it.
        topics: the topics it was published under.
        fetch: the fetch with all of its tries; None if there was none.
        fetched: whether its data is there.
        saved: whether it is in force, or something newer that covers it.
        moot: whether something newer covered it before it was written: then it was dropped.
        error: why not; "" if it is.
        size_bytes: the size of its JSON; None if it was not had.
        traceparent: the W3C trace context among the headers of its `config`; None if there is none.
    """

    dst_path: str
    save_method: str
    url: str = ""
    topics: tuple[str, ...] = ()
    fetch: Period | None = None
    fetched: bool
    saved: bool
    moot: bool = False
    error: str = ""
    size_bytes: int | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTrace:
    """How one data update went, from its arrival to its end.

    Attributes:
        update_id: as published; the entries of one base load share one.
        kind: "live", "base", "periodic", "retry", or "caller" for a transaction of a plugin.
        source: which of the base data sources it loads, from 0 in their order; None for none of them.
        number: the agent's own, in the order of arrival.
        period: from the arrival to the end.
        entries: in the order of the update.
        commit: from when the committer took it to its end; None if nothing of it was to be written.
        group_size: updates that ended with the same commit.
        error: why its transaction has failed; "" if it has not.
    """

    update_id: str
    kind: str
    source: int | None = None
    number: int
    period: Period
    entries: tuple[EntryTrace, ...]
    commit: Period | None
    group_size: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTrace:
    """How one policy bundle went.

    Attributes:
        policy_hash: the bundle's; None if it could not be had.
        fetch: asking the source for it.
        commit: writing its data files and its policies; None if it could not be had.
        policies: how many came in it; for a delta those that changed.
        error: why it is not in force; "" if it is.
    """

    policy_hash: str | None
    fetch: Period
    commit: Period | None = None
    policies: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrace:
    """How the delivery of one report to one receiver went.

    Attributes:
        update_id: the update that it is about; None for one about policies.
        policy_hash: the policies that it is about; None for one about data.
        url: the receiver's, masked.
        period: from the first try to the end, pauses included.
        attempts: tries made.
        error: why it was given up; "" if it was taken.
    """

    update_id: str | None
    policy_hash: str | None
    url: str
    period: Period
    attempts: int
    error: str


class Tracer(ABC):
    """Hears what became of updates. Its methods must return at once: the sync waits for them.

    One that raises is taken out of service, logged by its class and counted.
    """

    def update_ended(self, trace: UpdateTrace) -> None:
        """Hear of a data update that has ended."""

    def policy_ended(self, trace: PolicyTrace) -> None:
        """Hear of a policy bundle that is in force, or failed."""

    def report_ended(self, trace: ReportTrace) -> None:
        """Hear of a report that was delivered, or given up."""


AnyTrace: TypeAlias = UpdateTrace | PolicyTrace | ReportTrace
