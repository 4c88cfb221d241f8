"""Policies into the JSON of one model, or what is wrong with them, by file and row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cabochon.contract.powers import PolicyProblem
from cabochon_openfga.model.fga import FgaCli, ModelFolder, NoFgaError, Said
from cabochon_openfga.model.files import ModelFiles, NoModelChosenError, choose, json_problem
from cabochon_openfga.model.problems import judged, misread

__all__ = ["BadModelError", "ModelCompiler"]

_MOST_BYTES = 256 * 1024


class BadModelError(Exception):
    """There is no good model in the policies; `problems` says why."""

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__("; ".join(map(_line, problems)))
        self.problems = problems


def _line(problem: PolicyProblem) -> str:
    row = "" if problem.row is None else f":{problem.row}"
    return f"{problem.id}{row}: {problem.message}"


class ModelCompiler:
    """Makes a model; the last one is kept, since it is usually judged first and written then.

    Args:
        cli: reads OpenFGA's language, and judges where it is at hand.
        wanted: `OPAL_OPENFGA_MODEL`.
    """

    def __init__(self, cli: FgaCli, wanted: str | None = None) -> None:
        self._cli = cli
        self._wanted = wanted
        self._last: tuple[Mapping[str, str], dict[str, Any]] | None = None

    async def compile(self, policies: Mapping[str, str]) -> dict[str, Any]:
        """Return the model as OpenFGA takes it.

        Raises:
            BadModelError: there is none, or it is not good.
        """
        if self._last is None or self._last[0] != policies:
            self._last = dict(policies), await self._compiled(policies)
        return self._last[1]

    async def _compiled(self, policies: Mapping[str, str]) -> dict[str, Any]:
        try:
            files = choose(policies, self._wanted)
        except NoModelChosenError as err:
            raise BadModelError(err.problems) from err
        model = await self._as_json(files)
        size = len(msgspec.json.encode(model))
        if size > _MOST_BYTES:
            too_large = f"the model has {size:,} bytes, and OpenFGA takes {_MOST_BYTES:,}"
            raise BadModelError([PolicyProblem(id=files.main, message=too_large)])
        return model

    async def _as_json(self, files: ModelFiles) -> dict[str, Any]:
        if files.kind == "json":
            problem = json_problem(files)
            if problem is not None:
                raise BadModelError([problem])
            if self._cli.find() is not None:
                async with ModelFolder(files.sources) as folder:
                    await self._judge(folder, files)
            return msgspec.json.decode(files.sources[files.main])
        try:
            async with ModelFolder(files.sources) as folder:
                read = await self._cli.run("transform", folder / files.main, files.kind)
                if not read.fine:
                    raise BadModelError(await self._misread(folder, files, read))
                await self._judge(folder, files)
        except NoFgaError as err:
            raise BadModelError([PolicyProblem(id=files.main, message=str(err))]) from err
        return msgspec.json.decode(read.output)

    async def _judge(self, folder: Path, files: ModelFiles) -> None:
        said = await self._cli.run("validate", folder / files.main, files.kind)
        if not said.fine:
            raise BadModelError([judged(said.complaint, files.main, files.sources)])

    async def _misread(self, folder: Path, files: ModelFiles, read: Said) -> list[PolicyProblem]:
        """Find out which file can't be read: of modules the executable does not say it, so each is read by itself."""
        problems: list[PolicyProblem] = []
        for name in files.sources if files.kind == "modular" else ():
            if name != files.main:
                problems += misread((await self._cli.run("transform", folder / name, "fga")).complaint, name)
        return problems or misread(read.complaint, files.main) or [judged(read.complaint, files.main, files.sources)]
