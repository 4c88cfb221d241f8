"""The running agent, as services and routes see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from cabochon.contract.agent_parts import Callbacks, PolicyStoreWrites, SourceSwitch, TraceFeed
    from cabochon.contract.metrics import Metrics
    from cabochon.contract.policy_store import StoreTraits
    from cabochon.transactions.log import TransactionLog

__all__ = ["AgentContext", "AsgiApp", "HostedRoutes"]

_Message: TypeAlias = MutableMapping[str, Any]

AsgiApp: TypeAlias = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRoutes:
    """Routes of a plugin, ready to be served.

    Attributes:
        name: as they are registered.
        mount_path: where they hang, such as `/callbacks`.
        app: the application; `root_path` of its scopes may or may not hold the mount path.
        public: see `HttpRoutesType`.
        openapi: see `HttpRoutesType`.
    """

    name: str
    mount_path: str
    app: AsgiApp
    public: bool = False
    openapi: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """The running agent, as services and routes see it.

    Attributes:
        policy_store: writes to the engine through the agent's own pipeline: `transaction_context`.
        policy_store_type: the name of the store in use, as it is registered.
        store_traits: what that store says of its engine: what it keeps, and how.
        log: gives ready, healthy, in_sync and the whole document, as of now.
        callbacks: the register of update callbacks.
        metrics: counters and depths by name.
        traces: hands what became of each update to a tracer: `with agent.traces.sent_to(tracer)`.
        refresh_data: fetch the base data again, as new arrivals.
        refresh_policies: ask the source for all policies again.
        http_routes: builds the routes that plugins offer for this agent's store, sorted by name; for whoever serves
            HTTP. Routes that can't be built are logged by name and left out.
        connectivity: the switch between the agent and its update source: `disable`, `enable`.
    """

    policy_store: PolicyStoreWrites
    policy_store_type: str
    store_traits: StoreTraits
    log: Callable[[], TransactionLog]
    callbacks: Callbacks
    metrics: Metrics
    traces: TraceFeed
    refresh_data: Callable[[], Awaitable[None]]
    refresh_policies: Callable[[], Awaitable[None]]
    http_routes: Callable[[], Sequence[HostedRoutes]]
    connectivity: SourceSwitch
