"""The log in SQLite: what it refuses to open, what a kill leaves, what a fault of the disk does."""

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from cabochon import BackboneError, ConfigurationError, LogTrimmedError, NewRecord
from cabochon.testing.backbone_contract import data, read_all
from cabochon_opal_server.log.settings import SqliteLogSettings
from cabochon_opal_server.log.sqlite_log import open_sqlite_log

APPENDER = Path(__file__).with_name("appender.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def settings(path: Path) -> SqliteLogSettings:
    return SqliteLogSettings(update_log_path=path)


def contents(path: Path) -> bytes:
    return path.read_bytes()


def change(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


async def refusal(settings: SqliteLogSettings) -> str:
    with pytest.raises(ConfigurationError) as error:
        async with open_sqlite_log(settings):
            pass
    text = str(error.value)
    assert text.startswith("OPAL_UPDATE_LOG_PATH: ")
    assert str(settings.path()) in text
    assert "\n" not in text
    return text


# ----------------------------------------------------------------------------------------------------------- opening


async def test_log_is_in_the_base_folder(tmp_path: Path) -> None:
    """
    Unless OPAL_UPDATE_LOG_PATH names a file, it is update_log.db in OPAL_BASE_DIR; only its owner may read it.
    """
    settings = SqliteLogSettings(base_dir=tmp_path / "base")
    with capture_logs() as logs:
        async with open_sqlite_log(settings) as log:
            await log.append(data("a"))
            modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "base").iterdir()}

    assert {"update_log.db", "update_log.db-wal", "update_log.db-shm", "update_log.db.lock"} == set(modes)
    assert {0o600} == set(modes.values())
    opened = {"event": "update_log.opened", "log_level": "info", "path": str(settings.path()), "floor": 0, "head": 0}
    assert [opened] == logs


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (a)")
    other.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"This is a letter to my mother.\n" * 200)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 4096 // 2 * 4096)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096 * 2)


