"""A store for an engine of relationship tuples: no documents, no marker, no reading back, three facts at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, cast

from anyio.lowlevel import checkpoint

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.path import DocumentPath
from cabochon.errors import AnswerLostError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.facts import Call, Facts, FactSetStore, Prune, facts_of

Fact: TypeAlias = tuple[str, str, str]
"""Subject, relation, object."""

MAX_CHANGES = 3
MAX_FACTS = 3


@dataclass
class FactSetEngine:
    """Facts, and who calls for them; nobody may be `banned` and written.

    `lose_answers` lists what becomes of the next calls whose answer is lost: True for those that land.
    """

    facts: set[Fact] = field(default_factory=set[Fact])
    lose_answers: list[bool] = field(default_factory=list[bool])
    banned: set[str] = field(default_factory=set[str])
    up: bool = True

    def write(self, deletes: list[Fact], writes: list[Fact]) -> None:
        """Make a call, all or nothing."""
        if not self.up:
            raise StoreUnavailableError("the fact engine is down")
        if len(deletes) + len(writes) > MAX_FACTS or len({*deletes, *writes}) < len(deletes) + len(writes):
            raise StoreRejectedError(f"more than {MAX_FACTS} facts in a call, or one of them twice")
        if banned := self.banned & {subject for subject, _, _ in writes}:
            raise StoreRejectedError(f"{banned} may not be written")
        lands = self.lose_answers.pop(0) if self.lose_answers else None
        if lands is not False:
            self.facts = (self.facts - set(deletes)) | set(writes)
        if lands is not None:
            raise AnswerLostError("the answer was lost")


class OddFactStore(FactSetStore[Fact, None]):
    """Each path owns a set of facts, written as a JSON array of `[subject, relation, object]`."""

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="none", data_unit="facts", atomic="write", max_changes=MAX_CHANGES
    )

    def __init__(self, engine: FactSetEngine, *, prune: Prune = "owned") -> None:
        super().__init__(facts_per_call=MAX_FACTS, prune=prune)
        self.engine = engine

    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[Fact, None]:
        """Read an array of facts."""
        return facts_of(path, value, _read)

    async def write_facts(self, call: Call[Fact, None]) -> None:
        """Make one call."""
        await checkpoint()
        self.engine.write(list(call.deletes), list(call.writes))

    async def read_facts(self) -> AsyncIterator[Facts[Fact, None]]:
        """Give all facts."""
        await self.health()
        yield dict.fromkeys(self.engine.facts)

    async def health(self) -> None:
        """Return if the engine answers."""
        await checkpoint()
        if not self.engine.up:
            self.forget()
            raise StoreUnavailableError("the fact engine is down")


def _read(row: Any) -> tuple[Fact, None]:  # noqa: ANN401 - any JSON
    if isinstance(row, list) and list(map(type, cast("list[Any]", row))) == [str, str, str]:
        subject, relation, thing = cast("list[str]", row)
        return (subject, relation, thing), None
    raise ValueError("a fact is an array of subject, relation and object")
