"""A store of facts that is plainly right, over an engine in memory; facts have an attribute and may be refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

from anyio.lowlevel import checkpoint

from cabochon.contract.policy_store import StoreTraits
from cabochon.documents.path import DocumentPath
from cabochon.errors import HeldOtherwiseError, StoreRejectedError, StoreUnavailableError
from cabochon.kit.facts import Call, Facts, FactSetStore, Prune, facts_of

FACTS_PER_CALL = 100
REFUSED = "refused"


@dataclass
class FactEngine:
    """What holds, attribute by fact."""

    facts: dict[str, int] = field(default_factory=dict[str, int])
    up: bool = True

    def write(self, call: Call[str, int]) -> None:
        if not self.up:
            raise StoreUnavailableError("the engine is down")
        if len(call) > FACTS_PER_CALL or set(call.deletes) & set(call.writes):
            raise StoreRejectedError("too many facts, or one of them twice")
        if REFUSED in call.writes:
            raise StoreRejectedError("there is no such relation")
        if held := {key: self.facts[key] for key, new in call.writes.items() if self.facts.get(key, new) != new}:
            raise HeldOtherwiseError("a fact is there with another attribute", found=held)
        for key in call.deletes:
            self.facts.pop(key, None)
        self.facts |= call.writes


class ReferenceFactStore(FactSetStore[str, int]):
    """A document is an array of names, or of pairs of a name and a number."""

    traits: ClassVar[StoreTraits] = StoreTraits(policy_unit="none", data_unit="facts", atomic="write")

    def __init__(self, engine: FactEngine, *, prune: Prune = "owned") -> None:
        super().__init__(facts_per_call=FACTS_PER_CALL, prune=prune)
        self.engine = engine

    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[str, int]:
        return facts_of(path, value, read)

    async def write_facts(self, call: Call[str, int]) -> str | None:
        await checkpoint()
        self.engine.write(call)
        return None

    async def read_facts(self) -> AsyncIterator[Facts[str, int]]:
        await self.health()
        yield dict(self.engine.facts)

    async def health(self) -> None:
        await checkpoint()
        if not self.engine.up:
            self.forget()
            raise StoreUnavailableError("the engine is down")


def read(row: Any) -> tuple[str, int]:  # noqa: ANN401 - any JSON
    match row:
        case str():
            return row, 0
        case [str(), int()]:
            return cast("tuple[str, int]", tuple(row))
        case _:
            raise ValueError("a fact is a name, or a name and a number")
