"""The agent beside OPAL's own client: the same work, on the same machine, in one run.

    .venv/bin/python benchmarks/agent_vs_opal.py [--only ours|peer] [--modules N ...] [--updates N] [--json FILE]

Each line of the tables is one run of one client, with an OPA and a flooding source of its own. benchmarks/README.md
says what the columns mean. The exit code is 1 if the agent has lost an update or counted it wrongly.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from contestants import Contestant, Running, ours, peer, running
from flooding_source import BASE, PATHS, document, dst_path

_READY_WITHIN_S = 600.0
_STATE_WITHIN_S = 15.0
_STALLED_AFTER_S = 30.0
_SETTLE_S = 2.0
_PEER_UPDATES = {"inline": 1_000, "fetched": 250}
"""OPAL gives an update up ten seconds after it was queued, and fetches 39 a second with 300 modules."""
_APART_S = 0.03
_WARM_UP = 5

Line = dict[str, Any]


def say(line: str) -> None:
    """Tell how far it is, apart from the result."""
    print(line, file=sys.stderr, flush=True)


class Run:
    """One run: what it does to the client, step by step, and what it sees."""

    def __init__(self, client: Running, module_count: int) -> None:
        self._client = client
        self._modules = module_count
        self._found = 0
        self._published = 0
        self._expected: dict[str, Any] = {}

    # ------------------------------------------------------------------------------------------------------- start

    def start(self) -> Line:
        """Seconds from the start of the process: until all is in OPA, OPA says ready, the client says ready."""
        client = self._client
        loaded = client.until(self._loaded, _READY_WITHIN_S)
        if loaded is None:
            raise SystemExit(f"not loaded within {_READY_WITHIN_S:g} s:\n{client.last_lines()}")
        ready = client.until(lambda: client.opa.get("system/opal/ready") is True, _STATE_WITHIN_S)
        says_ready = client.until(client.says_ready, _STATE_WITHIN_S)
        moments = {"loaded_s": loaded, "ready_s": ready, "says_ready_s": says_ready}
        line: Line = {name: moment and round(moment - client.started, 2) for name, moment in moments.items()}
        line["cpu_s"], line["opa_cpu_s"] = (round(seconds, 2) for seconds in client.cpu_s())
        time.sleep(_SETTLE_S)
        return {**line, "idle_mib": round(client.resident_mib(), 1)}

    def _loaded(self) -> bool:
        # The modules in order: each is asked for until it is there, and never again.
        while self._found < self._modules and self._in_force(self._found):
            self._found += 1
        return self._found == self._modules and self._client.opa.get("base") == BASE

    def _in_force(self, number: int) -> bool:
        return self._client.opa.get(f"team{number}/app{number}/allow") is False

    # --------------------------------------------------------------------------------------------------- updates/s

    def flood(self, kind: str, updates: int) -> Line:
        """Publish so many updates at once, and wait until OPA holds every one of them."""
        client = self._client
        numbers = range(self._published, self._published + updates)
        self._published += updates
        self._expected |= {dst_path(number): document(number) for number in numbers}
        counted, cpu = self._counted(), client.cpu_s()
        sent = client.steer(f"/flood?first={numbers[0]}&updates={updates}&fetched={int(kind == 'fetched')}")
        there = self._until_all_there(numbers[-1])
        spent = [after - before for before, after in zip(cpu, client.cpu_s(), strict=True)]
        took = (there or time.monotonic()) - sent["began"]
        missing = 0 if there else len(self._missing())
        client.until(lambda: self._counted() - counted >= updates, _STATE_WITHIN_S)
        return {
            "updates": updates,
            "missing": missing,
            "counted": self._counted() - counted,
            "healthy": client.opa.get("system/opal/healthy"),
            "seconds": round(took, 2),
            "per_s": round((updates - missing) / took),
            "sent_s": round(sent["seconds"], 2),
            "cpu_s": round(spent[0], 2),
            "opa_cpu_s": round(spent[1], 2),
            "mib": round(client.resident_mib(), 1),
        }

    def _until_all_there(self, last: int) -> float | None:
        """When OPA held all that was published; None if it got no further for a while."""
        client, fewest, deadline = self._client, len(self._expected) + 1, time.monotonic()
        while True:
            seen = client.until(lambda: self._holds(last), 5.0, 0.01)
            missing = len(self._missing())
            if not missing:
                return seen or time.monotonic()
            if missing < fewest:
                fewest, deadline = missing, time.monotonic() + _STALLED_AFTER_S
            elif time.monotonic() > deadline:
                return None
            time.sleep(0.02)

    def _holds(self, number: int) -> bool:
        return self._client.opa.get(dst_path(number)[1:]) == document(number)

    def _missing(self) -> list[str]:
        held: Line = self._client.opa.get("bulk") or {}
        return [path for path, value in self._expected.items() if held.get(path.rpartition("/")[2]) != value]

    def _counted(self) -> int:
        """How many data transactions OPA says have landed."""
        return int(self._client.opa.get("system/opal/transaction_data_statistics/successful") or 0)

    # ----------------------------------------------------------------------------------------------------- latency

    def latency(self, updates: int) -> Line:
        """One update at a time, a little apart: from sending it until a query of OPA shows it."""
        took: list[float] = []
        lost = 0
        for number in range(self._published, self._published + updates + _WARM_UP):
            sent = self._client.steer(f"/publish?first={number}")["at"]
            seen = self._client.until(partial(self._holds, number), _STATE_WITHIN_S, 0.0002)
            lost += seen is None
            if seen is not None and number >= self._published + _WARM_UP:
                took.append(1000 * (seen - sent))
            self._expected[dst_path(number)] = document(number)
            time.sleep(_APART_S)
        self._published += updates + _WARM_UP
        points = quantiles(took, n=100) if len(took) > 1 else [0.0] * 99
        return {
            "updates": updates,
            "missing": lost,
            "p50_ms": round(median(took), 2) if took else None,
            "p99_ms": round(points[98], 2),
            "longest_ms": round(max(took), 2) if took else None,
        }


def measure(contestant: Contestant, module_count: int, updates: int, singles: int) -> Line:
    """One contestant with so many modules, from its start to its end."""
    who = f"{contestant.name}, {module_count} modules by {contestant.delivery}"
    counts = _PEER_UPDATES if contestant.is_peer else {"inline": updates, "fetched": updates // 4}
    line: Line = {"client": contestant.name, "modules": module_count, "delivery": contestant.delivery}
    say(f"{who}: starting")
    with running(contestant, module_count) as client:
        run = Run(client, module_count)
        line["start"] = run.start()
        say(f"{who}: {line['start']}; now {singles} updates one by one")
        line["latency"] = run.latency(singles)
        say(f"{who}: {line['latency']}")
        for kind, count in counts.items():
            say(f"{who}: {count} {kind} updates at once")
            line[kind] = run.flood(kind, count)
            say(f"{who}: {line[kind]}")
        time.sleep(_SETTLE_S)
        line["end_mib"] = round(client.resident_mib(), 1)
    line["load"] = round(os.getloadavg()[0], 1)
    return line


# ------------------------------------------------------------------------------------------------------------ result

_COLUMNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("loaded s", "8.2f", ("start", "loaded_s")),
    ("ready s", "7.2f", ("start", "ready_s")),
    ("/ready s", "8.2f", ("start", "says_ready_s")),
    ("inline/s", "8,", ("inline", "per_s")),
    ("CPU s", "5.1f", ("inline", "cpu_s")),
    ("OPA s", "5.1f", ("inline", "opa_cpu_s")),
    ("fetched/s", "9,", ("fetched", "per_s")),
    ("CPU s", "5.1f", ("fetched", "cpu_s")),
    ("OPA s", "5.1f", ("fetched", "opa_cpu_s")),
    ("p50 ms", "6.1f", ("latency", "p50_ms")),
    ("p99 ms", "6.1f", ("latency", "p99_ms")),
    ("idle MiB", "8.0f", ("start", "idle_mib")),
    ("end MiB", "7.0f", ("end_mib",)),
    ("load", "4.1f", ("load",)),
)


def table(lines: Sequence[Line]) -> str:
    """The runs, one a line."""
    head = f"{'client':<12}{'modules':>7} {'by':<6} " + "  ".join(
        f"{title:>{_width(layout)}}" for title, layout, _ in _COLUMNS
    )
    return "\n".join([head, *map(_row, lines)])


def _row(line: Line) -> str:
    cells: list[str] = []
    for _, layout, path in _COLUMNS:
        value: Any = line
        for key in path:
            value = value[key]
        cells.append(f"{value:{layout}}" if value is not None else f"{'-':>{_width(layout)}}")
    return f"{line['client']:<12}{line['modules']:>7} {line['delivery']:<6} " + "  ".join(cells)


def _width(layout: str) -> int:
    return int(layout[0])


def complaints(line: Line) -> list[str]:
    """What is wrong in a run: updates that never came, or that OPA's state does not count."""
    found: list[str] = []
    for kind in ("latency", "inline", "fetched"):
        said = line[kind]
        if said["missing"]:
            found.append(f"{said['missing']} of {said['updates']} {kind} updates are missing")
        if said.get("counted", said["updates"]) != said["updates"]:
            found.append(f"{said['counted']} of {said['updates']} {kind} updates are counted")
        if said.get("healthy", True) is not True:
            found.append(f"not healthy after the {kind} updates")
    who = f"{line['client']}, {line['modules']} modules by {line['delivery']}"
    return [f"{who}: {one}" for one in found]


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["ours", "peer"], help="leave the other out")
    parser.add_argument("--modules", type=int, nargs="+", default=[1, 300])
    parser.add_argument("--delivery", choices=["rest", "bundle"], nargs="+", default=["rest", "bundle"])
    parser.add_argument("--updates", type=int, default=20_000, help="inline updates for ours; fetched ones: a quarter")
    parser.add_argument("--singles", type=int, default=200, help="updates that are published one by one")
    parser.add_argument("--peer", help="OPAL's client; by default one is installed once, outside the checkout")
    parser.add_argument("--set", metavar="NAME=VALUE", nargs="*", default=[], help="more settings for ours")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all that was measured there")
    given = parser.parse_args()
    settings = dict(one.split("=", 1) for one in given.set)
    runs: list[tuple[Contestant, int]] = []
    if given.only != "ours":
        opal = peer(given.peer)
        runs += [(opal, count) for count in given.modules]
    if given.only != "peer":
        agents = [ours(delivery, settings) for delivery in given.delivery]
        runs += [(agent, count) for agent in agents for count in given.modules if agent.delivery == "rest" or count > 1]
    lines = [measure(contestant, count, given.updates, given.singles) for contestant, count in runs]
    if given.json is not None:
        about = {"python": platform.python_version(), "processors": os.cpu_count(), "paths": PATHS}
        given.json.write_text(json.dumps({"about": about, "runs": lines}, indent=2), "utf-8")
    print(table(lines))
    wrong = {line["client"]: complaints(line) for line in lines if complaints(line)}
    print("\n".join(one for line in lines for one in complaints(line)))
    return 1 if "cabochon" in wrong else 0


if __name__ == "__main__":
    sys.exit(main())
