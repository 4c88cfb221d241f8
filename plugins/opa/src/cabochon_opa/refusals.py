"""OPA's error bodies, turned into our errors: what it says, and where."""

from __future__ import annotations

import msgspec

from cabochon.errors import PathConflictError, StoreRejectedError
from cabochon_opa.client import EngineAnswer
from cabochon_opa.opa_errors import OpaError

__all__ = ["policy_refusal", "refusal"]

_CONFLICTS = ("conflicting rule for data path", "is owned by bundle", "conflict", "root must be object")
_LONGEST, _MOST_ERRORS = 4000, 20


class _Body(msgspec.Struct):
    message: str = ""
    code: str = ""
    errors: list[OpaError] = []


def _read(answer: EngineAnswer) -> _Body:
    try:
        return msgspec.json.decode(answer.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Such as a proxy's page.
        return _Body(message=f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}")


def refusal(answer: EngineAnswer, path: str = "") -> StoreRejectedError:
    """Return why OPA refuses a write of data; `path` is what it was about, where that is known."""
    body = _read(answer)
    message = _words([body.message or str(answer.status), *_lines(body)])
    kind = PathConflictError if any(sign in message for sign in _CONFLICTS) else StoreRejectedError
    return kind(f"OPA refuses {path or 'the commit'}: {message}", path=path)


def policy_refusal(answer: EngineAnswer, policy_id: str) -> StoreRejectedError:
    """Return why OPA refuses a policy, each of its errors with file, row and column as `file:row:col: message`."""
    body = _read(answer)
    words = _words(_lines(body) or [body.message or str(answer.status)])
    return StoreRejectedError(f"OPA refuses {policy_id}: {words}", path=policy_id)


def _lines(body: _Body) -> list[str]:
    lines = [_line(detail) for detail in body.errors[:_MOST_ERRORS]]
    more = len(body.errors) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _words(parts: list[str]) -> str:
    """Put it on one line that a log can bear."""
    text = " ".join("; ".join(parts).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _line(detail: OpaError) -> str:
    where = detail.location
    if where is None or not where.row:
        return f"{detail.code}: {detail.message}"
    return f"{where.file}:{where.row}:{where.col}: {detail.code}: {detail.message}"
