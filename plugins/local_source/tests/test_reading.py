"""The local source reads whatever is in its file, and survives it."""

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from cabochon import ConfigurationError, Connected, DataUpdateReceived, SourceEvent, load_settings
from cabochon_local_source.settings import LocalSourceSettings
from cabochon_local_source.source import LocalUpdateSource, open_local_source


def update(name: str, data: str = "1") -> str:
    return f'{{"id": "{name}", "entries": [{{"url": "", "dst_path": "/a", "data": {data}}}]}}\n'


def settings(**variables: str) -> LocalSourceSettings:
    return load_settings(LocalSourceSettings, variables)


async def read(file: Path, content: str | bytes, **variables: str) -> tuple[LocalUpdateSource, list[SourceEvent]]:
    """Write the file, and read all events of it."""
    await anyio.Path(file).write_bytes(content if isinstance(content, bytes) else content.encode())
    async with open_local_source(settings(OPAL_LOCAL_UPDATES=str(file), **variables)) as source:
        return source, [event async for event in source.events()]


def ids(events: list[SourceEvent]) -> list[str | None]:
    return [event.update.id for event in events if isinstance(event, DataUpdateReceived)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "updates.jsonl"


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[]",
        "{}",
        '{"entries": "all"}',
        '{"entries": [{"dst_path": "/a"}]}',
        '{"entries": [{"url": "", "save_method": "MERGE"}]}',
        '{"entries": []',
        '{"entries": []} {"entries": []}',
        "\ufeff",
        "[" * 100_000,
    ],
)
async def test_malformed_line_is_skipped_and_counted(file: Path, line: str) -> None:
    """One bad line costs no other one; it is logged with its number, never with what it holds."""
    with capture_logs() as logged:
        source, events = await read(file, update("u1") + line + "\n" + update("u2"))

    assert ["u1", "u2"] == ids(events)
    assert 1 == source.bad_lines
    assert [("data_update.malformed", 2)] == [(event["event"], event["line"]) for event in logged]


@pytest.mark.parametrize("data", [b'"\xff"', b"[" * 100_000 + b"]" * 100_000], ids=["no UTF-8", "too deep"])
async def test_document_that_nobody_can_read_is_skipped(file: Path, data: bytes) -> None:
    """What is no text, or nested beyond reason, is malformed where it stands, and harms nothing."""
    line = b'{"id": "bad", "entries": [{"url": "", "dst_path": "/a", "data": %b}]}\n' % data

    source, events = await read(file, line + update("u1").encode())

    assert (["u1"], 1) == (ids(events), source.bad_lines)


async def test_empty_lines_and_windows_ends_mean_nothing(file: Path) -> None:
    """A file edited by hand reads as it looks."""
    source, events = await read(file, update("u1").replace("\n", "\r\n") + "\r\n  \n\n" + update("u2"))

    assert (["u1", "u2"], 0) == (ids(events), source.bad_lines)


async def test_empty_file_has_no_updates(file: Path) -> None:
    """The source is connected, and ends."""
    _, events = await read(file, "")

    assert [Connected()] == events


async def test_huge_line_comes_whole(file: Path) -> None:
    """A document of many chunks arrives as it was written, and so do its neighbours."""
    document = '"' + "x" * 6_000_000 + '"'

    _, events = await read(file, update("u1") + update("u2", document) + update("u3"))

    assert ["u1", "u2", "u3"] == ids(events)
    assert isinstance(events[2], DataUpdateReceived)
    assert document.encode() == events[2].update.entries[0].inline


async def test_documents_keep_every_digit(file: Path) -> None:
    """Documents stay raw JSON from the file on."""
    _, events = await read(file, update("u1", "[1.10, 12345678901234567890, 1e400]"))

    assert isinstance(events[1], DataUpdateReceived)
    assert b"[1.10, 12345678901234567890, 1e400]" == events[1].update.entries[0].inline


async def test_updates_come_on_the_first_topic(file: Path) -> None:
    """Entries name their own topics; the update as a whole comes on the agent's first one."""
    source, events = await read(file, update("u1"), OPAL_DATA_TOPICS="tenants/acme, policy_data")

    assert ("tenants/acme", "policy_data") == tuple(source.topics)
    assert ["tenants/acme"] == [event.topic for event in events if isinstance(event, DataUpdateReceived)]


async def test_followed_line_counts_once_it_has_ended(file: Path) -> None:
    """A program that writes a line in two halves is not read in between."""
    first, second = update("u1")[:20], update("u1")[20:]
    await anyio.Path(file).write_text(first)
    async with open_local_source(settings(OPAL_LOCAL_UPDATES=str(file), OPAL_LOCAL_FOLLOW="true")) as source:
        events = source.events()
        assert Connected() == await anext(events)
        with anyio.move_on_after(0.3) as waited:
            await anext(events)
        assert waited.cancelled_caught
        assert 0 == source.bad_lines

    assert ["u1"] == ids((await read(file, first + second))[1])


async def test_without_a_file_the_source_ends_at_once() -> None:
    """Base data alone are a use of it."""
    async with open_local_source(settings()) as source:
        assert [Connected()] == [event async for event in source.events()]
        assert not source.has_policies


@pytest.mark.parametrize(
    "variables",
    [{"OPAL_LOCAL_UPDATES": "{}/nosuch.jsonl"}, {"OPAL_LOCAL_UPDATES": "{}"}, {"OPAL_LOCAL_POLICIES": "{}/nosuch"}],
    ids=["no file", "a folder", "no folder"],
)
async def test_what_is_not_there_stops_the_start(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """One line names the variable and its value."""
    given = {name: value.format(tmp_path) for name, value in variables.items()}
    ((name, value),) = given.items()

    with pytest.raises(ConfigurationError, match=f"{name}={value} should be"):
        async with open_local_source(settings(**given)):
            pass
