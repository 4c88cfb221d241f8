"""Run the demo: an agent as in production, with the store of one's choice, and the story around it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import anyio

from cabochon import ConfigurationError, DocumentPath, PluginNotFoundError, Plugins, load_settings
from cabochon.agent.opening import open_agent
from cabochon.documents.json_values import JsonTree, decode
from cabochon.error_groups import bare_configuration_errors
from cabochon.errors import CabochonError
from cabochon.schemas import DataSourceConfig, DataSourceEntryWithPollingInterval
from cabochon.settings.core import CoreSettings
from cabochon.testing.in_process_source import InProcessSource
from cabochon_demo.board import Board, Lamps, Step
from cabochon_demo.company import COLLECTIONS, Company, read_company
from cabochon_demo.server import Server, open_server
from cabochon_demo.show import Show
from cabochon_demo.stage import Stage
from cabochon_demo.story import STORY
from cabochon_demo.stranger import DemoStore, open_stranger, what_is_missing
from cabochon_demo.watch import Watch

__all__ = ["Outcome", "UnsuitableStoreError", "run_demo"]

_BEAT_S = 0.4
_HEALTH = DocumentPath(("system", "opal"))


class UnsuitableStoreError(CabochonError):
    """The demo can't be shown with this policy store; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: the board, and the document of `system.opal` at the end."""

    board: Board
    document: dict[str, Any]


async def run_demo(
    plugins: Plugins,
    show_on: Callable[[Board], Show],
    *,
    store: str = "MOCK",
    environ: Mapping[str, str],
    fast: bool = False,
) -> Outcome:
    """Play the story from beginning to end.

    Args:
        plugins: what is installed.
        show_on: makes what shows the board.
        store: name of the policy store.
        environ: where the settings of plugins are read from.
        fast: no pauses.

    Raises:
        UnsuitableStoreError: it can't be shown with this store.
        ConfigurationError: a setting of a plugin is wrong.
    """
    company = read_company()
    board = Board([Step(title) for title, _ in STORY], store=store, records=company.records)
    with open_server(board) as server:
        *quick, slow = COLLECTIONS
        urls = {name: server.serve(f"/{name}", company.data[name]) for name in quick}
        urls[slow], released = server.serve_held(f"/{slow}", company.data[slow])
        own = _settings(store, server, fast=fast)
        with bare_configuration_errors():
            async with _stage(plugins, company, board, show_on(board), server, urls, own, environ) as stage:
                stage.release_base = released.set
                stage.beat_s = 0.0 if fast else _BEAT_S
                await _play(stage)
                return Outcome(board, await _health_document(stage))
    raise AssertionError("never reached: what the block suppresses, it raises as another error")


def _settings(store: str, server: Server, *, fast: bool) -> dict[str, str]:
    patience = {"wait_strategy": "fixed", "wait_time": 0.05, "max_wait": 0.05, "attempts": 2}
    settings = {
        "OPAL_POLICY_STORE_TYPE": store,
        "OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "true",
        "OPAL_DEFAULT_UPDATE_CALLBACKS": json.dumps({"callbacks": list(server.callbacks.values())}),
        "OPAL_DATA_UPDATER_CONN_RETRY": json.dumps(patience),
    }
    hurry = {"OPAL_PROBE_INTERVAL": "0.05", "OPAL_FETCH_RETRY_MAX_WAIT": "0.05"}
    return settings | hurry if fast else settings


@asynccontextmanager
async def _stage(
    plugins: Plugins,
    company: Company,
    board: Board,
    show: Show,
    server: Server,
    urls: Mapping[str, str],
    own: Mapping[str, str],
    environ: Mapping[str, str],
) -> AsyncGenerator[Stage]:
    """Open the store and the agent, and set the stage."""
    try:
        offered = plugins.choose_policy_store(board.store)
        sandbox = offered.registration.sandbox
        environ = {**environ, **(sandbox(environ) if sandbox else {}), **own}
    except (PluginNotFoundError, ConfigurationError) as err:
        raise UnsuitableStoreError(str(err)) from err
    settings = offered.load_settings(environ)
    entries = tuple(DataSourceEntryWithPollingInterval(url=url, dst_path=f"/{name}") for name, url in urls.items())
    source = InProcessSource(base_data=DataSourceConfig(entries=entries), bundle=company.bundle)
    watch = Watch(board, show)
    async with offered.registration.open(settings) as store:
        missing = what_is_missing(store)
        if missing:
            raise UnsuitableStoreError(f"no demo with the policy store {offered.name}: {missing}; try --store MOCK")
        readable = cast("DemoStore", store)
        async with (
            open_agent(
                plugins,
                load_settings(CoreSettings, own),
                environ=environ,
                store=store,
                source=source,
                listeners={"demo": watch},
                alone=True,
            ) as agent,
            anyio.create_task_group() as tasks,
        ):
            with show, agent.context.traces.sent_to(watch):
                await tasks.start(agent.run)
                yield Stage(
                    board=board,
                    show=show,
                    company=company,
                    server=server,
                    source=source,
                    store=readable,
                    as_stranger=partial(open_stranger, offered, settings, readable),
                    watch=watch,
                    log=agent.context.log,
                )
            agent.stop()


async def _play(stage: Stage) -> None:
    board = stage.board
    for step, (_, play) in zip(board.steps, STORY, strict=True):
        stage.step = step
        step.state = "running"
        stage.show.began(step)
        try:
            await play(stage)
        except (CabochonError, TimeoutError) as err:
            stage.keep("this step can be played to its end", held=False, measured=str(err))
        step.state = "done"
        board.light(Lamps.of(stage.log()))
        await stage.beat(0.5 + len(step.promises) / 2)
    board.finished = time.monotonic()
    board.now = ""
    stage.show.catch_up()


async def _health_document(stage: Stage) -> dict[str, Any]:
    """Return the health document as the engine holds it, or as the agent would write it."""
    raw = await stage.store.get_data(_HEALTH)
    held: JsonTree = decode(raw) if raw is not None else {}
    return held if "ready" in held else stage.log().as_document()
