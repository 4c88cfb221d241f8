"""What a source is told of positions, when telling fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from cabochon.contract.update_source import SourceEvent, UpdateSource
from cabochon.errors import SourceError
from cabochon.schemas import DataSourceConfig, PolicyBundle
from cabochon.sync.intake.acknowledgements import Acknowledgements


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Trio with a clock that jumps to the next thing to happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class _Forgetful(UpdateSource):
    """Takes an acknowledgement at the third try."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.done = anyio.Event()

    async def events(self) -> AsyncGenerator[SourceEvent]:
        await anyio.sleep_forever()
        yield  # type: ignore[misc]

    async def data_sources(self) -> DataSourceConfig:
        return DataSourceConfig(entries=())

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        return None

    async def acknowledge(self, position: object) -> None:
        self.asked.append(position)
        if len(self.asked) < 3:
            msg = "busy"
            raise SourceError(msg)
        self.done.set()


@pytest.mark.anyio
async def test_position_that_was_not_taken_is_given_again() -> None:
    """
    Nothing else need happen for that: the last position of a quiet day is not lost.
    """
    source = _Forgetful()
    one = Acknowledgements(source)
    one.expect(7)(None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        with anyio.fail_after(60):
            await source.done.wait()
        tasks.cancel_scope.cancel()

    assert [7, 7, 7] == source.asked
