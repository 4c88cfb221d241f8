"""What the `fga` executable says of a bad model, as file, row and column: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cabochon.contract.powers import PolicyProblem

__all__ = ["judged", "misread"]

_AT = re.compile(r"(\w+) error at line=(\d+), column=(\d+): (.+)")
_PREFIX = re.compile(r"^Error:\s*(?:failed to [^:]*:|validation error - validate:)?\s*")
_RELATION = re.compile(r"(?:on|of relation) '(?P<relation>[^']+)' in object type '(?P<type>[^']+)'")
_UNDEFINED = re.compile(r"'(?P<type>[^'#]+)#(?P<relation>[^']+)' relation is undefined")
_CONDITION_OF = re.compile(r"condition (?P<condition>\S+) is undefined for relation (?P<relation>\S+)")
_TYPE_LINE = re.compile(r"\s*(?:extend\s+)?type\s+(\S+)")


def misread(said: str, name: str) -> list[PolicyProblem]:
    """Read the errors of one file that is not in OpenFGA's language; nothing if there are none with a place.

    Args:
        said: what the executable wrote.
        name: of the file; the executable does not name it, and counts rows and columns from 0.
    """
    return [
        PolicyProblem(id=name, message=f"{at[1]} error: {at[4]}", row=int(at[2]) + 1, column=int(at[3]) + 1)
        for at in _AT.finditer(said)
    ]


def judged(said: str, main: str, sources: Mapping[str, str]) -> PolicyProblem:
    """Read why a model is refused that could be read; the executable names no place, so the definition is looked for.

    Args:
        said: what the executable wrote.
        main: the file that stands for the model.
        sources: all its files.
    """
    lines = [line for line in said.strip().splitlines() if line.strip()] or ["no reason given"]
    message = _PREFIX.sub("", next((line for line in lines if line.startswith("Error:")), lines[0])).strip()
    for name, source in sources.items():
        row = _place(message, source)
        if row is not None:
            return PolicyProblem(id=name, message=message, row=row)
    return PolicyProblem(id=main, message=message)


def _place(message: str, source: str) -> int | None:
    if found := _RELATION.search(message):
        return next(_definitions(source, found["type"], rf"define\s+{re.escape(found['relation'])}\s*:"), None)
    if found := _UNDEFINED.search(message):
        relation = re.escape(found["relation"])
        return next(_definitions(source, found["type"], rf"define\s+(?!{relation}\b)[^:]+:.*\b{relation}\b"), None)
    if found := _CONDITION_OF.search(message):
        condition, relation = re.escape(found["condition"]), re.escape(found["relation"])
        return next(_definitions(source, None, rf"define\s+{relation}\s*:.*\b{condition}\b"), None)
    return None


def _definitions(source: str, of_type: str | None, pattern: str) -> Iterator[int]:
    """Give the rows below a type that match; of any type if `of_type` is None."""
    current = ""
    for row, line in enumerate(source.splitlines(), start=1):
        if begins := _TYPE_LINE.match(line):
            current = begins[1]
        elif of_type in {None, current} and re.search(pattern, line):
            yield row
