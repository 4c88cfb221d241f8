"""From settings to an agent: the plugins that they name, opened."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

import structlog

from cabochon import __version__
from cabochon.agent.agent import Agent
from cabochon.contract.fetcher import Fetcher, FetcherType
from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.transaction_listener import TransactionListener
from cabochon.contract.update_source import UpdateSource
from cabochon.errors import CabochonError, PluginLoadError
from cabochon.plugins.installed import PluginOffer, Plugins
from cabochon.settings.core import CoreSettings
from cabochon.sync.backup.store_backup import StoreBackup, open_store_backup
from cabochon.sync.pipeline import Pipeline, PipelineParts

__all__ = ["open_agent"]

log = structlog.get_logger()

T = TypeVar("T")


@asynccontextmanager
async def open_agent(
    plugins: Plugins,
    settings: CoreSettings,
    *,
    environ: Mapping[str, str] | None = None,
    store: PolicyStore | None = None,
    source: UpdateSource | None = None,
    listeners: Mapping[str, TransactionListener] | None = None,
    alone: bool = False,
) -> AsyncGenerator[Agent]:
    """Open the plugins that the settings name, and everything that goes with them.

    Args:
        plugins: what is installed.
        settings: the core's.
        environ: where plugins' settings are read from; None for the process's environment.
        store: an open policy store of the type that the settings name, to use instead of opening one.
        source: an open update source to use instead of the one that the settings name.
        listeners: open transaction listeners by name, beside those that plugins offer.
        alone: leave out the services of phase `after_store`, such as an HTTP API: for a run that nobody else is to see.

    Raises:
        PluginNotFoundError: a setting names what is not installed.
        ConfigurationError: a setting is wrong; the message names it.
        PluginLoadError: a plugin can't be opened.
    """
    store_type = plugins.choose_policy_store(settings.policy_store_type)
    source_type = plugins.choose_update_source(settings.update_source) if source is None else None
    async with AsyncExitStack() as stack:
        opened = partial(_opened, stack, environ)
        # What is opened first is closed last.
        store = store if store is not None else cast("PolicyStore", await opened(store_type))
        source = source if source_type is None else cast("UpdateSource", await opened(source_type))
        fetchers = {one: await opened(one) for one in plugins.fetchers.values()}
        reporters = {one: await opened(one) for one in plugins.callback_reporters.values()}
        services = plugins.services_for(store_type.name)
        own = _own_addresses([store_type, *services], environ)
        for one in (*fetchers.values(), *reporters.values()):
            one.avoid(own)
        offered = {one.name: await opened(one) for one in plugins.transaction_listeners_for(store_type.name)}
        parts = PipelineParts(
            store=store,
            source=cast("UpdateSource", source),
            fetchers=_by_name(fetchers),
            fetchers_by_scheme=_by_scheme(fetchers),
            listeners={**offered, **(listeners or {})},
            reporters_by_scheme=_by_scheme(reporters),
            backup=await stack.enter_async_context(_backup(settings, store_type.name, wanted=not alone)),
        )
        source_name = type(source).__name__ if source_type is None else source_type.name
        _say_what_is_open(plugins, policy_store=store_type.name, update_source=source_name)
        yield Agent(
            Pipeline(parts, settings),
            [one for one in services if not alone or one.registration.phase == "before_store"],
            plugins.http_routes_for(store_type.name),
            environ,
            store_type.name,
            parts.store.traits,
        )


def _say_what_is_open(plugins: Plugins, *, policy_store: str, update_source: str) -> None:
    loaded = ", ".join(plugin.name for plugin in plugins.installed if plugin.state == "loaded")
    log.info(
        "agent.opened", version=__version__, policy_store=policy_store, update_source=update_source, plugins=loaded
    )


async def _opened(stack: AsyncExitStack, environ: Mapping[str, str] | None, offer: PluginOffer[Any]) -> Any:  # noqa: ANN401 - the registration says what it opens
    try:
        return await stack.enter_async_context(offer.registration.open(offer.load_settings(environ)))
    except CabochonError:
        raise
    except Exception as err:
        msg = f"{offer.name} of plugin {offer} failed to open: {type(err).__name__}: {err}"
        raise PluginLoadError(msg, plugin=offer.plugin) from err


def _own_addresses(offers: Sequence[PluginOffer[Any]], environ: Mapping[str, str] | None) -> list[str]:
    """List where the engine and the agent itself answer."""
    return [
        url
        for offer in offers
        if offer.registration.addresses is not None
        for url in offer.registration.addresses(offer.load_settings(environ))
    ]


@asynccontextmanager
async def _backup(settings: CoreSettings, store: str, *, wanted: bool) -> AsyncGenerator[StoreBackup | None]:
    if not (wanted and settings.offline_mode_enabled):
        yield None
        return
    interval_s = settings.store_backup_interval.total_seconds()
    async with open_store_backup(settings.store_backup_path, interval_s=interval_s, store=store) as backup:
        yield backup


def _by_name(opened: Mapping[PluginOffer[FetcherType], Fetcher]) -> dict[str, Fetcher]:
    return {name.lower(): one for offer, one in opened.items() for name in (offer.name, *offer.registration.aliases)}


def _by_scheme(opened: Mapping[PluginOffer[Any], T]) -> dict[str, T]:
    return {scheme.lower(): one for offer, one in opened.items() for scheme in offer.registration.schemes}
