"""How fast the agent is with a real OpenFGA, beside what OpenFGA's own write API takes in the same run.

    .venv/bin/python benchmarks/openfga.py [--tuples N] [--memory]

Every line has an OpenFGA of its own, with SQLite unless `--memory` says otherwise. The pipeline is the production one,
and log lines go through the production configuration, as JSON at INFO, into a file. The raw figure is what one client
gets from `POST /stores/<id>/write` with calls of the same size as the agent made on average, one after the other, in a
store of its own that then holds the same tuples; the two take turns. benchmarks/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
from ends import Ends

from cabochon import Connected, DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle, RegoModule
from cabochon.settings.core import CoreSettings, LogSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_openfga.api import OpenFgaApi
from cabochon_openfga.open_store import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.testing import ENGINE, RealOpenFga
from cabochon_openfga.tuples import WireTuple

MODEL = "model\n  schema 1.1\n\ntype user\n\ntype document\n  relations\n    define viewer: [user]\n"
_RAW_STORE = "raw"
_STORE = "cabochon"
_TURNS = 4
_WARM = 20_000
"""Tuples of the PUT before the large one: large documents are read in a process of their own, which has to start."""


def row(number: int) -> dict[str, str]:
    """Tuple `number`."""
    return {
        "user": f"user:u{number % 1_000}",
        "relation": "viewer",
        "object": f"document:d{number // 10}x{number % 10}",
    }


def update(number: int, path: str, rows: Sequence[dict[str, str]]) -> DataUpdate:
    """An update as a source would have decoded it."""
    entry = {"url": "", "dst_path": path, "data": rows}
    return msgspec.json.decode(msgspec.json.encode({"id": f"u{number}", "entries": [entry]}), type=DataUpdate)


class Script(UpdateSource):
    """Gives the model, and the updates when it is told to."""

    has_policies = True

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[DataUpdate](100_000)

    def give(self, *updates: DataUpdate) -> None:
        """Give these now."""
        for one in updates:
            self._send.send_nowait(one)

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Yield what is given."""
        yield Connected()
        async for one in self._receive:
            yield DataUpdateReceived(one)

    async def data_sources(self) -> DataSourceConfig:
        """Return no base data."""
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Return the model."""
        del base_hash, directories
        module = RegoModule(path="model.fga", package_name="", rego=MODEL)
        return PolicyBundle(manifest=("model.fga",), hash="1", data_modules=(), policy_modules=(module,))


@dataclass(slots=True)
class Calls:
    """What the agent has asked of the write API."""

    calls: int = 0
    tuples: int = 0


@dataclass(slots=True)
class Run:
    """A running agent; `ended` counts updates."""

    pipeline: Pipeline
    source: Script
    calls: Calls
    ended: int = 0
    wanted: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def given(self, updates: int) -> int:
        """Count updates that were given; return how many have to end in all."""
        self.wanted += updates
        return self.wanted

    async def until(self, ended: int) -> None:
        """Wait until so many updates have ended."""
        while self.ended < ended:
            self.changed = anyio.Event()
            await self.changed.wait()


@asynccontextmanager
async def agent(openfga: RealOpenFga) -> AsyncGenerator[Run]:
    """The production pipeline into `openfga`, with the model in force."""
    calls, runs = Calls(), list[Run]()
    write = OpenFgaApi.write

    async def counted(
        self: OpenFgaApi, store_id: str, *, writes: Sequence[WireTuple], deletes: Sequence[WireTuple]
    ) -> None:
        calls.calls += 1
        calls.tuples += len(writes) + len(deletes)
        await write(self, store_id, writes=writes, deletes=deletes)

    def one_ended() -> None:
        runs[0].ended += 1
        runs[0].changed.set()

    OpenFgaApi.write = counted
    try:
        async with (
            open_openfga_store(OpenFgaStoreSettings(policy_store_url=openfga.url, store_name=_STORE)) as store,
            anyio.create_task_group() as tasks,
        ):
            source = Script()
            pipeline = Pipeline(PipelineParts(store=store, source=source), CoreSettings())
            run = Run(pipeline, source, calls)
            runs.append(run)
            with pipeline.traces.sent_to(Ends(one_ended)):
                await tasks.start(pipeline.run)
                with anyio.fail_after(30):
                    while not pipeline.log_now().healthy:  # noqa: ASYNC110 - it has no event for that
                        await anyio.sleep(0.01)
                run.ended = 0
                yield run
                pipeline.stop()
    finally:
        OpenFgaApi.write = write


class Raw:
    """The write API, asked by one client in its own words, without any of our code."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60)
        self._store = ""

    async def open(self, like: str) -> None:
        """Make a store with the model of another one."""
        made = await self._client.post("/stores", json={"name": _RAW_STORE})
        self._store = f"/stores/{made.json()['id']}"
        model = await self._model_of(like)
        (await self._client.post(f"{self._store}/authorization-models", json=model)).raise_for_status()

    async def write(self, first: int, tuples: int, size: int) -> float:
        """Write tuples from number `first` on in calls of `size`, with bodies that are ready; return the seconds."""
        bodies = [
            json.dumps(
                {
                    "writes": {
                        "tuple_keys": [row(number) for number in range(start, min(start + size, first + tuples))],
                        "on_duplicate": "ignore",
                    }
                }
            )
            for start in range(first, first + tuples, size)
        ]
        headers = {"content-type": "application/json"}
        began = time.perf_counter()
        for body in bodies:
            answer = await self._client.post(f"{self._store}/write", content=body, headers=headers)
            answer.raise_for_status()
        return time.perf_counter() - began

    async def count(self, store_name: str) -> int:
        """Count the tuples of a store."""
        stores = (await self._client.get("/stores")).json()["stores"]
        (store_id,) = [store["id"] for store in stores if store["name"] == store_name]
        found, after = 0, ""
        while True:
            body = {"page_size": 100, "continuation_token": after}
            page = (await self._client.post(f"/stores/{store_id}/read", json=body)).json()
            found, after = found + len(page["tuples"]), page["continuation_token"]
            if not after:
                return found

    async def _model_of(self, store_name: str) -> dict[str, Any]:
        """Read the model of a store."""
        stores = (await self._client.get("/stores")).json()["stores"]
        (store_id,) = [store["id"] for store in stores if store["name"] == store_name]
        (model,) = (await self._client.get(f"/stores/{store_id}/authorization-models")).json()["authorization_models"]
        return {"schema_version": model["schema_version"], "type_definitions": model["type_definitions"]}


