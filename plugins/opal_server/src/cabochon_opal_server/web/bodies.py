"""Bodies of a bounded size, and answers to what is wrong with them, in the peer's shapes."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["body_as"]

T = TypeVar("T")

LARGEST_BODY = 1024 * 1024


async def body_as(model: type[T], request: Request, *, largest: int = LARGEST_BODY) -> T:
    """Read the request's JSON body as `model`; HTTPException 413 or 422 if it is more than `largest` bytes or something else."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > LARGEST_BODY:
                raise HTTPException(413, f"the body is larger than {LARGEST_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as err:
        raise _unprocessable(str(err), "value_error") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise _unprocessable(str(err), "value_error.jsondecode") from err


def _unprocessable(why: str, kind: str) -> HTTPException:
    message, _, where = why.partition(" - at `$")
    path = [part for part in where.rstrip("`").replace("[", ".").replace("]", "").split(".") if part]
    detail: Any = [{"loc": ["body", *path], "msg": message, "type": kind}]
    return HTTPException(422, detail)