def emptied(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"x" * 5000)
    os.truncate(path, 0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (no_database, "is no update log, or damaged"),
        (newer, "has version 2 of the format, and this server knows 1"),
        (cut_off, "damaged"),
        (overwritten, "damaged"),
        (emptied, "is damaged: it is empty, and log.db-wal is not"),
    ],
)
async def test_spoilt_file_is_refused(
    settings: SqliteLogSettings, path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """
    A file that is no log of this version, or damaged, stops the start, and stays as it is.
    """
    async with open_sqlite_log(settings) as log:
        for _ in range(20):
            await log.append(data(*("x" * 900 for _ in range(20))))
    spoil(path)
    before = contents(path)

    said = await refusal(settings)

    assert reason in said
    assert "move this one away to begin a new log" in said
    assert before == contents(path)


async def test_database_of_another_program_is_refused(settings: SqliteLogSettings, path: Path) -> None:
    """
    Nothing is written into somebody else's database.
    """
    other_program(path)
    before = contents(path)

    assert "is a database of another program" in await refusal(settings)
    assert before == contents(path)


async def test_second_server_is_refused(settings: SqliteLogSettings) -> None:
    """
    One server has the file; another one is told so, and the first goes on.
    """
    async with open_sqlite_log(settings) as log:
        assert "is in use by another server" in await refusal(settings)
        await log.append(data("a"))
    async with open_sqlite_log(settings) as log:
        assert 1 == len(await read_all(log))


async def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """
    A folder that can't be written to is one line that says what to do.
    """
    (tmp_path / "file").touch()
    said = await refusal(SqliteLogSettings(base_dir=tmp_path / "file"))

    assert "Name a file in a folder that this user may write to" in said


# ------------------------------------------------------------------------------------------------------------- faults


DAMAGES = {
    "a byte": 'UPDATE record SET body = \'{"user": "eve"}\' WHERE number = 2',
    "no text": "UPDATE record SET body = CAST(x'ff00' AS TEXT) WHERE number = 2",
    "no JSON": "UPDATE record SET topics = '{' WHERE number = 2",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_record_is_set_aside(settings: SqliteLogSettings, path: Path, damage: str) -> None:
    """
    What SQLite does not see is noticed, and is no update: who needs it is told to start afresh, and the log goes on.
    """
    async with open_sqlite_log(settings) as log:
        await log.append(data('{"user": "alice"}', '{"user": "bob"}', '{"user": "carol"}'))
    with sqlite3.connect(path) as database:
        database.execute(DAMAGES[damage])
    database.close()
    async with open_sqlite_log(settings) as log:
        assert 1 == len(await log.read(0, limit=1))
        assert [] == list(log.problems())
        with capture_logs() as said, pytest.raises(LogTrimmedError) as error:
            await log.read(0, limit=500)
        assert 2 == error.value.floor
        assert [[2]] == [line["numbers"] for line in said if line["event"] == "update_log.record_set_aside"]
        assert [3] == [record.number for record in await log.read(2, limit=500)]
        assert ["the log of updates has lost 1 records to damage"] == list(log.problems())
        assert [4] == list(await log.append(data("{}")))
    async with open_sqlite_log(settings) as log:
        assert 2 == (await log.bounds()).floor
        assert [3, 4] == [record.number for record in await log.read(2, limit=500)]
        assert log.problems(), "it is not forgotten by a restart"


async def test_failed_write_is_told_and_the_next_one_works(settings: SqliteLogSettings, path: Path) -> None:
    """
    Where the disk refuses, all who waited hear so, no number is lost, and it goes on when the disk does.
    """
    async with open_sqlite_log(settings) as log:
        await log.append(data("a"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # as a full disk would, it keeps the writer from writing
        failed: list[str] = []

        async def append() -> None:
            with pytest.raises(BackboneError, match="failed: database is locked") as error:
                await log.append(data("b"))
            failed.append(str(error.value))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(append)
        other.close()

        assert 5 == len(failed)
        assert [2] == list(await log.append(data("c")))
        assert [b"a", b"c"] == [record.body for record in await read_all(log)]


async def test_body_that_is_no_text_is_its_senders_fault(settings: SqliteLogSettings) -> None:
    """
    What is not UTF-8 is refused to who gave it; the others' appends go on.
    """
    async with open_sqlite_log(settings) as log:
        with pytest.raises(ValueError, match="utf-8"):
            await log.append([NewRecord("data", (), b"\xff")])
        assert [1] == list(await log.append(data("a")))


async def test_closed_log_says_so(settings: SqliteLogSettings) -> None:
    """
    Nothing hangs on a log that was closed.
    """
    async with open_sqlite_log(settings) as log:
        pass

    for call in (log.append(data("a")), log.read(0, limit=1), log.documents(), log.compact({})):
        with pytest.raises(BackboneError, match="is closed"):
            await call
    async with aclosing(log.follow(0)) as batches:
        with pytest.raises(BackboneError, match="is closed"):
            await anext(batches)


async def test_appends_go_to_disk_together(settings: SqliteLogSettings) -> None:
    """
    Those that come while one is written share the next transaction: all have one time.
    """
    async with open_sqlite_log(settings) as log:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(log.append, data(number))
        times = {record.appended_at for record in await read_all(log)}

    assert len(times) <= 3


async def test_page_is_bounded_in_bytes(settings: SqliteLogSettings) -> None:
    """
    A page of large records has fewer of them, and at least one.
    """
    async with open_sqlite_log(settings) as log:
        await log.append(data("x" * 3_000_000, "y" * 3_000_000, "z" * 9_000_000, "a", "b"))
        pages: list[list[int]] = []
        after = 0
        while page := await log.read(after, limit=100):
            pages.append([record.number for record in page])
            after = page[-1].number

    assert [[1], [2], [3], [4, 5]] == pages


# ------------------------------------------------------------------------------------------------------------ kill -9


def killed(path: Path, acknowledged: int) -> dict[int, str]:
    """Run a process that appends, kill it once it has acknowledged so many, return what it acknowledged in all."""
    with subprocess.Popen([sys.executable, APPENDER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = (line.split()[1:] for line in process.stdout if line.startswith("appended ") and line.endswith("\n"))
        found = dict(itertools.islice(said, acknowledged))
        process.send_signal(signal.SIGKILL)
        found |= dict(said)
    return {int(number): body for number, body in found.items()}


@pytest.mark.slow
async def test_killed_server_loses_nothing_acknowledged(settings: SqliteLogSettings, path: Path) -> None:
    """
    kill -9 in the midst of appends, again and again: every acknowledged number is there with its body, without a hole.
    """
    acknowledged: dict[int, str] = {}
    for count in (1, 30, 200, 500, 1000):
        new = await anyio.to_thread.run_sync(killed, path, count)
        assert len(new) >= count
        assert not acknowledged.keys() & new.keys()
        acknowledged |= new
        async with open_sqlite_log(settings) as log:
            found: dict[int, str] = {record.number: record.body.decode() for record in await read_all(log)}
        assert list(range(1, len(found) + 1)) == list(found)
        assert acknowledged == {number: found.get(number) for number in acknowledged}


async def test_followers_of_a_restarted_log_go_on(settings: SqliteLogSettings) -> None:
    """
    The seam of a restart: pages from disk, then what comes.
    """
    async with open_sqlite_log(settings) as log:
        await log.append(data(*range(1200)))
    async with open_sqlite_log(settings) as log, aclosing(log.follow(0)) as batches:
        await log.append(data("new"))
        found = list(await anext(batches))
        while found[-1].number < 1201:
            found += await anext(batches)

    assert list(range(1, 1202)) == [record.number for record in found]