async def opened_raw(openfga: RealOpenFga) -> Raw:
    """A raw client with a store of its own, which has the agent's model."""
    raw = Raw(openfga.url)
    await raw.open(_STORE)
    return raw


async def flow(openfga: RealOpenFga, tuples: int, each: int) -> dict[str, Any]:
    """Updates with `each` tuples at a path of their own, as fast as they are taken; agent and raw API take turns."""
    turn = tuples // _TURNS
    took = raw_took = cpu = 0.0
    async with agent(openfga) as run:
        raw = await opened_raw(openfga)
        for first in range(-turn, tuples, turn):
            # What is written in the first turn does not count: both begin warm.
            start = first + turn
            updates = [
                update(number, f"/bulk/k{number}", [row(number * each + one) for one in range(each)])
                for number in range(start // each, (start + turn) // each)
            ]
            before = Calls(run.calls.calls, run.calls.tuples)
            began, begun = time.perf_counter(), time.process_time()
            run.source.give(*updates)
            await run.until(run.given(len(updates)))
            agent_s, agent_cpu = time.perf_counter() - began, time.process_time() - begun
            size = max(1, round((run.calls.tuples - before.tuples) / (run.calls.calls - before.calls)))
            raw_s = await raw.write(start, turn, size)
            if first >= 0:
                took, raw_took, cpu = took + agent_s, raw_took + raw_s, cpu + agent_cpu
        if tuples + turn != await raw.count(_STORE):
            raise SystemExit("OpenFGA does not hold what was sent")
        size = run.calls.tuples / run.calls.calls
    return {
        "per_s": tuples / took,
        "raw_per_s": tuples / raw_took,
        "size": size,
        "calls": run.calls.calls,
        "cpu_s": cpu,
    }


async def large(openfga: RealOpenFga, tuples: int) -> list[dict[str, Any]]:
    """One PUT with all tuples, the same again, and one that changes ten of them; half of the raw writes before."""
    rows = [row(number) for number in range(tuples)]
    others = [*rows[:-10], *(row(tuples + number) for number in range(10))]
    lines: list[dict[str, Any]] = []
    async with agent(openfga) as run:
        raw = await opened_raw(openfga)
        run.source.give(update(0, "/warm", [row(2 * tuples + number) for number in range(_WARM)]))
        await run.until(run.given(1))
        await raw.write(2 * tuples, _WARM, 100)
        raw_took = await raw.write(0, tuples // 2, 100)
        for name, wanted in (("all new", rows), ("the same again", rows), ("10 tuples changed", others)):
            before = Calls(run.calls.calls, run.calls.tuples)
            sent = update(1 + len(lines), "/bulk", wanted)
            began = time.perf_counter()
            run.source.give(sent)
            await run.until(run.given(1))
            took = time.perf_counter() - began
            calls, named = run.calls.calls - before.calls, run.calls.tuples - before.tuples
            lines.append({"name": name, "s": took, "calls": calls, "tuples": named})
            if len(lines) == 1:
                raw_took += await raw.write(tuples // 2, tuples - tuples // 2, 100)
        lines[0]["raw_per_s"] = tuples / raw_took
        if tuples + _WARM != await raw.count(_STORE):
            raise SystemExit("OpenFGA does not hold what was sent")
    return lines


def _openfga(folder: str, *, memory: bool) -> RealOpenFga:
    return RealOpenFga(ENGINE.binary(), sqlite=None if memory else Path(folder) / "openfga.db")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the agent beside OpenFGA's own write API.")
    parser.add_argument("--tuples", type=int, default=60_000, help="tuples of a flow of updates")
    parser.add_argument("--large", type=int, default=100_000, help="tuples of the large PUT")
    parser.add_argument("--memory", action="store_true", help="OpenFGA keeps everything in memory")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="cabochon-bench-") as folder:
        configure_logging(LogSettings(log_serialize=True, log_to_file=False), (Path(folder) / "log").open("w"))
        for each in (1, 10):
            with tempfile.TemporaryDirectory() as own, _openfga(own, memory=given.memory) as openfga:
                found = anyio.run(flow, openfga, given.tuples, each)
            share = found["per_s"] / found["raw_per_s"]
            print(
                f"updates of {each:>2} tuples: {found['per_s']:>7,.0f} tuples/s, raw {found['raw_per_s']:>7,.0f},"
                f" {share:.0%}; {found['calls']} calls of {found['size']:.0f}; {found['cpu_s']:.1f} s of CPU"
            )
        with tempfile.TemporaryDirectory() as own, _openfga(own, memory=given.memory) as openfga:
            lines = anyio.run(large, openfga, given.large)
        for line in lines:
            raw, per_s = line.get("raw_per_s"), line["tuples"] / line["s"]
            beside = f", {per_s:,.0f}/s, raw {raw:,.0f}, {per_s / raw:.0%}" if raw else ""
            print(
                f"PUT of {given.large:,} tuples, {line['name']}: {line['s']:.2f} s, {line['calls']:,} calls,"
                f" {line['tuples']:,} tuples{beside}"
            )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
