"""The local source reads a file as it grows."""

from pathlib import Path
from typing import Any

import anyio
from structlog.testing import capture_logs

from cabochon import Connected, DataUpdateReceived, load_settings
from cabochon_local_source.settings import LocalSourceSettings
from cabochon_local_source.source import open_local_source


def line(name: str) -> str:
    return f'{{"id": "{name}", "entries": []}}\n'


async def test_lines_are_numbered_as_in_the_file_however_they_arrive(tmp_path: Path) -> None:
    """
    The number of a malformed line is that of the file, whether lines come together or one by one.
    """
    file = tmp_path / "updates.jsonl"
    file.write_text(line("first") + "\n" + line("second"))
    settings = load_settings(LocalSourceSettings, {"OPAL_LOCAL_UPDATES": str(file), "OPAL_LOCAL_FOLLOW": "true"})
    async with open_local_source(settings) as source:
        events: Any = source.events()
        with capture_logs() as logged, anyio.fail_after(10):
            assert isinstance(await anext(events), Connected)
            positions = [(await anext(events)).position for _ in range(2)]
            with file.open("a") as more:
                more.write("hello\n")
                more.write(line("third"))
            third = await anext(events)
            await events.aclose()

    assert [1, 3] == positions
    assert isinstance(third, DataUpdateReceived)
    assert ("third", 5) == (third.update.id, third.position)
    assert [4] == [event["line"] for event in logged if event["event"] == "data_update.malformed"]


async def test_last_line_without_its_end_counts_at_the_end_of_the_file(tmp_path: Path) -> None:
    """
    A file that is not followed is read to its last character.
    """
    file = tmp_path / "updates.jsonl"
    file.write_text(line("first") + line("second").rstrip())
    settings = load_settings(LocalSourceSettings, {"OPAL_LOCAL_UPDATES": str(file)})
    async with open_local_source(settings) as source:
        ids = [event.update.id async for event in source.events() if isinstance(event, DataUpdateReceived)]

    assert ["first", "second"] == ids
