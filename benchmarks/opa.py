"""How fast the agent is with a real OPA, beside what OPA itself takes in the same run.

    .venv/bin/python benchmarks/opa.py [--only NAME] [--updates N] [--slow] [--profile]

Every line is one run in a process of its own, with an OPA of its own that is started for it. The pipeline is the
production one, the healthcheck policy is on, and log lines go through the production configuration, as JSON at INFO,
into a file on disk. benchmarks/README.md says what the figures mean.
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
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from ends import Ends
from opa_policies import load_policies
from opa_raw import RawOpa, cpu_seconds, modules, patch_bodies, write_modules
from pipeline import PATHS, FloodSource

from cabochon import Connected, DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle
from cabochon.settings.core import CoreSettings, LogSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_opa.health.listener import health_listener_type
from cabochon_opa.health.settings import HealthSettings
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa, opa_binary

_DOCUMENTS, _DOCUMENT_BYTES = 1_000, 10_000


@asynccontextmanager
async def agent(
    opa: RealOpa, source: UpdateSource, ended: Callable[[], None] | None = None
) -> AsyncGenerator[Pipeline]:
    """The production pipeline into `opa`, with the healthcheck policy."""
    health = health_listener_type()
    async with (
        open_opa_store(OpaStoreSettings(policy_store_url=opa.url, exec_path=str(opa_binary()))) as store,
        health.open(HealthSettings(enabled=True)) as listener,
        anyio.create_task_group() as tasks,
    ):
        parts = PipelineParts(store=store, source=source, listeners={health.name: listener})
        pipeline = Pipeline(parts, CoreSettings())
        with pipeline.traces.sent_to(Ends(ended)) if ended is not None else nullcontext():
            await tasks.start(pipeline.run)
            yield pipeline
            pipeline.stop()


# --------------------------------------------------------------------------------------------------------- updates/s


@dataclass(slots=True)
class Lap:
    """What has happened up to a moment."""

    at: float
    agent_cpu: float
    opa_cpu: float
    commits: int
    updates: int


async def flood(loaded: int, updates: int) -> dict[str, Any]:
    """Flood an OPA that has `loaded` modules; the first `PATHS` updates make documents, the others replace them."""
    with tempfile.TemporaryDirectory() as directory:
        write_modules(modules(loaded), Path(directory))
        with RealOpa(opa_binary(), directory) as opa, RawOpa(opa.url) as raw:
            return await _flood(opa, raw, updates)


async def _flood(opa: RealOpa, raw: RawOpa, updates: int) -> dict[str, Any]:
    laps: list[Lap] = []
    pipeline: Pipeline | None = None
    ended = 0

    def lap() -> None:
        commits = int(pipeline.metrics.snapshot()["commits"]) if pipeline is not None else 0
        laps.append(Lap(time.perf_counter(), time.process_time(), cpu_seconds(opa.pid), commits, ended))

    def one_ended() -> None:
        nonlocal ended
        ended += 1
        # From the first commit on: before it the agent writes the healthcheck policy, and OPA compiles.
        if ended in {1, PATHS, updates}:
            lap()

    async with agent(opa, FloodSource(updates, lambda: None), one_ended) as running:
        pipeline = running
        await pipeline.source_ended()
    _check(raw, updates)
    new, known = (_between(before, after) for before, after in pairwise(laps))
    batch = round(known["batch"])
    bodies = patch_bodies(_documents(updates), batch)
    raw.patches_per_s(bodies[: len(bodies) // 4])
    raw_per_s = raw.patches_per_s(bodies) * batch
    return {"new": new, "known": known, "raw_per_s": round(raw_per_s)}


def _documents(updates: int) -> list[tuple[str, bytes]]:
    return [(f"/bulk/k{n % PATHS}", b'{"v":%d,"roles":["a","b"]}' % n) for n in range(updates)]


def _between(before: Lap, after: Lap) -> dict[str, float]:
    updates, commits = after.updates - before.updates, after.commits - before.commits
    return {
        "per_s": round(updates / (after.at - before.at)),
        "wall_s": round(after.at - before.at, 2),
        "agent_cpu_s": round(after.agent_cpu - before.agent_cpu, 2),
        "opa_cpu_s": round(after.opa_cpu - before.opa_cpu, 2),
        "commits": commits,
        "batch": round(updates / max(1, commits), 1),
    }


def _check(raw: RawOpa, updates: int) -> None:
    held = {key: value["v"] for key, value in raw.get("bulk").items()}
    if held != {f"k{number % PATHS}": number for number in range(max(0, updates - PATHS), updates)}:
        raise SystemExit("OPA does not hold what was sent")
    if raw.get("system/opal/healthy") is not True:
        raise SystemExit("OPA is not healthy")


def print_flood(loaded: int, updates: int) -> None:
    one = _in_process("flood", str(loaded), updates)
    for phase in ("new", "known"):
        made = one[phase]
        share = f"{100 * made['per_s'] / one['raw_per_s']:.0f} %"
        spent = f"{made['wall_s']:>8}{made['agent_cpu_s']:>9}{made['opa_cpu_s']:>8}{made['commits']:>9}"
        beside = f"{made['batch']:>7.0f}{one['raw_per_s']:>11,}{share:>7}{one['load']:>7}"
        print(f"{loaded:>7,} {phase:<6}{made['per_s']:>10,}{spent}{beside}", flush=True)


FLOOD_HEAD = (
    f"{'modules':>7} {'paths':<6}{'updates/s':>10}{'wall s':>8}{'agent s':>9}{'OPA s':>8}{'commits':>9}{'batch':>7}"
    f"{'raw ops/s':>11}{'share':>7}{'load':>7}"
)


# ----------------------------------------------------------------------------------------------------------- latency


class HandFed(UpdateSource):
    """Gives the updates that it is handed."""

    has_policies = False

    def __init__(self) -> None:
        self.send, self._receive = anyio.create_memory_object_stream[DataUpdate](10_000)

    async def events(self) -> AsyncIterator[SourceEvent]:
        yield Connected()
        async for update in self._receive:
            yield DataUpdateReceived(update)

    async def data_sources(self) -> DataSourceConfig:
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        del base_hash, directories
        return None


def _put(number: int, path: str, value: object) -> DataUpdate:
    entry = {"url": "", "dst_path": path, "save_method": "PUT", "data": value}
    return msgspec.json.decode(msgspec.json.encode({"id": f"update-{number}", "entries": [entry]}), type=DataUpdate)


async def latency(updates: int) -> dict[str, Any]:
    """One update at a time into an idle agent: from handing it over until OPA has answered that it is in force."""
    source = HandFed()
    waiting: anyio.Event | None = None

    def one_ended() -> None:
        if waiting is not None:
            waiting.set()

    took: list[float] = []
    with RealOpa(opa_binary()) as opa, RawOpa(opa.url) as raw:
        async with agent(opa, source, one_ended):
            for number in range(updates):
                waiting = anyio.Event()
                started = time.perf_counter()
                source.send.send_nowait(_put(number, f"/bulk/k{number % 100}", {"v": number}))
                await waiting.wait()
                took.append(time.perf_counter() - started)
                if raw.get(f"bulk/k{number % 100}/v") != number:
                    raise SystemExit("OPA does not show what was reported as saved")
                await anyio.sleep(0.005)
        plain = [1 / raw.patches_per_s(patch_bodies([("/bulk/raw", b'{"v":%d}' % n)], 1)) for n in range(updates)]
    # The first hundred make the documents and warm both sides up.
    return {"agent": _spread(took[100:]), "raw": _spread(plain[100:])}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median_ms": round(1_000 * median(seconds), 2),
        "p99_ms": round(1_000 * quantiles(seconds, n=100)[98], 2),
    }


# ---------------------------------------------------------------------------------------------------------- recovery


async def recovery() -> dict[str, Any]:
    """Kill an OPA that holds 10 MB and start it again at once, empty: seconds until it says that it is ready."""
    documents = {f"d{number}": {"v": number, "text": "x" * _DOCUMENT_BYTES} for number in range(_DOCUMENTS)}
    source = HandFed()
    with RealOpa(opa_binary()) as opa:
        async with agent(opa, source) as pipeline:
            for number, (name, value) in enumerate(documents.items()):
                source.send.send_nowait(_put(number, f"/big/{name}", value))
            source.send.close()
            await pipeline.source_ended()
            with RawOpa(opa.url) as raw:
                _check_documents(raw, documents)
            took = [await _killed(opa, documents) for _ in range(3)]
    up_s, put_s = await anyio.to_thread.run_sync(_raw_restore, documents)
    best = min(took, key=lambda one: one["seconds"])
    return {**best, "all_s": [one["seconds"] for one in took], "raw_start_s": up_s, "raw_put_s": put_s}


async def _killed(opa: RealOpa, documents: dict[str, Any]) -> dict[str, float]:
    started = time.perf_counter()
    await anyio.to_thread.run_sync(lambda: opa.restart(wait=False))
    up_s = ready_s = 0.0
    while not ready_s:
        await anyio.sleep(0.005)
        up, ready = await anyio.to_thread.run_sync(_is_ready, opa)
        if up and not up_s:
            up_s = time.perf_counter() - started
        if ready:
            ready_s = time.perf_counter() - started
    with RawOpa(opa.url) as raw:
        _check_documents(raw, documents)
    return {"seconds": round(ready_s, 3), "up_s": round(up_s, 3)}


def _is_ready(opa: RealOpa) -> tuple[bool, bool]:
    try:
        with RawOpa(opa.url) as raw:
            return True, raw.get("system/opal/ready") is True
    except OSError:
        return False, False


def _check_documents(raw: RawOpa, documents: dict[str, Any]) -> None:
    if raw.get("big") != documents:
        raise SystemExit("OPA does not hold what was sent")


def _raw_restore(documents: dict[str, Any]) -> tuple[float, float]:
    body = json.dumps(documents).encode()
    started = time.perf_counter()
    with RealOpa(opa_binary()) as opa, RawOpa(opa.url) as raw:
        up = time.perf_counter()
        raw.write("PUT", "/v1/data/big", body)
        return round(up - started, 3), round(time.perf_counter() - up, 3)


# ------------------------------------------------------------------------------------------------------ command line


def _in_process(name: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, "--here", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return {**json.loads(done.stdout), "load": round(os.getloadavg()[0], 1)}


def _run_here(name: str, arguments: Sequence[str], *, profile: bool) -> None:
    runs: dict[str, Callable[..., Any]] = {
        "flood": flood,
        "policies": load_policies,
        "latency": latency,
        "recovery": recovery,
    }
    given = [int(argument) if argument.isdecimal() else argument for argument in arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log_file:
        configure_logging(LogSettings.model_validate({"log_level": "INFO", "log_serialize": True}), log_file)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        result = anyio.run(runs[name], *given)
        profiler.disable()
    print(json.dumps(result))
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


def print_policies(*, slow: bool) -> None:
    print(f"\n{'policies':<9}{'by':<8}{'load s':>9}{'raw s':>9}{'one changed s':>15}{'load':>7}")
    for delivery, count in (("rest", 300), ("bundle", 300), ("bundle", 1_500), ("rest", 1_500)):
        if (delivery, count) != ("rest", 1_500) or slow:
            one = _in_process("policies", delivery, count)
            print(
                f"{count:<9,}{delivery:<8}{one['seconds']:>9}{one['raw_s']:>9}{one['changed_s']:>15}{one['load']:>7}",
                flush=True,
            )


def print_latency() -> None:
    one = _in_process("latency", 1_000)
    print(f"\n{'one update, published to in force':<36}{'median ms':>10}{'p99 ms':>9}{'load':>7}")
    for who in ("agent", "raw"):
        print(f"{who:<36}{one[who]['median_ms']:>10}{one[who]['p99_ms']:>9}{one['load']:>7}")


def print_recovery() -> None:
    one = _in_process("recovery")
    print("\nOPA killed with 10 MB in it and started again at once, empty; the best of three")
    print(
        f"  ready with everything    {one['seconds']} s after the kill (all three: {one['all_s']}), load {one['load']}"
    )
    print(f"  OPA answers again        {one['up_s']} s after the kill")
    print(f"  raw                      {one['raw_start_s']} s to start + {one['raw_put_s']} s for one PUT of 10 MB")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("flood", "policies", "latency", "recovery"), help="one part")
    parser.add_argument("--updates", type=int, default=60_000, help="updates of each flood, more than 10,000")
    parser.add_argument("--slow", action="store_true", help="1,500 policies by REST too, which takes many minutes")
    parser.add_argument("--profile", action="store_true", help="profile one flood instead")
    parser.add_argument("--here", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here or chosen.profile:
        name, *arguments = chosen.here or ("flood", "1", str(chosen.updates))
        _run_here(name, arguments, profile=chosen.profile)
        return
    if chosen.only in {None, "flood"}:
        print(FLOOD_HEAD)
        for loaded in (1, 300, 1_500):
            print_flood(loaded, chosen.updates)
    if chosen.only in {None, "policies"}:
        print_policies(slow=chosen.slow)
    if chosen.only in {None, "latency"}:
        print_latency()
    if chosen.only in {None, "recovery"}:
        print_recovery()


if __name__ == "__main__":
    main()
