"""A store for an engine of relationship tuples: no documents, no marker, no reading back, three changes at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeGuard

from anyio.lowlevel import checkpoint

from cabochon.document_path import DocumentPath
from cabochon.errors import StoreRejectedError, StoreUnavailableError, UnsupportedOperationError
from cabochon.json_values import JsonError, decode
from cabochon.policy_store import (
    Applied,
    Change,
    Changes,
    CommitResult,
    DeleteData,
    Outcome,
    PatchData,
    PolicyStore,
    Refused,
    ReplacePolicies,
    SetData,
    StoreTraits,
    Unknown,
    Write,
)

Fact: TypeAlias = tuple[str, str, str]
"""Subject, relation, object."""

MAX_CHANGES = 3


@dataclass
class FactSetEngine:
    """Facts, each with the paths that own it; a fact goes when its last owner does.

    `lose_answers` lists what becomes of the next writes whose answer is lost: True for those that land.
    """

    facts_by_path: dict[DocumentPath, frozenset[Fact]] = field(default_factory=dict[DocumentPath, frozenset[Fact]])
    lose_answers: list[bool] = field(default_factory=list[bool])
    up: bool = True

    @property
    def facts(self) -> set[Fact]:
        """What holds, whoever owns it."""
        return set[Fact]().union(*self.facts_by_path.values())


class FactSetStore(PolicyStore):
    """Each path owns a set of facts, written as a JSON array of `[subject, relation, object]`."""

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="none", data_unit="facts", atomic="write", max_changes=MAX_CHANGES
    )

    def __init__(self, engine: FactSetEngine) -> None:
        self.engine = engine

    async def commit(self, changes: Changes) -> CommitResult:
        """Write one transaction after the other, each of them all or nothing."""
        await checkpoint()
        await self.health()
        outcomes = tuple(self._write(write) for write in changes.writes)
        if not changes.state:
            return CommitResult(outcomes)
        state = self._write(Write("state", changes.state))
        return CommitResult(outcomes, state=state)

    def _write(self, write: Write) -> Outcome:
        if len(write.changes) > MAX_CHANGES:
            return Refused(StoreRejectedError(f"{len(write.changes)} changes in a write, at most {MAX_CHANGES} fit"))
        try:
            planned = dict(self.engine.facts_by_path)
            for change in write.changes:
                _apply(planned, change)
        except StoreRejectedError as err:
            return Refused(err)
        lands = self.engine.lose_answers.pop(0) if self.engine.lose_answers else None
        if lands is not False:
            self.engine.facts_by_path = planned
        return Applied() if lands is None else Unknown(StoreUnavailableError("the answer was lost"))

    async def health(self) -> None:
        """Return if the engine answers."""
        if not self.engine.up:
            raise StoreUnavailableError("the fact engine is down")


def _apply(facts: dict[DocumentPath, frozenset[Fact]], change: Change) -> None:
    if isinstance(change, SetData):
        _remove(facts, change.path)
        facts[change.path] = frozenset(_facts(change))
    elif isinstance(change, DeleteData):
        _remove(facts, change.path)
    elif isinstance(change, PatchData):
        raise UnsupportedOperationError(f"{change.path}: facts are not patched", path=str(change.path))
    else:
        policy_id = ", ".join(change.policies) if isinstance(change, ReplacePolicies) else change.id
        raise UnsupportedOperationError(f"policy {policy_id}: this engine has no policies", path=policy_id)


def _remove(facts: dict[DocumentPath, frozenset[Fact]], path: DocumentPath) -> None:
    for owner in [owner for owner in facts if path.covers(owner)]:
        del facts[owner]


def _facts(change: SetData) -> Iterable[Fact]:
    try:
        rows: Any = decode(change.value)
    except JsonError as err:
        raise StoreRejectedError(f"{change.path}: {err}", path=str(change.path)) from err
    if not _are_facts(rows):
        message = f"{change.path}: facts are an array of [subject, relation, object]"
        raise UnsupportedOperationError(message, path=str(change.path))
    return [(row[0], row[1], row[2]) for row in rows]


def _are_facts(rows: Any) -> TypeGuard[list[list[str]]]:  # noqa: ANN401 # any JSON
    return isinstance(rows, list) and all(map(_is_fact, rows))  # pyright: ignore[reportUnknownArgumentType]


def _is_fact(row: Any) -> bool:  # noqa: ANN401 # any JSON
    return isinstance(row, list) and list(map(type, row)) == [str, str, str]  # pyright: ignore[reportUnknownArgumentType]
