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
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct
from pydantic_settings import BaseSettings

from cabochon.document_path import DocumentPath
from cabochon.errors import StoreRejectedError

__all__ = [
    "STATE",
    "Applied",
    "Blame",
    "Change",
    "Changes",
    "CommitResult",
    "DeleteData",
    "DeletePolicy",
    "Guard",
    "Marker",
    "Outcome",
    "PatchData",
    "PatchOperation",
    "PolicyProblem",
    "PolicyStore",
    "PolicyStoreType",
    "Refused",
    "ReplacePolicies",
    "SetData",
    "SetPolicy",
    "StoreTraits",
    "SupportsExport",
    "SupportsJsonPatch",
    "SupportsMarker",
    "SupportsOwnership",
    "SupportsReadBack",
    "SupportsRestartToken",
    "SupportsValidation",
    "Unknown",
    "Write",
    "policies_after",
]


# ------------------------------------------------------------------------------------------------ what is written
# `gc=False`: these hold nothing that could point back at them, and there may be many of them.


class PatchOperation(Struct, frozen=True, gc=False):
    """One operation of a JSON patch (RFC 6902), its pointers read.

    Attributes:
        op: "add", "remove", "replace", "move", "copy" or "test".
        path: below the patched document; a last segment `-` appends to an array.
        value: raw JSON, for add, replace and test.
        source: the `from` of move and copy.
    """

    op: Literal["add", "remove", "replace", "move", "copy", "test"]
    path: DocumentPath
    value: bytes | None = None
    source: DocumentPath | None = None


class SetData(Struct, frozen=True, gc=False):
    """Replace what is at `path` by the raw JSON `value`; missing parents are created.

    In a store of facts, `path` then owns the facts of `value`, and the paths below it own none.
    """

    path: DocumentPath
    value: bytes


class PatchData(Struct, frozen=True, gc=False):
    """Apply a JSON patch to the document at `path`: all of its operations or none."""

    path: DocumentPath
    operations: tuple[PatchOperation, ...]


class DeleteData(Struct, frozen=True, gc=False):
    """Remove what is at `path`, and in a store of facts what the paths below it own; nothing there is fine."""

    path: DocumentPath


class SetPolicy(Struct, frozen=True):
    """Write one policy; `id` is its path in the repository."""

    id: str
    source: str


class DeletePolicy(Struct, frozen=True):
    """Remove one policy; removing what is not there is fine."""

    id: str


class ReplacePolicies(Struct, frozen=True):
    """Make `policies` (id to source, in the order to load them) the whole set that this agent keeps in the engine.

    `anew` says that others may have changed them there: a store that remembers what it wrote must look again.
    """

    policies: Mapping[str, str]
    anew: bool = False


Change: TypeAlias = SetData | PatchData | DeleteData | SetPolicy | DeletePolicy | ReplacePolicies


def policies_after(policies: Mapping[str, str], changes: Sequence[Change]) -> dict[str, str]:
    """Return a set of policies (id to source, in the order to load them) as it is after `changes`.

    Raises:
        TypeError: one of the changes is not about policies.
    """
    wanted = dict(policies)
    for change in changes:
        match change:
            case SetPolicy(policy_id, source):
                wanted[policy_id] = source
            case DeletePolicy(policy_id):
                wanted.pop(policy_id, None)
            case ReplacePolicies(replaced):
                wanted = dict(replaced)
            case _:
                raise TypeError(f"{type(change).__name__} is no policy change")
    return wanted


class Write(Struct, frozen=True, gc=False):
    """What one transaction writes: it takes effect as a whole or not at all, as far as the engine can do that."""

    transaction_id: str
    changes: tuple[Change, ...]


class Marker(Struct, frozen=True, gc=False):
    """What an agent leaves in the engine with every commit: whose life it is (`epoch`), how far it got (`number`)."""

    epoch: str
    number: int


class Guard(Struct, frozen=True, gc=False):
    """Compare and swap on the engine's marker.

    `expects` None means: whatever is there, nothing included. Otherwise a commit must fail with `StateLostError`, and
    nothing of it may land, if the engine's marker is not exactly `expects`. After the commit the marker is `leaves`.
    """

    expects: Marker | None
    leaves: Marker


class Changes(Struct, frozen=True):
    """One commit.

    Attributes:
        writes: the transactions, in the order in which they must take effect.
        state: what the transaction listeners add; it lands with the writes or not at all.
        guard: see `Guard`; None for policies, which travel in a lane of their own. A store that does not implement
            `SupportsMarker` ignores it.
        claims: paths that the agent owns from now on; a store that does not implement `SupportsOwnership` ignores them.
        releases: paths that it owns no longer; a path in both stays claimed.
    """

    writes: tuple[Write, ...]
    state: tuple[Change, ...] = ()
    guard: Guard | None = None
    claims: tuple[DocumentPath, ...] = ()
    releases: tuple[DocumentPath, ...] = ()

    def flat(self) -> list[Change]:
        """All changes in the order in which they take effect, the listeners' last."""
        return [change for write in self.writes for change in write.changes] + list(self.state)


# ------------------------------------------------------------------------------------------------ what became of it


class Applied(Struct, frozen=True):
    """The write is in force."""


class Refused(Struct, frozen=True):
    """The engine refuses the write, and would again; nothing of it is in force."""

    error: StoreRejectedError


class Unknown(Struct, frozen=True):
    """The answer was lost: the write may be in force, or be so in a moment. The core clears it up."""

    error: Exception


