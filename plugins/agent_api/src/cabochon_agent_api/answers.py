"""Bodies of a bounded size, and answers to what is wrong with them, in the peer's shapes."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cabochon.documents.json_values import JsonError, guarded
from cabochon.kit.web.pages import json_fault

__all__ = ["body_as", "unprocessable"]

T = TypeVar("T")

_LARGEST_BODY = 1024 * 1024


async def body_as(model: type[T], request: Request) -> T:
    """Read the request's JSON body as `model`; HTTPException 413 or 422 if it is too large or something else."""
    fault = json_fault(request.headers.get("content-type"))
    if fault is not None:
        raise unprocessable(fault, "value_error")
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > _LARGEST_BODY:
                raise HTTPException(413, f"the body is larger than {_LARGEST_BODY} bytes")
    try:
        return guarded(lambda text: msgspec.json.decode(text, type=model), bytes(body))
    except JsonError as err:
        raise unprocessable(str(err), "value_error") from err


def unprocessable(why: str, kind: str, *where: str) -> HTTPException:
    """Make the 422 that says what is wrong with a body, or with the member of it at `where`, in msgspec's words."""
    message, _, place = why.partition(" - at `$")
    parts = place.rstrip("`").replace("[", ".").replace("]", "").split(".")
    path = [int(part) if part.isdecimal() else part for part in parts if part]
    detail: Any = [{"loc": ["body", *where, *path], "msg": message, "type": kind}]
    return HTTPException(422, detail)
