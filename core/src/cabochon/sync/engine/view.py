"""What the agent knows of its engine: what it should hold, what was left in it, what still has to be written."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsMarker, SupportsOwnership, SupportsReadBack, SupportsRestartToken
from cabochon.documents.path import DocumentPath
from cabochon.errors import PolicyStoreError, StoreUnavailableError
from cabochon.sync.desired.put_off import PutOff
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.changes import Guard, Marker
from cabochon.transactions.log import TransactionLog

__all__ = ["EngineView"]

T = TypeVar("T")


def _new_epoch() -> str:
    return uuid.uuid4().hex


@dataclass(slots=True)
class EngineView:
    """Changed by the data lane alone, from one task.

    Attributes:
        store: the open store.
        desired: what the engine should hold.
        put_off: what of it is to be written when the engine is back.
        log: the transaction log as of the last commit.
        epoch: names this life of the agent.
        number: of the newest commit that was tried; no two tries share one.
        marker: what the engine holds since the last commit, None before the first.
        in_doubt: what it may hold instead, after a lost answer.
        token: the engine's restart token when it was last filled.
        backed_up: the marker of the backup that the desired state is from, while that may be older than the engine.
        inherited: paths that an earlier life left; they go once this life is synced.
    """

    store: PolicyStore
    desired: DesiredState
    put_off: PutOff
    log: TransactionLog
    epoch: str = field(default_factory=_new_epoch)
    number: int = 0
    marker: Marker | None = None
    in_doubt: Marker | None = None
    token: str | None = None
    backed_up: Marker | None = None
    inherited: list[DocumentPath] = field(default_factory=list[DocumentPath])

    @property
    def brought(self) -> bool:
        """Whether there may be documents of a backup that nobody has written again."""
        return self.desired.journal is not None and bool(self.desired.journal.brought)

    def guard(self) -> Guard:
        """Return the guard of the next commit."""
        self.number += 1
        return Guard(self.marker, Marker(self.epoch, self.number))

    def start_epoch(self) -> None:
        """Take note that the engine is about to be filled: what it holds from now on is no state of before."""
        self.epoch, self.marker = _new_epoch(), None

    def landed(self, guard: Guard | None) -> None:
        """Take note that a commit with this guard is in the engine."""
        if guard is not None:
            self.marker, self.in_doubt = guard.leaves, None

    async def read_marker(self) -> Marker | None:
        """Read the engine's marker; None if it holds none, or can't hold one.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        return await _asked(self.store.read_marker) if isinstance(self.store, SupportsMarker) else None

    async def read_back(self, path: DocumentPath) -> bytes | None:
        """Read what the engine holds at `path`; None if there is nothing, or if it can't be read back.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        store = self.store
        return await _asked(lambda: store.get_data(path)) if isinstance(store, SupportsReadBack) else None

    async def holds_our_state(self) -> bool:
        """Ask the engine whether it is the one we filled; True where it has no way to tell.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        if isinstance(self.store, SupportsMarker):
            found = await self.read_marker()
            return found is not None and found in {self.marker, self.in_doubt}
        if isinstance(self.store, SupportsRestartToken):
            return await _asked(self.store.restart_token) == self.token
        await _asked(self.store.health)
        return True

    def can_tell(self) -> bool:
        """Whether the engine can say that it lost what we wrote."""
        return isinstance(self.store, SupportsMarker | SupportsRestartToken)

    async def settle_marker(self) -> None:
        """Adopt the marker that the engine holds, where that was in doubt."""
        if self.in_doubt is not None:
            if await self.read_marker() == self.in_doubt:
                self.marker = self.in_doubt
            self.in_doubt = None

    async def is_newer_than_backup(self) -> bool:
        """Ask the engine whether it holds a later state of the life that the backup is from.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        if self.backed_up is None:
            return False
        found = await self.read_marker()
        return found is not None and found.epoch == self.backed_up.epoch and found.number > self.backed_up.number

    async def note_token(self) -> None:
        """Remember the token of the engine that is about to be filled."""
        if isinstance(self.store, SupportsRestartToken):
            self.token = await _asked(self.store.restart_token)

    async def left_by_others(self) -> list[DocumentPath]:
        """Ask the engine which paths an earlier life has claimed."""
        return list(await _asked(self.store.owned_paths)) if isinstance(self.store, SupportsOwnership) else []


async def _asked(question: Callable[[], Awaitable[T]]) -> T:
    """Ask the store something; whatever it raises instead of its contract's error counts as no answer."""
    try:
        return await question()
    except PolicyStoreError:
        raise
    except Exception as err:
        msg = f"the policy store failed with {type(err).__name__}: {err}"
        raise StoreUnavailableError(msg) from err
