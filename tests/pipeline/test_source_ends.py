"""What an update source is told of the ends of its updates."""

from __future__ import annotations

import msgspec
from structlog.testing import capture_logs

from cabochon import DataUpdateReceived
from cabochon.schemas import DataUpdate

from .conftest import HandSource, Running, Start


class TellingSource(HandSource):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[object, str | None]] = []

    def ended(self, position: object, error: str | None) -> None:
        self.ends.append((position, error))


class BreakingSource(TellingSource):
    """Remembers, and breaks."""

    def ended(self, position: object, error: str | None) -> None:
        super().ended(position, error)
        raise ValueError("broken")


async def publish(running: Running, position: object, path: str, data: object, *, topic: str = "") -> None:
    document = {"id": str(position), "entries": [{"url": "", "dst_path": path, "data": data, "topics": ["t"]}]}
    update = msgspec.json.decode(msgspec.json.encode(document), type=DataUpdate)
    await running.source.send.send(DataUpdateReceived(update, topic, position))


async def test_source_is_told_of_ends_and_failures(start: Start) -> None:
    """
    Each end once with its error; once more, without one, when something newer covers what had failed.
    """
    async with start(source=TellingSource) as running:
        source = running.source
        assert isinstance(source, TellingSource)
        await publish(running, 1, "/scalar", 1)
        await publish(running, 2, "/scalar/below", 1)
        await publish(running, None, "/other", 1)
        await running.until(lambda: len(source.ends) >= 2, "two ends")
        await running.ended("None")

        assert (1, None) == source.ends[0]
        position, error = source.ends[1]
        assert 2 == position
        assert "/scalar/below" in (error or "")
        assert 2 == len(source.ends)

        await publish(running, 3, "/scalar", {"below": 2})
        await running.until(lambda: len(source.ends) == 4, "the newer update and what it covers")
        assert {(2, None), (3, None)} == set(source.ends[2:])


async def test_what_is_given_up_stays_failed(start: Start) -> None:
    """
    A path that is none is never tried again: nothing that comes later takes the failure back.
    """
    async with start(source=TellingSource) as running:
        source = running.source
        assert isinstance(source, TellingSource)
        document = {
            "id": "1",
            "entries": [
                {"url": "", "dst_path": "/a/%ff", "data": 1},
                {"url": "", "dst_path": "/scalar/below", "data": 1},
            ],
        }
        await publish(running, 0, "/scalar", 1)
        update = msgspec.json.decode(msgspec.json.encode(document), type=DataUpdate)
        await running.source.send.send(DataUpdateReceived(update, "", 1))
        await running.until(lambda: len(source.ends) == 2, "its end")
        await publish(running, 2, "/scalar", {"below": 2})
        await running.until(lambda: (2, None) in source.ends, "the newer update")
        assert (1, None) not in source.ends


async def test_what_is_for_others_ends_at_once(start: Start) -> None:
    """
    An update without an entry for this agent has a position like any other, and so has a copy.
    """

    class TwoTopics(TellingSource):
        topics = ("t", "u")

    async with start(source=TwoTopics) as running:
        source = running.source
        assert isinstance(source, TellingSource)
        for position, topic in ((1, "t"), (1, "u")):
            await publish(running, position, "/a", 1, topic=topic)
        await running.until(lambda: len(source.ends) == 2, "both ends")
        assert [(1, None)] * 2 == source.ends


async def test_source_that_breaks_when_told_does_no_harm(start: Start) -> None:
    """
    The error is logged with its kind, and the sync goes on.
    """
    with capture_logs() as logs:
        async with start(source=BreakingSource) as running:
            for number in (1, 2):
                await publish(running, number, f"/path{number}", number)
                await running.ended(str(number))
            assert {"path1": 1, "path2": 2} == running.engine.documents

    errors = [entry["error"] for entry in logs if entry["event"] == "update_source.ended_failed"]
    assert ["ValueError: broken"] * 2 == errors
