"""Large documents are worked on in another process."""

from __future__ import annotations

import msgspec
import pytest

from cabochon.documents import json_values
from cabochon.documents.json_values import JsonError
from cabochon.documents.off_loop import LARGE_BYTES, off_loop


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.slow
async def test_large_work_is_done_elsewhere(anyio_backend: str) -> None:
    """
    Work on a large document comes back from another process, and so does its refusal.
    """
    del anyio_backend
    raw = b'"' + b"x" * LARGE_BYTES + b'"'
    assert json_values.peer_hash(raw) == await off_loop(json_values.peer_hash, raw)

    with pytest.raises(JsonError):
        await off_loop(json_values.check, raw + b"]")


async def test_small_work_is_done_here() -> None:
    """
    Work on a small document needs no other process, so that even a local function can do it.
    """
    assert await off_loop(lambda raw: msgspec.json.decode(raw), b"[1]") == [1]  # noqa: PLW0108
