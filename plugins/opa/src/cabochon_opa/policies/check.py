"""Judge a set of policies with `opa check` before any of it is written, where an `opa` like the engine is at hand."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import anyio.to_thread
import msgspec
import structlog

from cabochon.contract.powers import PolicyProblem
from cabochon.errors import ConfigurationError, StoreUnavailableError
from cabochon_opa.client import OpaClient
from cabochon_opa.engine_labels import engine_labels
from cabochon_opa.inline.binary import find_opa
from cabochon_opa.opa_errors import OpaError, OpaErrorLocation

__all__ = ["PolicyCheck", "read_problems"]

log = structlog.get_logger()

_FINE = 200
_PATIENCE_S = 60.0
_VERSION = re.compile(rb"^Version:\s*(\S+)", re.MULTILINE)
_FILE = re.compile(r"\bpolicy-(\d+)\.rego\b")
_NOT_OURS = re.compile(r"undefined function (?!data\.)")
_V1_ONLY = b'{"query":"1 in [1]"}'
"""Rego v0 knows `in` only after an import, and a query has none."""


class _Report(msgspec.Struct):
    errors: list[OpaError]


@dataclass(frozen=True, slots=True)
class _Judge:
    """An executable that judges as the engine does."""

    binary: Path
    rego: Literal["v0", "v1"]


class PolicyCheck:
    """`opa check` for one engine.

    The engine says itself which version it is and which Rego it takes by default; a judge that differs in either would
    refuse what the engine accepts.

    Args:
        client: asks the engine.
        exec_path: `OPAL_INLINE_OPA_EXEC_PATH`.
    """

    def __init__(self, client: OpaClient, exec_path: str | None = None) -> None:
        self._client = client
        self._exec_path = exec_path
        self._engine = ""
        self._judge: _Judge | None = None

    async def problems(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with this set if it is all there is in the engine; nothing too if there is no judge.

        Never raises for an engine that does not answer: the write that follows will say so.
        """
        try:
            judge = await self._find_judge()
            if judge is None or not policies:
                return []
            return await _checked(judge, policies)
        except (StoreUnavailableError, OSError, TimeoutError) as err:
            log.info("policies.not_checked", reason=str(err) or type(err).__name__)
            return []

    async def _find_judge(self) -> _Judge | None:
        labels = await engine_labels(self._client)
        if labels.id != self._engine:
            self._judge = await self._judge_for(labels.version)
            self._engine = labels.id
        return self._judge

    async def _judge_for(self, version: str) -> _Judge | None:
        try:
            binary = await anyio.to_thread.run_sync(find_opa, self._exec_path)
        except ConfigurationError:
            return None
        with anyio.fail_after(_PATIENCE_S):
            shown = await anyio.run_process([str(binary), "version"], check=False)
        own = _VERSION.search(shown.stdout)
        if own is None or own[1].decode() != version:
            log.info("policies.not_checked", reason=f"{binary} is not the engine's version {version}")
            return None
        answer = await self._client.ask("POST", "/v1/query", content=_V1_ONLY)
        return _Judge(binary, "v1" if answer.status == _FINE else "v0")


async def _checked(judge: _Judge, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
    ids = list(policies)
    command = [str(judge.binary), "check", "--format=json", f"--{judge.rego}-compatible", "."]
    folder = await anyio.to_thread.run_sync(_written, list(policies.values()))
    try:
        with anyio.fail_after(_PATIENCE_S):
            done = await anyio.run_process(command, cwd=folder.name, check=False, stdin=subprocess.DEVNULL)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(folder.cleanup))
    return read_problems(done.stderr or done.stdout, ids) if done.returncode else []


def _written(sources: Sequence[str]) -> tempfile.TemporaryDirectory[str]:
    """Write the sources under plain names: an id may be no path, and `..` would leave the folder."""
    folder = tempfile.TemporaryDirectory(prefix="cabochon-opa-check-")
    for number, source in enumerate(sources):
        Path(folder.name, f"policy-{number}.rego").write_bytes(source.encode())
    return folder


def read_problems(report: bytes, ids: Sequence[str]) -> list[PolicyProblem]:
    """Read the JSON of a failed `opa check`, whose files are numbers of `ids`.

    Returns nothing if that can't be told from a failure of its own, or if a function is unknown that is no policy's:
    the engine may have builtins that the executable lacks.
    """
    try:
        errors = msgspec.json.decode(report, type=_Report).errors
    except msgspec.DecodeError:
        log.warning("policies.not_checked", reason=f"opa check failed: {report[:200].decode('utf-8', 'replace')}")
        return []
    if any(_NOT_OURS.match(error.message) for error in errors):
        return []

    def named(match: re.Match[str]) -> str:
        number = int(match[1])
        return ids[number] if number < len(ids) else match[0]

    problems: list[PolicyProblem] = []
    for error in errors:
        where = error.location or OpaErrorLocation()
        message = f"{error.code}: {_FILE.sub(named, error.message)}"
        policy_id = _FILE.sub(named, where.file)
        problems.append(PolicyProblem(id=policy_id, message=message, row=where.row or None, column=where.col or None))
    return problems
