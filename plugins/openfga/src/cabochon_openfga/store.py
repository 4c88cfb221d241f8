"""OpenFgaPolicyStore: one store of an OpenFGA as the contract wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar

import anyio
import msgspec
import structlog

from cabochon.contract.policy_store import StoreTraits
from cabochon.contract.powers import PolicyProblem
from cabochon.documents.path import DocumentPath
from cabochon.errors import AnswerLostError, HeldOtherwiseError, StateLostError
from cabochon.kit.facts import Call, Facts, FactSetStore, Prune
from cabochon.kit.http import engine as engine_http
from cabochon.transactions.changes import PolicyChange
from cabochon_openfga.api import ConditionConflictError, NoModelError, OpenFgaApi, TuplePage
from cabochon_openfga.chosen_store import ChosenStore
from cabochon_openfga.model.in_force import ModelInForce
from cabochon_openfga.tuples import Condition, TupleKey, WireTuple, condition_of, facts_in, wire_tuple
from cabochon_openfga.witnesses import Witnesses

__all__ = ["OpenFgaPolicyStore"]

log = structlog.get_logger()

_TUPLES_PER_CALL = 100
_SLOWEST_BYTES_PER_S = 40_000
"""Some 500 tuples, half of what a busy PostgreSQL was seen to take."""
_READS_AT_ONCE = 8
_FEW = 200
"""Up to so many tuples are asked for one by one; beyond, reading all of them takes fewer requests."""


class OpenFgaPolicyStore(FactSetStore[TupleKey, Condition | None]):
    """Policies make one authorization model, data the tuples that their paths own.

    Args:
        api: asks OpenFGA.
        chosen: which of its stores is ours.
        model: puts the model in force.
        prune: see `FactSetStore`.
    """

    traits: ClassVar[StoreTraits] = StoreTraits(
        policy_unit="model", data_unit="facts", atomic="write", slowest_bytes_per_s=_SLOWEST_BYTES_PER_S
    )

    def __init__(self, api: OpenFgaApi, chosen: ChosenStore, model: ModelInForce, *, prune: Prune = "owned") -> None:
        super().__init__(facts_per_call=_TUPLES_PER_CALL, overwrites=False, prune=prune)
        self._api = api
        self._chosen = chosen
        self._model = model
        self._witnesses = Witnesses()
        self._looked_at: str | None = None
        self._wiped = 0

    # --------------------------------------------------------------------------------------------------- writing

    @staticmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[TupleKey, Condition | None]:
        """Read an array of tuples, or the compact object."""
        return facts_in(path, value)

    async def write_facts(self, call: Call[TupleKey, Condition | None]) -> str | None:
        """Make one call of `POST /stores/<id>/write`."""
        store_id = await self._chosen.id()
        self._witnesses.deleted(call.deletes)
        try:
            await self._api.write(
                store_id,
                writes=[wire_tuple(key, condition) for key, condition in call.writes.items()],
                deletes=[wire_tuple(key) for key in call.deletes],
            )
        except ConditionConflictError as err:
            there = await self._there(call.writes)
            raise HeldOtherwiseError(str(err), found=there) from err
        except NoModelError as err:
            if await self._api.store(store_id) is None:
                raise StateLostError("OpenFGA does not have our store any more") from err
            raise
        except engine_http.RequestUnansweredError as err:
            raise AnswerLostError(str(err)) from err
        self._witnesses.written(call.writes)
        return None

    async def write_policies(self, changes: Sequence[PolicyChange]) -> str | None:
        """Put the model in force that the policies make; its id is the version."""
        try:
            return await self._model.write(changes)
        except engine_http.RequestUnansweredError as err:
            raise AnswerLostError(str(err)) from err

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what keeps the policies from being one good model, by file and row."""
        return await self._model.validate(policies)

    # --------------------------------------------------------------------------------------------------- looking

    async def health(self) -> None:
        """Return if OpenFGA serves."""
        await self._api.health()

    async def restart_token(self) -> str:
        """Return what names our store in this state: its id, and how often it was found wiped.

        A store that OpenFGA has lost is found or made anew, and has another id. One that still is there must have the
        tuple that it is asked for.
        """
        store_id = await self._chosen.confirmed()
        if store_id != self._looked_at:
            self._looked_at = store_id
            self._witnesses.forget()
        witness = self._witnesses.next()
        if witness is not None and not (await self._api.read(store_id, key=wire_tuple(witness))).tuples:
            self._wiped += 1
            log.warning("openfga.tuple_gone", store_id=store_id)
        return self.engine_is(f"{store_id}.{self._wiped}")

    def forget(self) -> None:
        """Take note that nothing of ours is there."""
        super().forget()
        self._witnesses.forget()

    async def read_facts(self) -> AsyncIterator[Facts[TupleKey, Condition | None]]:
        """Give all tuples of the store, a page at a time."""
        store_id = await self._chosen.id()
        after = ""
        while True:
            page = await self._api.read(store_id, after=after)
            yield _facts(page)
            after = page.continuation_token
            if not after:
                return

    async def get_data(self, path: DocumentPath) -> bytes | None:
        """Return the tuples that `path` owns and that are there, as an array; None if nothing was written there."""
        owned = self.facts_at(path)
        if owned is None:
            return None
        there = await self._there(owned)
        return _array({key: there[key] for key in owned if key in there})

    async def get_policies(self) -> Mapping[str, str]:
        """Return the sources of the model in force, or OpenFGA's JSON of it if these make another one."""
        return await self._model.sources()

    async def export_data(self) -> bytes:
        """Return all tuples of the store as one array, whoever wrote them."""
        facts: dict[TupleKey, Condition | None] = {}
        async for page in self.read_facts():
            facts.update(page)
        return _array(facts)

    async def _there(self, wanted: Facts[TupleKey, Condition | None]) -> dict[TupleKey, Condition | None]:
        """Return which of these tuples are there, and with which condition."""
        found: dict[TupleKey, Condition | None] = {}
        if len(wanted) > _FEW:
            async for page in self.read_facts():
                found.update((key, condition) for key, condition in page.items() if key in wanted)
            return found
        store_id = await self._chosen.id()
        limit = anyio.CapacityLimiter(_READS_AT_ONCE)

        async def look(key: TupleKey) -> None:
            async with limit:
                found.update(_facts(await self._api.read(store_id, key=wire_tuple(key))))

        async with anyio.create_task_group() as tasks:
            for key in wanted:
                tasks.start_soon(look, key)
        return found


def _facts(page: TuplePage) -> dict[TupleKey, Condition | None]:
    return {
        TupleKey(each.key.object, each.key.relation, each.key.user): condition_of(each.key.condition)
        for each in page.tuples
    }


def _array(facts: Facts[TupleKey, Condition | None]) -> bytes:
    rows: list[WireTuple] = [wire_tuple(key, condition) for key, condition in facts.items()]
    return msgspec.json.encode(rows)
