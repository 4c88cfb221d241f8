"""The description of an HTTP API as a page for people; it needs nothing from elsewhere, so it works offline."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["openapi_page"]

_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "code{font-size:1rem}h2{font-size:1.05rem;margin:1.5rem 0 0}dd{margin:0 0 .2rem 2rem}"
)


def openapi_page(document: Mapping[str, Any]) -> str:
    """Write an OpenAPI document as HTML: each route with its summary and its answers."""
    title = escape(document["info"]["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
        f"<h1>{title} {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, item in document["paths"].items():
        parts += [_operation(method, path, item[method]) for method in _METHODS if method in item]
    return "".join(parts) + "</html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    token = " Needs a token where tokens are in use." if operation.get("security") else ""
    answers = "".join(
        f"<dd><code>{escape(status)}</code> {escape(answer['description'])}</dd>"
        for status, answer in sorted(operation["responses"].items())
    )
    head = f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    return f"{head}<dl><dt>{escape(operation.get('summary', ''))}.{token}</dt>{answers}</dl>"
