"""The few places where the properties look behind the pipeline's public face, all on one page."""
# ruff: noqa: SLF001 - that is what this page is for
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.json_values import decode
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.desired.state import DesiredState
from cabochon.sync.engine.view import EngineView
from cabochon.sync.outcome.follow_ups import Reported
from cabochon.sync.pipeline import Pipeline
from cabochon.sync.rules.retry_book import Cause, FailedEntry, RetryBook
from cabochon.sync.rules.update import Entry, EntryState, Kind, Update
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

__all__ = ["Attempt", "Outcome", "away", "book", "desired", "desired_documents", "log_of", "trace", "unsettled"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry of an update; `taken_back` if it was put off, and refused once the engine was back."""

    path: DocumentPath
    method: str
    state: EntryState
    raw: bytes | None
    operations: tuple[PatchOperation, ...]
    error: Exception | None
    taken_back: bool = False

    @property
    def replaces(self) -> bool:
        return self.method != "PATCH"

    @property
    def in_force(self) -> bool:
        return self.state in {EntryState.SAVED, EntryState.PUT_OFF} and not self.taken_back


@dataclass(frozen=True, slots=True)
class Attempt:
    """An update as it ended."""

    number: int
    origin: int
    id: str
    kind: Kind
    outcomes: tuple[Outcome, ...]
    success: bool | None


def _outcome(entry: Entry) -> Outcome:
    return Outcome(entry.path, entry.method, entry.state, entry.raw, entry.operations, entry.error)


def trace(pipeline: Pipeline, ended: Callable[[Attempt], None]) -> None:
    """Hear of every update that ends, before anyone else does."""
    endings = pipeline._sync.committer._announcements._endings
    inner = endings.ended

    def on_end(update: Update, record: TransactionRecord | None) -> None:
        outcomes = tuple(_outcome(entry) for entry in update.entries)
        success = None if record is None else record.success
        ended(Attempt(update.number, update.origin, update.id, update.kind, outcomes, success))
        inner(update, record)

    endings.ended = on_end


def trace_refusals(pipeline: Pipeline, attempts: list[Attempt]) -> None:
    """Take note in `attempts` of what was put off and is refused once the engine is back."""
    follow_ups = pipeline._sync.follow_ups
    refused, restored = follow_ups.refused, follow_ups.restored
    judged: list[int] = [0]

    def on_refused(tops: Mapping[DocumentPath, StoreRejectedError]) -> None:
        for place in range(judged[0], len(attempts)):
            outcomes = tuple(
                replace(outcome, taken_back=True)
                if outcome.state is EntryState.PUT_OFF and any(top.overlaps(outcome.path) for top in tops)
                else outcome
                for outcome in attempts[place].outcomes
            )
            attempts[place] = replace(attempts[place], outcomes=outcomes)
        refused(tops)

    def on_restored(paths: Collection[DocumentPath]) -> None:
        judged[0] = len(attempts)
        restored(paths)

    follow_ups.refused, follow_ups.restored = on_refused, on_restored


def view(pipeline: Pipeline) -> EngineView:
    return pipeline._sync.view


def desired(pipeline: Pipeline) -> DesiredState:
    return pipeline._sync.view.desired


def desired_documents(pipeline: Pipeline) -> dict[str, Any]:
    """Return what the pipeline believes that the engine should hold."""
    raw = pipeline._sync.view.desired.read(ROOT)
    return {} if raw is None else decode(raw)


def kept(pipeline: Pipeline) -> int:
    """Count the documents that are remembered in case the engine refuses what was put off."""
    return pipeline._sync.view.put_off.remembered


def log_of(pipeline: Pipeline) -> TransactionLog:
    return pipeline._sync.view.log.now


def book(pipeline: Pipeline) -> RetryBook[Reported]:
    return pipeline._sync.follow_ups.book


def waiting_for_fetch(pipeline: Pipeline) -> list[FailedEntry[Reported]]:
    """Return entries whose fetch failed and that are to be tried again."""
    return [failed for failed in pipeline._sync.follow_ups.book._failed if failed.cause is Cause.FETCH]


def away(pipeline: Pipeline) -> bool:
    return pipeline._sync.committer.engine_away


def unsettled(pipeline: Pipeline) -> list[str]:
    """Say what is still going on."""
    out: list[str] = []
    if pipeline.under_way.updates:
        out.append(f"{pipeline.under_way.updates} updates under way")
    if waiting_for_fetch(pipeline):
        out.append("failed fetches wait for a retry")
    if pipeline._sync.committer.engine_away:
        out.append("the engine is away")
    if pipeline._sync.view.put_off:
        out.append(f"put off at {sorted(map(str, pipeline._sync.view.put_off))}")
    if pipeline._sync.view.log.wants_commit:
        out.append("the log has changes to be written")
    if pipeline._sync.scheduler.queued or pipeline._sync.scheduler._waiting:
        out.append("the scheduler holds updates back")
    return out
