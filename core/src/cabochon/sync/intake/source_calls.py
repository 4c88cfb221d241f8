"""Call a source: under a deadline, not while the agent is cut off from it, and whatever goes wrong is the source's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import anyio

from cabochon.contract.update_source import SourceEvent, UpdateSource
from cabochon.errors import SourceError
from cabochon.schemas import DataSourceConfig, PolicyBundle
from cabochon.sync.intake.connectivity import Connectivity

__all__ = ["SourceCalls", "asked"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceCalls:
    """What the agent asks its source; each answer is waited for `within_s` seconds."""

    source: UpdateSource
    connectivity: Connectivity
    within_s: float

    @property
    def disabled(self) -> bool:
        """Whether an operator has cut the agent off from its source."""
        return self.connectivity.disabled

    async def enabled(self) -> None:
        """Wait while the agent is cut off."""
        await self.connectivity.enabled()

    def scope(self) -> AbstractContextManager[anyio.CancelScope]:
        """Give a scope for work that ends when the agent is cut off."""
        return self.connectivity.scope()

    def events(self) -> AsyncIterator[SourceEvent]:
        """Follow the source, from its next connection on."""
        return self.source.events()

    async def data_sources(self) -> DataSourceConfig:
        """Return the base data sources for this agent.

        Raises:
            SourceError: the source can't answer, does not in time, breaks, or is cut off.
        """
        return await self._asked(self.source.data_sources)

    async def policy_bundle(self, base_hash: str | None) -> PolicyBundle | None:
        """Return the policies of all directories, as a difference to `base_hash` where the source can.

        Never of the directories alone that a message names: an earlier message may have been missed, and a source that
        can't tell the difference answers with everything there is in what it was asked for.

        Raises:
            SourceError: as for `data_sources`.
        """
        return await self._asked(lambda: self.source.policy_bundle(base_hash, ()))

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        if not self.connectivity.disabled:
            with self.connectivity.scope():
                return await asked(question, within_s=self.within_s)
        msg = "the connectivity to the update source is disabled"
        raise SourceError(msg)


async def asked(question: Callable[[], Awaitable[T]], *, within_s: float) -> T:
    """Ask a source something.

    Raises:
        SourceError: it can't answer, does not within `within_s` seconds, or breaks.
    """
    try:
        with anyio.fail_after(within_s):
            return await question()
    except SourceError:
        raise
    except TimeoutError as err:
        msg = f"no answer within {within_s:g} s"
        raise SourceError(msg) from err
    except Exception as err:
        msg = f"the update source failed with {type(err).__name__}: {err}"
        raise SourceError(msg) from err
