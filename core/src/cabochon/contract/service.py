"""Services: what a plugin lets run beside the sync for as long as the agent does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cabochon.contract.agent_context import AgentContext

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = ["ServiceType"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceType:
    """Offer a long-running part of the agent.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and the context; entering starts the service, leaving stops it,
            both under a deadline. A `ConfigurationError` while it starts stops the start of the agent.
        phase: "before_store" is entered before the policy store is used and left after it (an engine that the agent
            runs itself); "after_store" is entered when the sync runs and left before it ends.
        stores: names of the stores it goes with, compared without case; empty for all.
        settings: the service's settings model.
        addresses: takes an instance of `settings` and gives the URLs at which it answers over TCP, as those of a store.
    """

    name: str
    summary: str
    open: Callable[[Any, AgentContext], AbstractAsyncContextManager[None]]
    phase: Literal["before_store", "after_store"] = "after_store"
    stores: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
    addresses: Callable[[Any], Sequence[str]] | None = None
