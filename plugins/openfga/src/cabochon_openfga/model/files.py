"""Which of the policies make the model: pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from cabochon.contract.powers import PolicyProblem

__all__ = ["ModelFiles", "NoModelChosenError", "choose"]

_MODULE = re.compile(r"\s*(?:#[^\n]*\n\s*)*module\b")
_CONTENT = re.compile(r"""^\s*-\s*(['"]?)([^'"#\n]+?)\1\s*(?:#.*)?$""", re.MULTILINE)


class NoModelChosenError(Exception):
    """The policies make no model, or several; `problems` says why of each file that is concerned."""

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What one model is made of.

    Attributes:
        kind: "json", "fga" (one file in OpenFGA's language) or "modular" (`fga.mod` and its modules).
        main: the id of the file that stands for the model.
        sources: every file that belongs to it, by id, the main one included.
    """

    kind: Literal["json", "fga", "modular"]
    main: str
    sources: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Where the main file is, "" for the root."""
        return posixpath.dirname(self.main)


def choose(policies: Mapping[str, str], wanted: str | None = None) -> ModelFiles:
    """Find the model among the policies: the one that is wanted, else the only one that there is.

    An `fga.mod` is a model with all its modules; so is every other `.fga` that is no module, and every `.json`.
    Modules that no `fga.mod` names are refused, and so are files with other endings: nobody would notice that they are
    without effect.

    Args:
        policies: source by id, at least one.
        wanted: the id of the model's main file.

    Raises:
        NoModelChosenError: there is none, or several and none of them is wanted.
    """
    found = {files.main: files for files in (_model(each, policies) for each in sorted(policies)) if files}
    if wanted is not None:
        if wanted not in found:
            raise NoModelChosenError(
                [_problem(wanted, f"OPAL_OPENFGA_MODEL names {wanted}, which is none of the policies")]
            )
        return found[wanted]
    if len(found) > 1:
        others = ", ".join(found)
        reason = f"several models, and a store has one: {others}; choose one with OPAL_OPENFGA_MODEL"
        raise NoModelChosenError([_problem(main, reason) for main in found])
    used = {name for files in found.values() for name in files.sources}
    unused = [_problem(name, _why_unused(name)) for name in policies if name not in used]
    if unused:
        raise NoModelChosenError(unused)
    return next(iter(found.values()))


def _model(name: str, policies: Mapping[str, str]) -> ModelFiles | None:
    source = policies[name]
    if posixpath.basename(name) == "fga.mod":
        folder = posixpath.dirname(name)
        named = [posixpath.normpath(posixpath.join(folder, found[2])) for found in _CONTENT.finditer(source)]
        return ModelFiles("modular", name, {each: policies[each] for each in (name, *named) if each in policies})
    if name.endswith(".fga") and not _MODULE.match(source):
        return ModelFiles("fga", name, {name: source})
    if name.endswith(".json"):
        return ModelFiles("json", name, {name: source})
    return None


def _why_unused(name: str) -> str:
    if name.endswith(".fga"):
        return "a module that no fga.mod names"
    return "no model: it should be an fga.mod, a .fga or a .json file"


def _problem(name: str, message: str) -> PolicyProblem:
    return PolicyProblem(id=name, message=message)


def json_problem(files: ModelFiles) -> PolicyProblem | None:
    """Say what keeps a JSON file from being a model at first sight; the engine judges the rest."""
    try:
        msgspec.json.decode(files.sources[files.main], type=_JsonModel)
    except msgspec.DecodeError as err:
        return PolicyProblem(id=files.main, message=str(err), row=_row(str(err), files.sources[files.main]))
    return None


class _JsonModel(msgspec.Struct):
    schema_version: str
    type_definitions: list[dict[str, object]]


def _row(message: str, source: str) -> int | None:
    """Find the row of "(byte 17)", as msgspec says it of text that is no JSON."""
    at = re.search(r"\(byte (\d+)\)", message)
    return None if at is None else source.encode()[: int(at[1])].count(b"\n") + 1
