"""One error as OPA writes it wherever it judges policies: answers of its API, its status, `opa check`."""

from __future__ import annotations

import msgspec

__all__ = ["OpaError", "OpaErrorLocation"]


class OpaErrorLocation(msgspec.Struct):
    """Where: `row` and `col` count from 1, 0 is unknown."""

    file: str = ""
    row: int = 0
    col: int = 0


class OpaError(msgspec.Struct):
    """What: `code` such as rego_parse_error."""

    message: str = ""
    code: str = ""
    location: OpaErrorLocation | None = None
