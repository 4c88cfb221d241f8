"""What a server says where it refuses."""

from __future__ import annotations

import json
from typing import Any

import httpx

__all__ = ["detail_of"]


def detail_of(answer: httpx.Response) -> str:
    """Return the reason in an answer, as text."""
    try:
        detail: Any = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
    return detail if isinstance(detail, str) else json.dumps(detail)
