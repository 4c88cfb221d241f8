"""What a plugin may add around the sync: long-running services, HTTP routes, commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic_settings import BaseSettings

if TYPE_CHECKING:
    import click

    from cabochon.connectivity import Connectivity
    from cabochon.metrics import Metrics
    from cabochon.policy_store import StoreTraits
    from cabochon.reporting import CallbackRegister
    from cabochon.transaction import TransactionalStore
    from cabochon.transaction_log import TransactionLog
    from cabochon.update_trace import Traces

__all__ = ["AgentContext", "AsgiApp", "CommandType", "HostedRoutes", "HttpRoutesType", "ServiceType"]

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

    policy_store: TransactionalStore
    policy_store_type: str
    store_traits: StoreTraits
    log: Callable[[], TransactionLog]
    callbacks: CallbackRegister
    metrics: Metrics
    traces: Traces
    refresh_data: Callable[[], Awaitable[None]]
    refresh_policies: Callable[[], Awaitable[None]]
    http_routes: Callable[[], Sequence[HostedRoutes]]
    connectivity: Connectivity


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
    """

    name: str
    summary: str
    open: Callable[[Any, AgentContext], AbstractAsyncContextManager[None]]
    phase: Literal["before_store", "after_store"] = "after_store"
    stores: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoutesType:
    """Offer routes on the agent's one HTTP face.

    Attributes:
        name: unique, compared without case.
        summary: one line for `cabochon plugins`.
        mount_path: where the routes hang, such as `/callbacks`; unique.
        app: takes an instance of `settings` (or None) and the context, gives an ASGI application.
        stores: names of the stores they go with, compared without case; empty for all.
        settings: the routes' settings model.
        public: anyone may ask, such as for a health document; otherwise whoever serves HTTP lets in only those who show
            a token of a listener, as soon as tokens are in use.
        openapi: what the routes are, for the description of the API: Path Item Objects of OpenAPI 3.1 by the path below
            `mount_path`, such as `{"/config": {"get": {"summary": "..."}}}`.
    """

    name: str
    summary: str
    mount_path: str
    app: Callable[[Any, AgentContext], AsgiApp]
    stores: tuple[str, ...] = ()
    settings: type[BaseSettings] | None = None
    public: bool = False
    openapi: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandType:
    """Offer a command for the `cabochon` command line.

    Attributes:
        name: what a person types after `cabochon`; unique.
        summary: one line for `cabochon --help`.
        load: gives the click command; called only when the command is used, so that imports stay cheap.
        settings: settings that the command reads, listed by `cabochon config`.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]
    settings: type[BaseSettings] | None = None
