"""Bodies of a bounded size, and answers to what is wrong with them, in the peer's shapes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cabochon.documents.json_values import JsonError, guarded
from cabochon.kit.web.pages import json_fault
from cabochon_opal_server.web.answers import unprocessable

__all__ = ["Bodies", "body_as", "body_of"]

T = TypeVar("T")

_LARGEST_BODY = 1024 * 1024


class Bodies:
    """Bounds what all bodies take together that are being received.

    Args:
        most: bytes; the first `free` ones of each do not count.
    """

    def __init__(self, most: int, *, free: int = 0) -> None:
        self._most = most
        self._free = free
        self._held: int = 0

    async def read(self, request: Request, largest: int) -> bytes:
        """Read a body; HTTPException 413 or 503 if it is too large, by itself or beside the others."""
        body = bytearray()
        held: int = 0
        try:
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > largest:
                        raise HTTPException(413, f"the body is larger than {largest} bytes")
                    more = max(0, len(body) - self._free) - held
                    held += more
                    self._held += more
                    if self._held > self._most:
                        raise HTTPException(503, "there are too many large bodies at once, try again")
            return bytes(body)
        finally:
            self._held -= held


async def body_of(request: Request, *, largest: int = _LARGEST_BODY) -> bytes:
    """Read the request's body; HTTPException 413 or 503 if it is too large, by itself or beside the others."""
    bodies: Bodies = request.app.state.bodies
    return await bodies.read(request, largest)


async def body_as(model: type[T], request: Request, *, largest: int = _LARGEST_BODY) -> T:
    """Read the request's JSON body as `model`; HTTPException 413 or 422 if it is too large or something else."""
    fault = json_fault(request.headers.get("content-type"))
    if fault is not None:
        raise unprocessable(fault, "value_error")
    raw = await body_of(request, largest=largest)
    try:
        return guarded(lambda text: msgspec.json.decode(text, type=model), raw)
    except JsonError as err:
        message, _, where = str(err).partition(" - at `$")
        parts = where.rstrip("`").replace("[", ".").replace("]", "").split(".")
        path = [int(part) if part.isdecimal() else part for part in parts if part]
        raise unprocessable(message, "value_error", *path) from err
