"""A policy store over an engine that keeps a set of facts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import groupby
from typing import Generic, Literal, Self, TypeAlias, TypeGuard, TypeVar

import anyio

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsRestartToken
from cabochon.documents.off_loop import off_loop
from cabochon.documents.path import DocumentPath
from cabochon.errors import (
    AnswerLostError,
    PathConflictError,
    StateLostError,
    StoreRejectedError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from cabochon.kit.facts.difference import Call
from cabochon.kit.facts.engine_facts import Facts
from cabochon.kit.facts.fact_writer import FactWriter, Plan
from cabochon.kit.facts.ledger import UNOWNED, FactLedger
from cabochon.kit.facts.survey import Survey
from cabochon.transactions.changes import (
    Change,
    Changes,
    DeleteData,
    PatchData,
    PolicyChange,
    ReplacePolicies,
    SetData,
    Write,
)
from cabochon.transactions.commit_result import Applied, CommitResult, Outcome, Refused, Unknown

__all__ = ["FactSetStore", "Prune"]

K = TypeVar("K", bound=Hashable)
A = TypeVar("A")

Prune: TypeAlias = Literal["owned", "all"]
"""What goes of the facts that the engine held before: only what a path comes to own, or all that no path owns."""


class FactSetStore(PolicyStore, Generic[K, A]):
    """A store whose engine keeps facts, of which every path owns a set; subclass it for an engine.

    `K` is what makes a fact the same to the engine (a tuple of user, relation and object, say), `A` what may change of
    it (a condition with its context; `None` where there is no such thing). Both are hashable. What is to be written:
    `parse`, `write_facts`, `read_facts`, `health`, and `write_policies` if the engine has any.

    Open it with `async with store.opened()`. A store with `SupportsRestartToken` passes its token through `engine_is`;
    one without it calls `forget` when `health` fails, since the engine may come back empty.

    Args:
        facts_per_call: the most facts that one call of `write_facts` may name, None for no limit.
        overwrites: whether a write puts a fact's new attribute in the place of its old one; if not, the fact is deleted
            first, in a call before.
        prune: "owned" leaves the facts that the engine held before and that no path owns; "all" removes them once the
            first sync is complete, and the agent is ready after that.
    """

    def __init__(self, *, facts_per_call: int | None = None, overwrites: bool = False, prune: Prune = "owned") -> None:
        self._facts_per_call = facts_per_call
        self._overwrites = overwrites
        self._prune = prune
        self._ledger: FactLedger[K, A] = FactLedger()
        self._survey: Survey[K, A] = Survey(self.read_facts)
        self._token: str | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Self]:
        """Run what the store does beside its commits; what is raised while it is open leaves as it is."""
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._survey.run)
            try:
                yield self
            except Exception as err:  # noqa: BLE001 - raised again, without the group that the tasks are in
                failed = err
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    # --------------------------------------------------------------------------------------- what an engine brings

    @staticmethod
    @abstractmethod
    def parse(path: DocumentPath, value: bytes) -> Facts[K, A]:
        """Read the raw JSON that is written at `path`; `facts_of` helps.

        A large document is read in another process, which imports this method by the name of its class.

        Raises:
            StoreRejectedError: it is no set of facts; the message names the path, the element and what is wrong.
        """

    @abstractmethod
    async def write_facts(self, call: Call[K, A]) -> str | None:
        """Make one call, all or nothing, and return the engine's version token if it has one.

        Writing what is there and deleting what is not must be fine: a call whose answer was lost is made again.

        Raises:
            StoreRejectedError: the engine refuses it.
            HeldOtherwiseError: it does because a fact is there with another attribute, which is said in `found`.
            StoreUnavailableError: it can't be reached, and nothing of the call has landed.
            StateLostError: it is not the engine that we wrote to.
            AnswerLostError: the call may have landed, or do so in a moment.
        """

    @abstractmethod
    def read_facts(self) -> AsyncIterator[Facts[K, A]]:
        """Give everything that the engine holds, page by page; asked for once, with `prune="all"`.

        Raises:
            StoreUnavailableError: it does not answer.
        """

    async def write_policies(self, changes: Sequence[PolicyChange]) -> str | None:
        """Make the changes of policies of one write, all or nothing, and return the version token if there is one.

        May run beside `write_facts`. Raises as it does.
        """
        for change in changes:
            policy_id = ", ".join(change.policies) if isinstance(change, ReplacePolicies) else change.id
            msg = f"policy {policy_id}: this engine has no policies, only facts"
            raise UnsupportedOperationError(msg, path=policy_id)
        return None

    # --------------------------------------------------------------------------------------- what an engine may use

    @property
    def facts_per_call(self) -> int | None:
        """The most facts of one call, None for no limit."""
        return self._facts_per_call

    def facts_at(self, path: DocumentPath) -> Facts[K, A] | None:
        """Return the facts that `path` owns, None if nothing was written there."""
        return self._ledger.facts_at(path)

    def engine_is(self, token: str) -> str:
        """Take note which engine answers, and return its token: another one than before may hold nothing of ours."""
        if token != self._token:
            self.forget()
            self._token = token
        return token

    def forget(self) -> None:
        """Take note that the engine may have lost what was written: what is written again is sent again."""
        self._ledger.engine.put_all_in_doubt()

    # ----------------------------------------------------------------------------------------------- the contract

    async def owned_paths(self) -> Sequence[DocumentPath]:
        """Return `UNOWNED` if facts are to be pruned; `StoreUnavailableError` until the engine's are all read."""
        if self._prune == "owned":
            return ()
        self._ledger.engine.first_contact(await self._survey.result())
        return (UNOWNED,) if self._ledger.engine.unowned else ()

    async def commit(self, changes: Changes) -> CommitResult:
        """Write each transaction as the difference that it makes; small ones share a call."""
        writes = (*changes.writes, *([Write("state", changes.state)] if changes.state else []))
        outcomes: list[Outcome] = []
        versions: list[str] = []
        for of_policies, run in groupby(writes, _holds_policies):
            try:
                outcomes += await (self._policies if of_policies else self._data)(list(run), versions)
            except StateLostError:
                self.forget()
                raise
            except StoreUnavailableError as err:
                if not isinstance(self, SupportsRestartToken):
                    self.forget()
                if all(isinstance(outcome, Refused) for outcome in outcomes):
                    raise
                outcomes += [Unknown(err)] * (len(writes) - len(outcomes))
                break
        state = outcomes.pop() if changes.state else Applied()
        return CommitResult(tuple(outcomes), versions[-1] if versions else None, state=state)

    async def _data(self, writes: Sequence[Write], versions: list[str]) -> Sequence[Outcome]:
        writer = FactWriter(self._ledger, self.write_facts, most=self._facts_per_call, overwrites=self._overwrites)
        outcomes = await writer.write([await self._plan(write) for write in writes])
        if writer.version is not None:
            versions.append(writer.version)
        return outcomes

    async def _plan(self, write: Write) -> Plan[K, A] | Refused:
        try:
            return [await self._read(change) for change in write.changes]
        except StoreRejectedError as err:
            return Refused(err)

    async def _read(self, change: Change) -> tuple[DocumentPath, Facts[K, A] | None]:
        match change:
            case SetData(path, value) if path != UNOWNED:
                return path, await off_loop(partial(self.parse, path), value)
            case DeleteData(path):
                return path, None
            case SetData(path):
                msg = f"{path} stands for the facts that no path owns; choose another dst_path"
                raise PathConflictError(msg, path=str(path))
            case PatchData(path):
                msg = f"{path}: facts are not patched in the engine; the core patches the document"
                raise UnsupportedOperationError(msg, path=str(path))
            case _:
                msg = "policies and data do not fit one write: this engine takes them apart"
                raise UnsupportedOperationError(msg)

    async def _policies(self, writes: Sequence[Write], versions: list[str]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for write in writes:
            try:
                version = await self.write_policies([change for change in write.changes if _is_of_policies(change)])
            except StoreRejectedError as err:
                outcomes.append(Refused(err))
            except AnswerLostError as err:
                outcomes.append(Unknown(err))
            else:
                outcomes.append(Applied())
                if version is not None:
                    versions.append(version)
        return outcomes


def _is_of_policies(change: Change) -> TypeGuard[PolicyChange]:
    return isinstance(change, PolicyChange)


def _holds_policies(write: Write) -> bool:
    return bool(write.changes) and all(map(_is_of_policies, write.changes))
