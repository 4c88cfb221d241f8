"""Who is told what of entries that are not in force when their update ends."""

from __future__ import annotations

import pytest

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.documents.path import DocumentPath
from cabochon.errors import FetchError
from cabochon.schemas import DataSourceEntry, UpdateCallback
from cabochon.sync.bell import Bell
from cabochon.sync.outcome import follow_ups
from cabochon.sync.outcome.callback_register import CallbackRegister
from cabochon.sync.outcome.follow_ups import FollowUps, Reported
from cabochon.sync.outcome.reports import Reporting, ReportLimits
from cabochon.sync.outcome.traces import Traces
from cabochon.sync.rules.records import record_of
from cabochon.sync.rules.retry_book import RetryBook
from cabochon.sync.rules.scheduler import Scheduler
from cabochon.sync.rules.update import Entry, EntryState, Update

AWAY = OSError("the engine is away")


class Desk:
    """Follow-ups with a scheduler, and what publishers were told: the update's id and the error, or None."""

    def __init__(self, *, reports: bool = False) -> None:
        metrics = Metrics()
        reporting = Reporting(
            CallbackRegister(UpdateCallback(), {}),
            {},
            enabled=reports,
            limits=ReportLimits(),
            metrics=metrics,
            traces=Traces(metrics, lambda: 0.0),
        )
        self.scheduler = Scheduler()
        self.follow_ups = FollowUps(
            self.scheduler, RetryBook(Backoff()), reporting, metrics, clock=lambda: 0.0, engine_back=Bell()
        )
        self.told: list[tuple[str, str | None]] = []

    def arrives(self, name: str, path: str, *, url: str = "") -> Update:
        entry = Entry(DocumentPath.parse(path), "PUT", DataSourceEntry(url=url, dst_path=path))
        if not url:
            entry.ready(b"1")
        ending = Reported(self.follow_ups, name, 1, (), lambda error: self.told.append((name, error)))
        update = Update(name, [entry], ending=ending)
        self.scheduler.arrive(update)
        return update

    def ends(self, update: Update) -> None:
        record = record_of(update, 1.0)
        assert update.ending is not None
        self.follow_ups.settle_older(update)
        update.ending.ended(update, record)

    def puts_off(self, name: str, path: str) -> None:
        update = self.arrives(name, path)
        update.entries[0].put_off(AWAY)
        self.ends(update)


@pytest.mark.parametrize("reports", [False, True])
def test_everyone_whose_write_was_put_off_hears_that_it_is_in_force(*, reports: bool) -> None:
    """
    Two updates of one path, with reports or without: the first is in force, or replaced, as well as the second.
    """
    desk = Desk(reports=reports)
    desk.puts_off("first", "/users/bob")
    desk.puts_off("second", "/users/bob")
    desk.follow_ups.restored([DocumentPath.parse("/users/bob")])

    assert [("first", str(AWAY)), ("second", str(AWAY)), ("first", None), ("second", None)] == desk.told


def test_what_came_again_goes_first_when_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A path that is written all the time does not push out the only write of another.
    """
    monkeypatch.setattr(follow_ups, "_PUT_OFF_AT_MOST", 3)
    desk = Desk()
    desk.puts_off("only", "/rare")
    for number in range(5):
        desk.puts_off(f"hot {number}", "/hot")
    desk.follow_ups.restored([])

    assert {"only", "hot 3", "hot 4"} == {name for name, error in desk.told if error is None}


def test_moot_entry_whose_fetch_fails_after_that_is_no_failure() -> None:
    """
    Something newer is in force in its place, whichever of the two came first.
    """
    desk = Desk()
    older = desk.arrives("older", "/a", url="http://127.0.0.1:1/a")
    newer = desk.arrives("newer", "/a")
    newer.entries[0].save()
    desk.scheduler.ended(newer)
    desk.scheduler.failed(older.entries[0], FetchError("timed out", url=""))
    record = record_of(older, 1.0)
    desk.ends(older)

    assert EntryState.MOOT is older.entries[0].state
    assert record is not None
    assert (True, [("older", None)]) == (record.success, desk.told)
