"""Housekeeping: needless and old records go, in bites, and a backbone that fails is tried again."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from cabochon import BackboneError, Bounds, NewRecord, Retention
from cabochon.testing.backbone_contract import read_all
from cabochon_opal_server.log.housekeeping import Housekeeping
from cabochon_opal_server.log.settings import RetentionSettings, SqliteLogSettings
from cabochon_opal_server.log.sqlite_log import SqliteLog, open_sqlite_log

KEEP_ALL = Retention()


@pytest.fixture
async def updates(tmp_path: Path) -> AsyncGenerator[SqliteLog]:
    async with open_sqlite_log(SqliteLogSettings(update_log_path=tmp_path / "log.db")) as log:
        yield log


def update(path: str) -> NewRecord:
    entry = f'{{"url": "", "dst_path": "{path}", "topics": ["t"], "data": {{}}}}'
    return NewRecord("data", ("t",), f'{{"entries": [{entry}]}}'.encode())


async def test_needless_updates_go(updates: SqliteLog) -> None:
    """
    Of many updates of a path only the last is left, across bites and rounds; others stay.
    """
    housekeeping = Housekeeping(updates, KEEP_ALL)
    await updates.append([update("/other"), *(update(f"/users/{number % 3}") for number in range(1000))])
    with capture_logs() as logs:
        await housekeeping.tidy()
    assert [1, 999, 1000, 1001] == [record.number for record in await read_all(updates)]
    assert [{"event": "update_log.compacted", "log_level": "info", "records": 997, "head": 1001}] == logs

    await updates.append([update("/users")])
    await housekeeping.tidy()
    assert [1, 1002] == [record.number for record in await read_all(updates)]
    assert {1000: 1002, 5: 8} == await updates.superseded([1, 5, 1000])


async def test_old_updates_go(updates: SqliteLog) -> None:
    """
    What is beyond the limits is trimmed, and compaction goes on with the rest.
    """
    await updates.append([update("/a"), update("/a")])
    housekeeping = Housekeeping(updates, Retention(max_age_s=0.0))
    with capture_logs() as logs:
        await housekeeping.tidy()
    assert Bounds(2, 2) == await updates.bounds()
    assert [{"event": "update_log.trimmed", "log_level": "info", "floor": 2, "head": 2}] == logs


class Failing(SqliteLog):
    """A log that fails to compact, once."""

    failed = False

    async def compact(self, superseded: Mapping[int, int]) -> None:
        if superseded and not self.failed:
            self.failed = True
            raise BackboneError("no disk today")
        await super().compact(superseded)


def rounds(count: int, scope: anyio.CancelScope) -> Callable[[float], Awaitable[None]]:
    """A sleep that takes no time, and ends the scope after so many long ones."""
    left = count

    async def sleep(seconds: float) -> None:
        nonlocal left
        await anyio.lowlevel.checkpoint()
        if seconds >= 1:
            left -= 1
            if not left:
                scope.cancel()

    return sleep


async def test_failure_is_made_good_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A round that fails is logged, and the next one does what it left.
    """
    monkeypatch.setattr("cabochon_opal_server.log.sqlite_log.SqliteLog", Failing)
    async with open_sqlite_log(SqliteLogSettings(update_log_path=tmp_path / "log.db")) as updates:
        await updates.append([update("/a"), update("/a")])
        with capture_logs() as logs, anyio.CancelScope() as scope:
            await Housekeeping(updates, KEEP_ALL, sleep=rounds(2, scope)).run()

        assert ["update_log.not_tidied", "update_log.compacted"] == [entry["event"] for entry in logs]
        assert [2] == [record.number for record in await read_all(updates)]


def test_retention_is_a_setting() -> None:
    """
    A week and a gibibyte, unless the operator says otherwise.
    """
    assert Retention(max_age_s=7 * 86400, max_bytes=1 << 30) == RetentionSettings().retention
