"""An update source that the program itself feeds, for tests, demos and examples; it needs nothing installed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import msgspec

from cabochon.contract.update_source import (
    Connected,
    DataUpdateReceived,
    Disconnected,
    PolicyChanged,
    SourceEvent,
    UpdateSource,
)
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle

__all__ = ["InProcessSource"]


class InProcessSource(UpdateSource):
    """Yields what `publish` and its like are told, in that order.

    It serves one agent, from the agent's own event loop. Whoever publishes waits while `capacity` events wait for the
    agent.

    Example:
        >>> import anyio
        >>> async def main() -> None:
        ...     source = InProcessSource()
        ...     entry = {"url": "", "dst_path": "/users/bob", "data": {"age": 41}}
        ...     await source.publish({"id": "1", "entries": [entry]})
        ...     source.close()
        ...     async for event in source.events():
        ...         print(type(event).__name__)
        >>> anyio.run(main)
        Connected
        DataUpdateReceived

    Attributes:
        base_data: what `data_sources` answers; a new value counts from the next connection or refresh on.
        bundle: what `policy_bundle` answers, `change_policies` replaces it.
        acknowledged: the positions that the agent has acknowledged, in order.
        ends: what the agent has told of positions as their updates ended: each with the error, or None.
    """

    def __init__(
        self,
        *,
        base_data: DataSourceConfig | None = None,
        bundle: PolicyBundle | None = None,
        topics: Sequence[str] = (),
        capacity: int = 1000,
    ) -> None:
        self.topics = topics
        self.has_policies = bundle is not None
        self.base_data = DataSourceConfig() if base_data is None else base_data
        self.bundle = bundle
        self.acknowledged: list[object] = []
        self.ends: list[tuple[object, str | None]] = []
        self._events: deque[SourceEvent] = deque([Connected()])
        self._capacity = capacity
        self._published = 0
        self._closed = False
        self._changed = anyio.Event()

    # -------------------------------------------------------------------------------------------- what feeds it

    async def publish(self, update: DataUpdate | dict[str, Any], *, topic: str = "") -> None:
        """Publish a data update, given as one or as its JSON object.

        Raises:
            msgspec.ValidationError: the object is no data update.
        """
        if isinstance(update, dict):
            update = msgspec.json.decode(msgspec.json.encode(update), type=DataUpdate)
        self._published += 1
        await self._put(DataUpdateReceived(update, topic, self._published))

    async def change_policies(self, bundle: PolicyBundle, *, directories: Sequence[str] = ()) -> None:
        """Replace the policies and say so."""
        self.bundle = bundle
        await self._put(PolicyChanged(bundle.hash, tuple(directories)))

    async def disconnect(self, reason: str = "") -> None:
        """Let the connection break."""
        await self._put(Disconnected(reason))

    async def connect(self, *, resumed: bool = False) -> None:
        """Let the connection be there again."""
        await self._put(Connected(resumed))

    def close(self) -> None:
        """End: what was published is still yielded, nothing will come after it."""
        self._closed = True
        self._wake()

    async def _put(self, event: SourceEvent) -> None:
        if self._closed:
            raise RuntimeError("the source is closed")
        while len(self._events) >= self._capacity:
            await self._changed.wait()
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # -------------------------------------------------------------------------------------- what the agent asks

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Yield `Connected`, then whatever it is fed, until `close`."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._wake()
                yield event
            if self._closed:
                return
            await self._changed.wait()

    async def data_sources(self) -> DataSourceConfig:
        """Return `base_data`."""
        return self.base_data

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Return `bundle`, whole; None if that is what `base_hash` names."""
        del directories
        return None if self.bundle is None or self.bundle.hash == base_hash else self.bundle

    async def acknowledge(self, position: object) -> None:
        """Remember the position."""
        self.acknowledged.append(position)

    def ended(self, position: object, error: str | None) -> None:
        """Remember the end."""
        self.ends.append((position, error))
