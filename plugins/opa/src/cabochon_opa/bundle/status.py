"""What OPA tells of the bundle: read from the body of a status update."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cabochon.errors import StoreRejectedError
from cabochon_opa.bundle.opa_config import BUNDLE_NAME
from cabochon_opa.opa_errors import OpaError

__all__ = ["Report", "read_report", "refusal_of"]

_NOT_ABOUT_CONTENT = ("request failed", "server replied with", "unexpected EOF", "connection reset", "timeout")
"""Failures to fetch the bundle, in OPA's words: it tries again by itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of OPA's, `file` as the id of the module; row and column count from 1, 0 where OPA does not say."""

    message: str
    file: str = ""
    row: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What one OPA said about our bundle.

    Attributes:
        instance: OPA's `labels.id`, new in every process.
        active_revision: what is in force there, "" before the first bundle.
        refused: whether the last bundle that it fetched was refused.
        message: why the last bundle could not be fetched or activated, "" if it could.
        problems: the details, if it did not compile.
        last_request: when OPA asked for the bundle last, by its own clock: a text to compare for equality.
    """

    instance: str
    active_revision: str = ""
    refused: bool = False
    message: str = ""
    problems: tuple[Problem, ...] = ()
    last_request: str = ""


class _Bundle(msgspec.Struct):
    active_revision: str = ""
    code: str = ""
    message: str = ""
    http_code: int | str | None = None
    last_request: str = ""
    errors: list[OpaError] = []


class _Labels(msgspec.Struct):
    id: str = ""


class _Status(msgspec.Struct):
    labels: _Labels = msgspec.field(default_factory=_Labels)
    bundles: dict[str, _Bundle] = {}


def read_report(body: bytes) -> Report | None:
    """Read a status update, None if it says nothing of our bundle.

    Raises:
        ValueError: it is none.
    """
    status = msgspec.json.decode(body, type=_Status)
    bundle = status.bundles.get(BUNDLE_NAME)
    if bundle is None:
        return None
    fetched = not bundle.http_code and not any(sign in bundle.message for sign in _NOT_ABOUT_CONTENT)
    return Report(
        status.labels.id,
        bundle.active_revision,
        refused=bool(bundle.code) and fetched,
        message=bundle.message,
        problems=tuple(_problem(error) for error in bundle.errors),
        last_request=bundle.last_request,
    )


def refusal_of(report: Report) -> StoreRejectedError:
    """Return why OPA refuses the bundle, each of its errors with file, row and column as `file:row:col: message`."""
    lines = [
        f"{problem.file}:{problem.row}:{problem.column}: {problem.message}" if problem.row else problem.message
        for problem in report.problems
    ]
    file = next((problem.file for problem in report.problems if problem.file), "")
    return StoreRejectedError(f"OPA refuses the policies: {'; '.join(lines) or report.message}", path=file)


def _problem(error: OpaError) -> Problem:
    message = f"{error.code}: {error.message}" if error.code else error.message
    if error.location is None:
        return Problem(message)
    file = error.location.file.removeprefix("/").removeprefix(f"{BUNDLE_NAME}/").removeprefix("/")
    return Problem(message, file, error.location.row, error.location.col)
