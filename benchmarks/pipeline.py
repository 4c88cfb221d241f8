"""How fast the pipeline is: updates through scheduler, committer and mock store, with the log at INFO.

    .venv/bin/python benchmarks/pipeline.py [--updates N] [--profile] [--only NAME]

Every line is one run in a process of its own: updates/s of wall time, CPU seconds, commits, memory. Log lines go
through the production configuration into a file on disk. The update source decodes each update from its JSON text, as
a real one would. docs/ and benchmarks/README.md say what the figures mean.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from cabochon import Connected, DataUpdateReceived, SourceEvent, UpdateSource
from cabochon.logs.setup import configure_logging
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle
from cabochon.settings.core import CoreSettings, LogSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_mock_store import MockEngine, MockPolicyStore
from cabochon_mock_store.listener import MockHealthListener

PATHS = 10_000
KIB_PER_MIB = 1_024


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the table; `updates` is what one run makes unless told otherwise."""

    about: str
    updates: int
    latency_s: float = 0.0
    serialize: bool = True
    log_level: str = "INFO"


SCENARIOS = {
    "json-log": Scenario("JSON log at INFO", 100_000),
    "text-log": Scenario("text log at INFO", 100_000, serialize=False),
    "no-log": Scenario("log at WARNING", 100_000, log_level="WARNING"),
    "slow-store": Scenario("store 50 ms slow per commit, JSON log at INFO", 50_000, latency_s=0.05),
}


class FloodSource(UpdateSource):
    """Gives `updates` inline PUTs at once, over `PATHS` paths, and notes memory on the way."""

    has_policies = False

    def __init__(self, updates: int, at_tenth: Callable[[], None]) -> None:
        self._updates = updates
        self._at_tenth = at_tenth

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Yield `Connected`, then every update."""
        decode = msgspec.json.Decoder(DataUpdate).decode
        yield Connected()
        for number in range(self._updates):
            if number % (self._updates // 10) == 0:
                self._at_tenth()
            yield DataUpdateReceived(decode(_frame(number)))

    async def data_sources(self) -> DataSourceConfig:
        """Return no base data."""
        return DataSourceConfig()

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Return no policies."""
        del base_hash, directories
        return None


def _frame(number: int) -> bytes:
    return (
        b'{"id":"update-%d","entries":[{"url":"","config":null,"topics":["policy_data"],"dst_path":"/bulk/k%d",'
        b'"save_method":"PUT","data":{"v":%d,"roles":["a","b"]}}],"reason":"","callback":{"callbacks":[]}}'
        % (number, number % PATHS, number)
    )


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / KIB_PER_MIB / KIB_PER_MIB


async def _flood(scenario: Scenario, updates: int) -> dict[str, object]:
    engine = MockEngine(latency_s=scenario.latency_s, history=0)
    memory: list[float] = []
    source = FloodSource(updates, lambda: memory.append(_resident_mib()))
    parts = PipelineParts(store=MockPolicyStore(engine), source=source, listeners={"mock-health": MockHealthListener()})
    pipeline = Pipeline(parts, CoreSettings())
    started, cpu = time.perf_counter(), time.process_time()
    seconds = cpu_seconds = 0.0
    async with anyio.create_task_group() as tasks:
        await tasks.start(pipeline.run)
        await pipeline.source_ended()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        pipeline.stop()
    held = engine.get("/bulk")
    last = {f"k{number % PATHS}": number for number in range(max(0, updates - PATHS), updates)}
    if {key: value["v"] for key, value in held.items()} != last:
        msg = "the store does not hold what was sent"
        raise SystemExit(msg)
    memory.append(_resident_mib())
    return {
        "updates_per_s": round(updates / seconds),
        "cpu_s": round(cpu_seconds, 2),
        "wall_s": round(seconds, 2),
        "commits": pipeline.metrics.snapshot()["commits"],
        "memory_mib": [round(one, 1) for one in memory],
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB, 1),
    }


def _run_here(name: str, updates: int, *, profile: bool) -> None:
    scenario = SCENARIOS[name]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log_file:
        settings = LogSettings.model_validate({"log_level": scenario.log_level, "log_serialize": scenario.serialize})
        configure_logging(settings, log_file)
        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        result = anyio.run(_flood, scenario, updates)
        profiler.disable()
        log_file.flush()
        result["log_mib"] = round(os.fstat(log_file.fileno()).st_size / KIB_PER_MIB / KIB_PER_MIB, 1)
    print(json.dumps(result))
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)


def _run_each(names: Sequence[str], updates: int | None) -> None:
    print(f"{'scenario':<48}{'updates/s':>10}{'wall s':>8}{'CPU s':>8}{'commits':>9}  memory MiB, start to end (peak)")
    for name in names:
        scenario = SCENARIOS[name]
        command = [sys.executable, __file__, "--here", name, "--updates", str(updates or scenario.updates)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        one = json.loads(done.stdout)
        memory = " ".join(f"{mib:.0f}" for mib in one["memory_mib"])
        print(
            f"{scenario.about:<48}{one['updates_per_s']:>10,}{one['wall_s']:>8}{one['cpu_s']:>8}{one['commits']:>9}"
            f"  {memory} ({one['peak_mib']:.0f})",
            flush=True,
        )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, help="updates per run (default: each scenario's own)")
    parser.add_argument("--only", choices=SCENARIOS, help="one scenario")
    parser.add_argument("--profile", action="store_true", help="profile one scenario (json-log unless --only)")
    parser.add_argument("--here", choices=SCENARIOS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here or chosen.profile:
        name = chosen.here or chosen.only or "json-log"
        _run_here(name, chosen.updates or SCENARIOS[name].updates, profile=chosen.profile)
    else:
        _run_each([chosen.only] if chosen.only else list(SCENARIOS), chosen.updates)


if __name__ == "__main__":
    main()
