"""The engine refuses what the listeners add to a commit: find out whose part it is, and go on without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cabochon.errors import StoreRejectedError
from cabochon.listener_panel import ListenerPanel

__all__ = ["quarantine_guilty"]


async def quarantine_guilty(
    panel: ListenerPanel, refusal_of: Callable[[str | None], Awaitable[StoreRejectedError | None]]
) -> None:
    """Commit each listener's part alone, and take out of service those that the engine refuses.

    Args:
        panel: the listeners.
        refusal_of: commits the part of this listener (None: of all of them) without any data; returns why the engine
            refuses it, None if it does not.
    """
    guilty = False
    for name in panel.active:
        refusal = await refusal_of(name)
        if refusal is not None:
            guilty = True
            panel.quarantine(name, refusal)
    if not guilty and await refusal_of(None) is not None:
        # Each alone is fine, together they are refused: none can be told to be innocent.
        for name in panel.active:
            panel.quarantine(name, StoreRejectedError("the engine refuses it together with the other listeners"))
