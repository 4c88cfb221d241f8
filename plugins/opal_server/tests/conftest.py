"""What the server's tests share: they run on asyncio, as the server does, and log nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from .rig import Rig, running


@pytest.fixture
def anyio_backend() -> str:
    """Uvicorn, and the protocol of the WebSockets, are asyncio's."""
    return "asyncio"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[Rig]:
    """A server with nothing set but its folder and its port."""
    async with running(tmp_path) as one:
        yield one
