"""What the engine can be asked: with the powers that its store has, and one kind of error if there is no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsMarker, SupportsOwnership, SupportsReadBack, SupportsRestartToken
from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreUnavailableError
from cabochon.transactions.changes import Marker

__all__ = ["EngineQuestions"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EngineQuestions:
    """Asks an open store. Each question raises `StoreUnavailableError` where the engine does not answer it."""

    store: PolicyStore

    @property
    def has_marker(self) -> bool:
        """Whether the engine can hold a marker."""
        return isinstance(self.store, SupportsMarker)

    @property
    def can_tell(self) -> bool:
        """Whether the engine can say that it lost what we wrote."""
        return isinstance(self.store, SupportsMarker | SupportsRestartToken)

    async def marker(self) -> Marker | None:
        """Read the engine's marker; None if it holds none, or can't hold one."""
        return await _asked(self.store.read_marker) if isinstance(self.store, SupportsMarker) else None

    async def restart_token(self) -> str | None:
        """Read the engine's restart token; None if it has none."""
        return await _asked(self.store.restart_token) if isinstance(self.store, SupportsRestartToken) else None

    async def health(self) -> None:
        """Ask the engine for any answer at all."""
        await _asked(self.store.health)

    async def read_back(self, path: DocumentPath) -> bytes | None:
        """Read what the engine holds at `path`; None if there is nothing, or if it can't be read back."""
        store = self.store
        return await _asked(lambda: store.get_data(path)) if isinstance(store, SupportsReadBack) else None

    async def owned_paths(self) -> list[DocumentPath]:
        """Ask which paths an agent has claimed, in this life or an earlier one."""
        return list(await _asked(self.store.owned_paths)) if isinstance(self.store, SupportsOwnership) else []


async def _asked(question: Callable[[], Awaitable[T]]) -> T:
    try:
        return await question()
    except StoreUnavailableError:
        raise
    except Exception as err:
        msg = f"the policy store failed with {type(err).__name__}: {err}"
        raise StoreUnavailableError(msg) from err
