"""Whether the agent follows its update source: an operator can cut it off and let it follow again while it runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import structlog

from cabochon.sync.bell import Bell

__all__ = ["Connectivity"]

log = structlog.get_logger()


class Connectivity:
    """The switch between the agent and its update source. What is in the engine stays, commits and recovery go on.

    Everything that talks to the source, or fetches because time has passed, waits for `enabled` and works inside
    `scope`.
    """

    def __init__(self, *, offline_mode: bool = False, disabled: bool = False) -> None:
        self._offline_mode = offline_mode
        self._enabled = anyio.Event()
        if not disabled:
            self._enabled.set()
        self._scopes: set[anyio.CancelScope] = set()
        self._left = Bell()

    @property
    def offline_mode(self) -> bool:
        """Whether `OPAL_OFFLINE_MODE_ENABLED` is set."""
        return self._offline_mode

    @property
    def disabled(self) -> bool:
        """Whether the agent leaves its source alone."""
        return not self._enabled.is_set()

    async def disable(self) -> bool:
        """Leave the source, and fetch nothing by ourselves any more; return False if it is so already.

        When this returns, the source is closed. Fetches of updates that had arrived before come to their end.
        """
        changes = not self.disabled
        if changes:
            self._enabled = anyio.Event()
            log.warning("connectivity.disabled")
            for scope in self._scopes:
                scope.cancel()
        while self._scopes:
            await self._left.answered()
        return changes

    async def enable(self) -> bool:
        """Follow the source again, from its next connection on; return False if it is so already."""
        if not self.disabled:
            return False
        log.warning("connectivity.enabled")
        self._enabled.set()
        return True

    async def enabled(self) -> None:
        """Wait while the agent leaves its source alone."""
        await self._enabled.wait()

    @contextmanager
    def scope(self) -> Generator[anyio.CancelScope]:
        """Give a scope for work that `disable` cancels."""
        with anyio.CancelScope() as scope:
            if self.disabled:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
                self._left.ring()
