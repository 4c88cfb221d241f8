"""OPA's error bodies, turned into our errors: what it says, and where."""

from __future__ import annotations

import msgspec

from cabochon.errors import PathConflictError, StoreRejectedError
from cabochon_opa.client import Answer

__all__ = ["policy_refusal", "refusal"]

_CONFLICTS = ("conflicting rule for data path", "is owned by bundle", "conflict", "root must be object")


class _Location(msgspec.Struct):
    file: str = ""
    row: int = 0
    col: int = 0


class _Detail(msgspec.Struct):
    message: str = ""
    code: str = ""
    location: _Location | None = None


class _Body(msgspec.Struct):
    message: str = ""
    code: str = ""
    errors: list[_Detail] = []


def _read(answer: Answer) -> _Body:
    try:
        return msgspec.json.decode(answer.body, type=_Body)
    except msgspec.DecodeError:
        return _Body(message=f"{answer.status} {answer.body[:200].decode('utf-8', 'replace')}".strip())


def refusal(answer: Answer, path: str = "") -> StoreRejectedError:
    """Return why OPA refuses a write of data; `path` is what it was about, where that is known."""
    body = _read(answer)
    message = "; ".join([body.message, *(_line(detail) for detail in body.errors)])
    kind = PathConflictError if any(sign in message for sign in _CONFLICTS) else StoreRejectedError
    return kind(f"OPA refuses {path or 'the commit'}: {message}", path=path)


def policy_refusal(answer: Answer, policy_id: str) -> StoreRejectedError:
    """Return why OPA refuses a policy, each of its errors with file, row and column as `file:row:col: message`."""
    body = _read(answer)
    lines = [_line(detail) for detail in body.errors] or [body.message]
    return StoreRejectedError(f"OPA refuses {policy_id}: {'; '.join(lines)}", path=policy_id)


def _line(detail: _Detail) -> str:
    where = detail.location
    if where is None or not where.row:
        return f"{detail.code}: {detail.message}"
    return f"{where.file}:{where.row}:{where.col}: {detail.code}: {detail.message}"
