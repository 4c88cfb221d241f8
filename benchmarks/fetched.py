"""How many updates a second the agent fetches from URLs and writes, into the mock store and into a real OPA.

    .venv/bin/python benchmarks/fetched.py [--only NAME] [--updates N] [--profile]

Every line is one run in a process of its own: the production pipeline, the healthcheck on, the log as JSON at INFO into
a file, the fetcher `http`, and a web server in another process. benchmarks/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from ends import Ends
from opa_raw import RawOpa, cpu_seconds, modules, write_modules
from web_source import web_source

from cabochon import Connected, DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle
from cabochon.settings.core import CoreSettings, LogSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_http_fetcher.plugin import open_http_fetcher
from cabochon_http_fetcher.settings import HttpFetcherSettings
from cabochon_mock_store import MockEngine, MockPolicyStore
from cabochon_mock_store.listener import MockHealthListener
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa, opa_binary

PATHS = 2_000
WARM_UP = 500
UNDER_WAY = 1_000
RUNS = {"mock": -1, "opa-1": 1, "opa-300": 300}
"""What each run writes into: the mock store, or an OPA with so many modules."""


class FetchedSource(UpdateSource):
    """Gives updates without data: each has one entry with a URL of its own, to one of `PATHS` paths.

    No more than `UNDER_WAY` at the same time, since each has to be fetched within 10 s of its arrival.
    """

    has_policies = False

    def __init__(self, documents: str, updates: int) -> None:
        self._documents = documents
        self._updates = updates
        self.room = anyio.Semaphore(UNDER_WAY)

    async def events(self) -> AsyncIterator[SourceEvent]:
        decode = msgspec.json.Decoder(DataUpdate).decode
        yield Connected()
        for number in range(self._updates):
            await self.room.acquire()
            yield DataUpdateReceived(decode(self._frame(number)))

    def _frame(self, number: int) -> bytes:
        return (
            b'{"id":"update-%d","entries":[{"url":"%b%d","config":null,"topics":["policy_data"],'
            b'"dst_path":"/bulk/k%d","save_method":"PUT"}],"reason":"","callback":{"callbacks":[]}}'
            % (number, self._documents.encode(), number, number % PATHS)
        )

    async def data_sources(self) -> DataSourceConfig:
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del base_hash, directories
        return None


@asynccontextmanager
async def engine(loaded: int) -> AsyncGenerator[tuple[dict[str, Any], Callable[[], float], Callable[[], int]]]:
    """An engine's parts of the pipeline, its processor time so far, and how many documents it holds."""
    async with AsyncExitStack() as stack:
        if loaded < 0:
            mock = MockEngine(history=0)
            listeners = {"mock-health": MockHealthListener()}
            yield {"store": MockPolicyStore(mock), "listeners": listeners}, lambda: 0.0, lambda: len(mock.get("/bulk"))
            return
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        write_modules(modules(loaded), Path(directory))
        opa = stack.enter_context(RealOpa(opa_binary(), directory))
        health = health_listener_type()
        settings = OpaStoreSettings(policy_store_url=opa.url, exec_path=str(opa_binary()))
        store = await stack.enter_async_context(open_opa_store(settings))
        listener = await stack.enter_async_context(health.open(HealthSettings(enabled=True)))
        parts = {"store": store, "listeners": {health.name: listener}}
        raw = stack.enter_context(RawOpa(opa.url))
        yield parts, lambda: cpu_seconds(opa.pid), lambda: len(raw.get("bulk"))


async def fetched(loaded: int, updates: int) -> dict[str, Any]:
    """Run one: from the end of the warm-up until the last update has ended."""
    times: list[tuple[float, float, float, float, int]] = []
    ended = 0
    pipeline: Pipeline

    def lap() -> None:
        commits = int(pipeline.metrics.snapshot()["commits"])
        times.append((time.perf_counter(), time.process_time(), engine_cpu(), cpu_seconds(web_pid), commits))

    def one_ended() -> None:
        nonlocal ended
        ended += 1
        source.room.release()
        if ended in {WARM_UP, WARM_UP + updates}:
            lap()

    with web_source() as (documents, web_pid):
        async with engine(loaded) as (parts, engine_cpu, held), open_http_fetcher(HttpFetcherSettings()) as fetcher:
            source = FetchedSource(documents, WARM_UP + updates)
            pipeline = Pipeline(
                PipelineParts(source=source, fetchers_by_scheme={"http": fetcher}, **parts),
                CoreSettings(),
            )
            with pipeline.traces.sent_to(Ends(one_ended)):
                async with anyio.create_task_group() as tasks:
                    await tasks.start(pipeline.run)
                    await pipeline.source_ended()
                    pipeline.stop()
            if held() != PATHS:
                raise SystemExit("the engine does not hold what was fetched")
    wall, agent, opa, web, commits = (after - before for before, after in zip(*times, strict=True))
    return {
        "per_s": round(updates / wall),
        "agent_us": round(1e6 * agent / updates),
        "opa_us": round(1e6 * opa / updates),
        "web_us": round(1e6 * web / updates),
        "batch": round(updates / commits, 1),
    }


def _run_here(loaded: int, updates: int, *, profile: bool) -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log_file:
        configure_logging(LogSettings.model_validate({"log_level": "INFO", "log_serialize": True}), log_file)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        result = anyio.run(fetched, loaded, updates)
        profiler.disable()
    print(json.dumps(result))
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=RUNS, help="one engine")
    parser.add_argument("--updates", type=int, default=8_000, help="updates of each run, after the warm-up")
    parser.add_argument("--profile", action="store_true", help="profile one run (mock unless --only)")
    parser.add_argument("--here", choices=RUNS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here or chosen.profile:
        _run_here(RUNS[chosen.here or chosen.only or "mock"], chosen.updates, profile=chosen.profile)
        return
    print(f"{'into':<8}{'updates/s':>10}{'agent us':>10}{'OPA us':>8}{'web us':>8}{'batch':>7}{'load':>6}")
    for name in [chosen.only] if chosen.only else RUNS:
        command = [sys.executable, __file__, "--here", name, "--updates", str(chosen.updates)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        one = json.loads(done.stdout)
        print(
            f"{name:<8}{one['per_s']:>10,}{one['agent_us']:>10}{one['opa_us']:>8}{one['web_us']:>8}{one['batch']:>7}"
            f"{os.getloadavg()[0]:>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
