"""Answers in the peer's shapes, and how they are described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["json_answer", "operation", "unprocessable"]


def json_answer(value: object, status: int = 200) -> Response:
    """Answer with a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def unprocessable(message: str, kind: str, *location: str | int) -> HTTPException:
    """Make the 422 that says what is wrong with a body, and where in it."""
    detail: Any = [{"loc": ["body", *location], "msg": message, "type": kind}]
    return HTTPException(422, detail)


def operation(
    tag: str,
    name: str,
    summary: str,
    *,
    body: Mapping[str, Any] | None = None,
    protected: bool = True,
    answers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe a route for OpenAPI: `body` is the schema of its JSON body, `answers` what each status means."""
    meanings = {"200": "Done.", **(answers or {})}
    if body is not None:
        meanings = {**meanings, "422": "The body is not what it should be; the answer says where."}
    if protected:
        meanings = {**meanings, "401": "A valid token is needed."}
    described: dict[str, Any] = {
        "summary": summary,
        "operationId": name,
        "tags": [tag],
        "responses": {
            status: {"description": meaning, "content": {"application/json": {"schema": {}}}}
            for status, meaning in sorted(meanings.items())
        },
    }
    if body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(body)}}}
    if protected:
        described["security"] = [{"token": []}]
    return described
