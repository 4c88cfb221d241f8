"""Paths as OPA's PATCH reads them: JSON pointers (RFC 6901) in which it also resolves percent escapes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

__all__ = ["is_index", "looks_like_index", "path_of_pointer", "pointer", "pointer_json"]

_INDEX = re.compile(r"0|[1-9][0-9]*")
_encode = msgspec.json.Encoder().encode


def pointer(path: Sequence[str]) -> str:
    """Write a path for OPA; a `%` would start an escape, so it is written as one."""
    text = "/" + "/".join(path) if path else ""
    if "%" in text or "~" in text or text.count("/") != len(path):
        return "".join("/" + part.replace("~", "~0").replace("/", "~1").replace("%", "%25") for part in path)
    return text


def pointer_json(path: Sequence[str]) -> bytes:
    """Write a path for OPA as a JSON string."""
    return _encode(pointer(path))


def path_of_pointer(text: str) -> tuple[str, ...]:
    """Read what `DocumentPath.pointer` wrote (no percent escapes)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def looks_like_index(segment: str) -> bool:
    """Tell whether a segment may mean a place in an array, for OPA: it reads `01` as 1."""
    return segment == "-" or segment.isdigit()


def is_index(segment: str) -> bool:
    """Tell whether a segment is an index as RFC 6901 has it: no leading zero."""
    return _INDEX.fullmatch(segment) is not None
