"""What a policy engine is to Cabochon: something that takes changes in commits and says what became of them.

The contract asks for little: `commit` and `health`. What an engine is (files or one model, documents or facts, how much
fits an atomic commit) it declares in `StoreTraits`; what it can do beyond (JSON patches, reading back, a marker, ...)
it shows by implementing one of the `Supports...` protocols. docs/decisions/0003 maps OPA, OpenFGA, SpiceDB, Cedar and
Cerbos onto it, method by method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cabochon.documents.path import DocumentPath
from cabochon.transactions.changes import Changes
from cabochon.transactions.commit_result import CommitResult

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["PolicyStore", "PolicyStoreType", "StoreTraits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTraits:
    """What a store declares about its engine.

    Attributes:
        policy_unit: "files" (policies one by one), "model" (all of them make one model) or "none".
        data_unit: "documents" (one JSON tree), "facts" (a set of facts owned by each path) or "none".
        atomic: how much lands or fails together: a whole "commit", each "write" (a transaction), or each "change".
        max_changes: the most changes of an atomic commit, None for no limit; a JSON patch counts as its operations. A
            transaction beyond it lands in parts, a single change beyond it is the store's to cut or to refuse. Commits
            of policies keep to no limit: the store cuts them itself.
        max_bytes: the most bytes of raw JSON in a commit, None for no limit; a single larger change travels alone.
        slowest_bytes_per_s: how fast the engine takes data at the least: a commit may take longer than its deadline by
            the size of its raw JSON divided by this.
        reserved: paths that are not the agent's to write: a root document leaves them alone, a write into them is
            refused.
    """

    policy_unit: Literal["files", "model", "none"]
    data_unit: Literal["documents", "facts", "none"]
    atomic: Literal["commit", "write", "change"]
    max_changes: int | None = None
    max_bytes: int | None = None
    slowest_bytes_per_s: int = 2_000_000
    reserved: tuple[DocumentPath, ...] = ()


class PolicyStore(ABC):
    """An open connection to one engine.

    The core calls `commit` for data from one task at a time; a commit of policies may run beside it. Every call runs
    under a deadline of the core's: being cancelled counts as a lost answer, so clean up and re-raise.
    """

    traits: ClassVar[StoreTraits]

    @abstractmethod
    async def commit(self, changes: Changes) -> CommitResult:
        """Write `changes`, all or nothing where the engine can do that.

        Changes take effect in order; a change the engine can't express is refused with `UnsupportedOperationError`
        that names the path and the reason. Never raise for a refusal: say so in the result.

        Returns:
            One outcome for each write.

        Raises:
            StoreUnavailableError: the engine can't be reached, and nothing landed. In doubt return `Unknown`.
            AnswerLostError: taken as `Unknown` for all of it.
            StateLostError: the guard failed, nothing landed.
        """

    @abstractmethod
    async def health(self) -> None:
        """Return if the engine answers; called about once a second.

        Raises:
            StoreUnavailableError: it does not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStoreType:
    """Offer a policy store.

    Attributes:
        name: what the operator writes in `OPAL_POLICY_STORE_TYPE`; unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and gives an async context manager that yields an open store.
            Do not wait for the engine in it: the core starts before the engine is up.
        settings: the store's settings model; its fields carry the whole variable name as alias.
        for_tests: never chosen unless it is named.
        usual: chosen if none is named, whatever else is installed; for what OPAL would take with the same variables.
        sandbox: takes the operator's variables and gives those to set besides, for an engine on this machine that
            nobody else uses, such as one that the agent runs on a free port; `cabochon demo` asks for it. A
            `ConfigurationError` says what is missing. None: there is no such engine, or any is one.
        addresses: takes an instance of `settings` and gives the URLs at which the engine answers over TCP: nobody who
            publishes an update may have the agent fetch from there, or call there.
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[PolicyStore]]
    settings: type[BaseSettings] | None = None
    for_tests: bool = False
    usual: bool = False
    sandbox: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
    addresses: Callable[[Any], Sequence[str]] | None = None
