"""The whole plugin contract: nine hooks, each asking "what do you offer?".

A plugin is an ordinary distribution with an entry point in the group `cabochon`. Two files make one; `pip install .`
in their folder, and the next `cabochon plugins` lists it.

`pyproject.toml`:

    [project]
    name = "cabochon-file-fetcher"
    version = "0.1.0"
    dependencies = ["cabochon"]

    [project.entry-points.cabochon]
    file-fetcher = "cabochon_file_fetcher"

    [build-system]
    requires = ["hatchling"]
    build-backend = "hatchling.build"

`cabochon_file_fetcher.py`:

    from contextlib import asynccontextmanager
    from urllib.parse import urlsplit

    import anyio

    from cabochon import Fetcher, FetcherType, FetchError, hookimpl


    class FileFetcher(Fetcher):  # for URLs such as file:///etc/acl.json
        async def fetch(self, url, config):
            try:
                return await anyio.Path(urlsplit(url).path).read_bytes()
            except OSError as err:
                raise FetchError(f"{url}: {err.strerror}", url=url) from err


    @asynccontextmanager
    async def open_fetcher(settings):
        yield FileFetcher()


    @hookimpl
    def cabochon_fetchers():
        yield FetcherType(name="file", summary="Documents from local files", open=open_fetcher, schemes=("file",))

How it goes, the same for every hook:

1. At start-up each entry point is imported and its hooks are called, once each, one plugin after the other, before any
   plugin's settings are read. Hooks are plain functions without arguments that return at once: describe what there is,
   open nothing, import nothing heavy. `async def` is refused.
2. What comes back is checked: an iterable (a list, or a generator) of the hook's registration type. Names are unique
   among all installed plugins, compared without case; two plugins that claim one name stop the start
   (`PluginConflictError`). Load order never picks a winner.
3. The operator's settings choose by name. Only what is chosen is opened: its settings model is read from the
   environment and handed to the registration's `open`, whose async context manager yields the working object and
   closes it when the agent stops.

A plugin that can't be imported, misspells a hook, raises, or returns something else counts as failed as a whole: one
warning names it and the cause, `cabochon plugins` shows both, and everything else goes on. Only when a setting asks for
something that is not there does the start fail (`PluginLoadError`).

Settings are a frozen model whose fields carry whole variable names; `cabochon config` lists them with their meaning:

    from pydantic import Field, SecretStr

    from cabochon import Settings


    class AcmeSettings(Settings):
        acme_token: SecretStr = Field(
            default=SecretStr(""), validation_alias="OPAL_ACME_TOKEN", description="Token for the Acme engine."
        )
"""

# size: nine hooks with all that a plugin author has to know of each, and an example that a test runs

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pluggy

from cabochon.contract.backbone import BackboneType
from cabochon.contract.callback_reporter import CallbackReporterType
from cabochon.contract.command import CommandType
from cabochon.contract.fetcher import FetcherType
from cabochon.contract.http_routes import HttpRoutesType
from cabochon.contract.policy_store import PolicyStoreType
from cabochon.contract.service import ServiceType
from cabochon.contract.transaction_listener import TransactionListenerType
from cabochon.contract.update_source import UpdateSourceType

__all__ = [
    "PROJECT",
    "cabochon_backbones",
    "cabochon_callback_reporters",
    "cabochon_commands",
    "cabochon_fetchers",
    "cabochon_http_routes",
    "cabochon_policy_stores",
    "cabochon_services",
    "cabochon_transaction_listeners",
    "cabochon_update_sources",
    "hookimpl",
    "hookspec",
]