Outcome: TypeAlias = Applied | Refused | Unknown

STATE = -1
"""In `Blame.write`: the guilty change is one of the listeners'."""


class Blame(Struct, frozen=True):
    """Which change made an engine refuse an atomic commit: `Changes.writes[write].changes[change]`."""

    write: int
    change: int


class CommitResult(Struct, frozen=True):
    """What became of each write of a commit.

    Attributes:
        outcomes: one for each of `Changes.writes`.
        state: what became of `Changes.state`, and with it of the guard. An engine that takes the data and then refuses
            what a listener adds (a policy, say) may say so: every outcome `Applied`, `state` `Refused`. The data count
            as applied then and are not written again, the marker is what the guard leaves, the listener is found
            (`blame` helps), named and taken out of service, and the state is written again without it. One write
            `Applied` is enough for the marker to be the new one; of a refused commit that has no writes the core reads
            the marker back.
        version: the engine's own version token after the commit (revision, model id, ZedToken), None if it has none.
        blame: for a commit refused as a whole, or a refused `state`, the guilty change if the engine says; the core
            then lands the rest. Without it the core splits the commit until it finds it.
    """

    outcomes: tuple[Outcome, ...]
    version: str | None = None
    blame: Blame | None = None
    state: Outcome = Applied()

    @property
    def landed(self) -> bool:
        """Whether all of it is in force."""
        return type(self.state) is Applied and all(type(outcome) is Applied for outcome in self.outcomes)

    @property
    def data_landed(self) -> bool:
        """Whether every write is in force, whatever became of the listeners' changes."""
        return all(type(outcome) is Applied for outcome in self.outcomes)

    @property
    def doubtful(self) -> bool:
        """Whether some of it may or may not be in force."""
        return type(self.state) is Unknown or any(type(outcome) is Unknown for outcome in self.outcomes)

    @property
    def refusal(self) -> StoreRejectedError | None:
        """The first refusal, None if nothing was refused."""
        for outcome in (*self.outcomes, self.state):
            if isinstance(outcome, Refused):
                return outcome.error
        return None

    @classmethod
    def applied(cls, changes: Changes, *, version: str | None = None) -> CommitResult:
        """Everything landed."""
        return cls((_APPLIED,) * len(changes.writes), version)

    @classmethod
    def refused(cls, changes: Changes, error: StoreRejectedError, *, blame: Blame | None = None) -> CommitResult:
        """An atomic commit was refused: nothing landed."""
        refused = Refused(error)
        return cls((refused,) * len(changes.writes), blame=blame, state=refused)

    @classmethod
    def unknown(cls, changes: Changes, error: Exception) -> CommitResult:
        """The answer was lost: everything may have landed, or nothing."""
        unknown = Unknown(error)
        return cls((unknown,) * len(changes.writes), state=unknown)


_APPLIED = Applied()


# ------------------------------------------------------------------------------------------------ the store itself


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
            StateLostError: the guard failed, nothing landed.
        """

    @abstractmethod
    async def health(self) -> None:
        """Return if the engine answers; called about once a second.

        Raises:
            StoreUnavailableError: it does not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProblem:
    """Why the engine would refuse a policy: `id` names it, `row` and `column` count from 1 where known."""

    id: str
    message: str
    row: int | None = None
    column: int | None = None


@runtime_checkable
class SupportsJsonPatch(Protocol):
    """The engine applies JSON patches itself.

    Without it the core works on its own copy of the document and writes the result as `SetData`. Operations that are
    not in `patch_operations` are translated by the core before the store sees them.
    """

    @property
    def patch_operations(self) -> frozenset[str]:
        """Operations that the engine knows, of add, remove, replace, move, copy and test."""
        ...


@runtime_checkable
class SupportsReadBack(Protocol):
    """The engine tells what it holds."""

    async def get_data(self, path: DocumentPath) -> bytes | None:
        """Return the raw JSON at `path`, None if there is nothing; `StoreUnavailableError` if it does not answer."""
        ...

    async def get_policies(self) -> Mapping[str, str]:
        """Return the source of every policy by id; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsMarker(Protocol):
    """The engine keeps the marker of the last commit, written and compared atomically with it."""

    async def read_marker(self) -> Marker | None:
        """Return it, None if the engine holds none; `StoreUnavailableError` if it does not answer."""
        ...


@runtime_checkable
class SupportsOwnership(Protocol):
    """The engine keeps the list of paths that agents claimed, so that a new life finds what an earlier one left."""

    async def owned_paths(self) -> Sequence[DocumentPath]:
        """Return it; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsRestartToken(Protocol):
    """The engine shows a token that changes when it starts anew with nothing in it."""

    async def restart_token(self) -> str:
        """Return it; `StoreUnavailableError` if the engine does not answer."""
        ...


@runtime_checkable
class SupportsValidation(Protocol):
    """Policies can be judged before they are applied."""

    async def validate(self, policies: Mapping[str, str]) -> Sequence[PolicyProblem]:
        """Return what is wrong with this whole set (id to source), nothing if it is good."""
        ...


@runtime_checkable
class SupportsExport(Protocol):
    """Everything that the engine holds can be written down."""

    async def export_data(self) -> bytes:
        """Return the whole data document as raw JSON; `StoreUnavailableError` if the engine does not answer."""
        ...


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
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[PolicyStore]]
    settings: type[BaseSettings] | None = None
    for_tests: bool = False
    usual: bool = False
    sandbox: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None