PROJECT: Final = "cabochon"
"""The name of the entry-point group and of the markers."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def cabochon_policy_stores() -> Iterable[PolicyStoreType]:
    """Offer the policy engines that this plugin can drive.

    Called once at start-up, before any settings are read. Every answer counts; the agent opens exactly one of all that
    are offered: the one that `OPAL_POLICY_STORE_TYPE` names, else the one that is `usual`, else the only one that is
    not `for_tests`.

    Returns:
        Zero or more registrations. `open` yields a `PolicyStore`: `commit` and `health`, and whatever more it supports
        (`SupportsJsonPatch`, `SupportsReadBack`, ...). It must not wait for the engine: the agent starts before it.

    Errors:
        Whatever this raises marks the plugin as failed; asking for its stores by name then stops the start
        (`PluginLoadError`). A second plugin with the same `name` stops every start (`PluginConflictError`).

    Example:
        An engine that keeps documents in a dictionary and knows no policies:

            from contextlib import asynccontextmanager

            from cabochon import (
                CommitResult, DeleteData, PolicyStore, PolicyStoreType, SetData, StoreTraits,
                UnsupportedOperationError, hookimpl,
            )


            class NotebookStore(PolicyStore):
                traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")

                def __init__(self):
                    self.pages = {}

                async def commit(self, changes):
                    pages = dict(self.pages)
                    for change in changes.flat():
                        match change:
                            case SetData(path, value):
                                pages[path] = value
                            case DeleteData(path):
                                pages.pop(path, None)
                            case _:
                                error = UnsupportedOperationError(f"a notebook can't do {type(change).__name__}")
                                return CommitResult.refused(changes, error)
                    self.pages = pages
                    return CommitResult.applied(changes)

                async def health(self):
                    pass


            @asynccontextmanager
            async def open_notebook(settings):
                yield NotebookStore()


            @hookimpl
            def cabochon_policy_stores():
                yield PolicyStoreType(name="NOTEBOOK", summary="A dictionary in memory", open=open_notebook)
    """
    return ()


@hookspec
def cabochon_fetchers() -> Iterable[FetcherType]:
    """Offer ways to fetch the documents that data updates name.

    Called once at start-up. Every answer counts, side by side: for each data source entry the fetcher whose name or
    alias is in `config.fetcher`, else the one that claims the scheme of the entry's URL.

    Returns:
        Zero or more registrations. `open` yields a `Fetcher`; it is opened once and `fetch` is called for many entries
        at the same time. Fetch once and raise `FetchError`: the core retries, with backoff, and keeps the deadline.

    Errors:
        Whatever this raises marks the plugin as failed; entries that need its fetchers then fail, each with the reason.
        A second claim of a name, an alias or a scheme stops every start (`PluginConflictError`).

    Example:
        URLs such as `env://ACL_JSON`:

            import os
            from contextlib import asynccontextmanager

            from cabochon import Fetcher, FetcherType, FetchError, hookimpl


            class EnvironmentFetcher(Fetcher):
                async def fetch(self, url, config):
                    name = url.removeprefix("env://")
                    if name not in os.environ:
                        raise FetchError(f"{url}: no such variable", url=url, again=False)
                    return os.environ[name].encode()


            @asynccontextmanager
            async def open_fetcher(settings):
                yield EnvironmentFetcher()


            @hookimpl
            def cabochon_fetchers():
                yield FetcherType(name="env", summary="Documents in variables", open=open_fetcher, schemes=("env",))
    """
    return ()


@hookspec
def cabochon_update_sources() -> Iterable[UpdateSourceType]:
    r"""Offer places where updates, base data sources and policies come from.

    Called once at start-up. Every answer counts; the agent opens exactly one of all that are offered: the one that
    `OPAL_UPDATE_SOURCE` names, else the one that is `usual`, else the only one that is not `for_tests`.

    Returns:
        Zero or more registrations. `open` yields an `UpdateSource`; it must not wait for a connection, `events` does.

    Errors:
        Whatever this raises marks the plugin as failed; asking for its sources by name then stops the start
        (`PluginLoadError`). A second plugin with the same `name` stops every start (`PluginConflictError`).

    Example:
        A source that says nothing but "here is one fixed policy":

            from contextlib import asynccontextmanager

            import anyio

            from cabochon import Connected, PolicyChanged, UpdateSource, UpdateSourceType, hookimpl
            from cabochon.schemas import DataSourceConfig, PolicyBundle, RegoModule

            DENY = RegoModule(path="deny.rego", package_name="app", rego="package app\n\ndefault allow = false\n")


            class FixedSource(UpdateSource):
                async def events(self):
                    yield Connected()
                    yield PolicyChanged()
                    await anyio.sleep_forever()

                async def data_sources(self):
                    return DataSourceConfig()

                async def policy_bundle(self, base_hash, directories):
                    return PolicyBundle(manifest=("deny.rego",), hash="1", data_modules=(), policy_modules=(DENY,))


            @asynccontextmanager
            async def open_source(settings):
                yield FixedSource()


            @hookimpl
            def cabochon_update_sources():
                yield UpdateSourceType(name="fixed", summary="One policy that denies", open=open_source)
    """
    return ()


@hookspec
def cabochon_transaction_listeners() -> Iterable[TransactionListenerType]:
    """Offer listeners: they write beside each commit, or hear of each transaction's end.

    Called once at start-up. Every answer counts: all listeners run whose `stores` is empty or names the chosen store.

    Returns:
        Zero or more registrations. `open` yields a `TransactionListener`. Its `committing` is synchronous and pure and
        returns changes for the same commit, inside `owned_paths` and `owned_policies` only; its `ended` runs after it.

    Errors:
        Whatever this raises marks the plugin as failed, and its listeners do not run. A second plugin with the same
        `name` stops every start (`PluginConflictError`).

    Example:
        A line on the terminal for each transaction:

            from contextlib import asynccontextmanager

            from cabochon import TransactionListener, TransactionListenerType, hookimpl


            class Diary(TransactionListener):
                async def ended(self, record, log):
                    print(record)


            @asynccontextmanager
            async def open_diary(settings):
                yield Diary()


            @hookimpl
            def cabochon_transaction_listeners():
                yield TransactionListenerType(name="diary", summary="Print each transaction", open=open_diary)
    """
    return ()


@hookspec
def cabochon_callback_reporters() -> Iterable[CallbackReporterType]:
    r"""Offer ways to deliver the report of a data update to those who want it.

    Called once at start-up. Every answer counts, side by side: a callback is delivered by the reporter that claims the
    scheme of its URL.

    Returns:
        Zero or more registrations. `open` yields a `CallbackReporter`; it is opened once and `report` is called for
        many deliveries at the same time. Deliver once and raise `ReportError`: the core retries and keeps the deadline.

    Errors:
        Whatever this raises marks the plugin as failed; reports for its schemes are then dropped, logged and counted.
        A second claim of a name or a scheme stops every start (`PluginConflictError`).

    Example:
        Callbacks such as `spool:///var/spool/reports`:

            from contextlib import asynccontextmanager
            from urllib.parse import urlsplit

            import anyio

            from cabochon import CallbackReporter, CallbackReporterType, ReportError, hookimpl


            class SpoolReporter(CallbackReporter):
                async def report(self, report, callback):
                    try:
                        async with await anyio.open_file(urlsplit(callback.url).path, "ab") as spool:
                            await spool.write(report + b"\n")
                    except OSError as err:
                        raise ReportError(f"{callback.url}: {err.strerror}") from err


            @asynccontextmanager
            async def open_reporter(settings):
                yield SpoolReporter()


            @hookimpl
            def cabochon_callback_reporters():
                yield CallbackReporterType(
                    name="spool", summary="Append reports to a file", open=open_reporter, schemes=("spool",)
                )
    """
    return ()


@hookspec
def cabochon_services() -> Iterable[ServiceType]:
    """Offer long-running parts of the agent.

    Called once at start-up. Every answer counts: all services run whose `stores` is empty or names the policy store in
    use. Those with `phase="before_store"` are entered before the policy store is used and left after it, those with
    `"after_store"` live inside the running sync.

    Returns:
        Zero or more registrations. `open` takes the settings and the `AgentContext` and returns an async context
        manager: entering starts the service, leaving stops it, each under a deadline.

    Errors:
        Whatever this raises marks the plugin as failed, and its services do not run. A second plugin with the same
        `name` stops every start (`PluginConflictError`). A `ConfigurationError` that a service raises while it starts
        stops the agent, which says it in one line; any other error of a service is logged and counted, and the agent
        goes on without it.

    Example:
        Ask for all policies again every hour:

            from contextlib import asynccontextmanager

            import anyio

            from cabochon import ServiceType, hookimpl


            async def refresh_hourly(agent):
                while True:
                    await anyio.sleep(3600)
                    await agent.refresh_policies()


            @asynccontextmanager
            async def open_refresher(settings, agent):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(refresh_hourly, agent)
                    yield
                    tasks.cancel_scope.cancel()


            @hookimpl
            def cabochon_services():
                yield ServiceType(name="refresher", summary="Refresh policies hourly", open=open_refresher)
    """
    return ()


@hookspec
def cabochon_http_routes() -> Iterable[HttpRoutesType]:
    """Offer routes on the agent's one HTTP face.

    Called once at start-up. Every answer counts: whichever plugin serves HTTP mounts all of them whose `stores` is
    empty or names the policy store in use, each below its `mount_path`.

    Returns:
        Zero or more registrations. `app` takes the settings and the `AgentContext` and returns an ASGI application.

    Errors:
        Whatever this raises marks the plugin as failed, and its routes are not mounted. A second claim of a name or a
        mount path stops every start (`PluginConflictError`).

    Example:
        `GET /counters` answers with the agent's counters as JSON:

            import json

            from cabochon import HttpRoutesType, hookimpl


            def counters(settings, agent):
                async def app(scope, receive, send):
                    body = json.dumps(agent.metrics.snapshot()).encode()
                    headers = [(b"content-type", b"application/json")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    await send({"type": "http.response.body", "body": body})

                return app


            @hookimpl
            def cabochon_http_routes():
                yield HttpRoutesType(
                    name="counters", summary="Counters as JSON", mount_path="/counters", app=counters
                )
    """
    return ()


@hookspec
def cabochon_commands() -> Iterable[CommandType]:
    """Offer commands for the `cabochon` command line.

    Called once each time `cabochon` runs a command that is not its own, or prints its help. Every answer counts.

    Returns:
        Zero or more registrations. `load` returns a click command, and is called only when that command is used: import
        what it needs in there.

    Errors:
        Whatever this raises marks the plugin as failed: its commands are missing, the others work. What `load` raises
        ends that one command, with a line that names the plugin. A second plugin with the same `name` stops every
        start (`PluginConflictError`).

    Example:
        `cabochon hello`:

            from cabochon import CommandType, hookimpl


            def load_hello():
                import click

                @click.command()
                def hello():
                    click.echo("Hello!")

                return hello


            @hookimpl
            def cabochon_commands():
                yield CommandType(name="hello", summary="Say hello", load=load_hello)
    """
    return ()


@hookspec
def cabochon_backbones() -> Iterable[BackboneType]:
    """Offer backbones: where servers keep the log of what was published, and meet each other.

    Called once at start-up. Every answer counts: a server opens the one that claims the scheme of
    `OPAL_BROADCAST_URI`.

    Returns:
        Zero or more registrations. `open` takes the settings and the URL, and yields a `Backbone`.

    Errors:
        Whatever this raises marks the plugin as failed; a server whose URL has one of its schemes then does not start
        (`PluginLoadError`). A second claim of a name or a scheme stops every start (`PluginConflictError`).

    Example:
        A log in memory, gone with its one server; `MemoryLog` is in `examples/plugin_memory_backbone`:

            from contextlib import asynccontextmanager

            from cabochon import BackboneType, hookimpl
            from cabochon_memory_backbone import MemoryLog


            @asynccontextmanager
            async def open_memory(settings, url):
                yield MemoryLog()


            @hookimpl
            def cabochon_backbones():
                yield BackboneType(name="memory", summary="In memory", open=open_memory, schemes=("memory",))
    """
    return ()
