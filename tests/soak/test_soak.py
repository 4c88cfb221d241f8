"""An agent's day, compressed: it loses its server again and again while updates flow, and OPA now and then.

SOAK_RECONNECTS says how often (500 take some 11 minutes), SOAK_SEED repeats a run as far as real processes can be
repeated, and with SOAK_REPORT a run's figures are appended to that file.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread

from cabochon_opa.testing import RealOpa, free_port, opa_or_skip

from ..faults.watcher import Sample, Watcher  # noqa: TID252 - a neighbour's
from .agent_process import AgentProcess, Footprint, running_agent
from .faults import Faults
from .model import AREAS, Model
from .scripted_server import ScriptedServer

RECONNECTS = int(os.environ.get("SOAK_RECONNECTS", "40"))
WARM_UP = min(100, RECONNECTS // 3)
GROWTH_MIB = 8.0
"""What resident memory may grow by after the warm-up, however long the run."""

_STEADY_S = 20.0 if RECONNECTS >= 200 else 1.0
"""How long the agent holds the same before that counts; idle connections are kept for 15 seconds at most."""
_UPDATE_EVERY_S = 0.02
_POLICIES_EVERY = 40
_LOOK_EVERY_S = 0.05
_PATIENCE_S = 60.0
_HEALTH = ("ready", "healthy", "in_sync", "source_connected")
_ASKED = {f"area{number}": f'data.areas["{number}"]' for number in range(AREAS)} | {"policy": "data.app.m0.answer"}


class Readers:
    """Somebody who reads OPA all the while, and what it may never see.

    Attributes:
        emptied: OPA has lost everything, and has not been ready since; only then may it be not ready.
    """

    def __init__(self) -> None:
        self.emptied = True
        self._since = 0.0

    def opa_goes(self) -> None:
        """Take note that OPA is about to be emptied."""
        self.emptied, self._since = True, math.inf

    def opa_is_back(self) -> None:
        """Take note that it has been."""
        self._since = time.monotonic()

    def judge(self, sample: Sample, _before: Sample | None) -> str | None:
        """Say what is wrong with what was read."""
        if not sample.ready:
            return None if self.emptied else "ready has turned false, and OPA was not emptied"
        if sample.asked_at > self._since:
            self.emptied = False
        missing = sorted(_ASKED.keys() - sample.found.keys())
        # That nothing goes back is not asked: base data is as new as its answer, newer than updates still on their way.
        return f"ready without {missing}" if missing else None


class Soak:
    """The whole of it: server, agent, OPA, and who reads it."""

    def __init__(self, chance: random.Random, opa: RealOpa, agent: AgentProcess, readers: Readers, port: int) -> None:
        self.chance = chance
        self.model = Model(chance)
        self.faults = Faults(chance)
        self.server = ScriptedServer(port, self.model, self.faults)
        self.flowing = anyio.Event()
        self._opa = opa
        self._agent = agent
        self._readers = readers

    async def run(self) -> dict[str, Footprint]:
        """Go through the whole day; what the agent held after the warm-up, and in the end."""
        held: dict[str, Footprint] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.server.serve)
            await self.settle()
            tasks.start_soon(self._publish)
            held["first"] = await self._footprint()
            for name, until in (("warm", WARM_UP), ("end", RECONNECTS)):
                await self._misbehave(until)
                await self.settle()
                held[name] = await self._footprint(held.get("warm"))
            tasks.cancel_scope.cancel()
        return held

    async def _publish(self) -> None:
        number = 0
        while True:
            await self.flowing.wait()
            number += 1
            if number % _POLICIES_EVERY == 0:
                await self.server.publish_policies()
            else:
                await self.server.publish_update()
            await anyio.sleep(_UPDATE_EVERY_S)

    async def _misbehave(self, until: int) -> None:
        """Let everything go wrong until so many connections were lost, and OPA and server be gone three times each."""
        step = max(1, (until - self.server.lost) // 6)
        acts = [self._empty_opa, self._leave] * 3
        self.faults.on = True
        self.flowing.set()
        await self.server.lose_session()
        due = self.server.lost + step
        while self.server.lost < until:
            if acts and self.server.lost >= due:
                due += step
                await acts.pop(0)()
            await anyio.sleep(_LOOK_EVERY_S)
        self.faults.on = False
        self.flowing = anyio.Event()

    async def _empty_opa(self) -> None:
        away_s = self.chance.uniform(0.0, 1.5)
        self._readers.opa_goes()
        await to_thread.run_sync(self._opa.kill)
        await anyio.sleep(away_s)
        await to_thread.run_sync(self._opa.start)
        self._readers.opa_is_back()

    async def _leave(self) -> None:
        self.server.leave(self.chance.uniform(0.1, 0.8))

    # ------------------------------------------------------------------------------------------ when all is well again

    async def settle(self) -> None:
        """Wait until OPA is as the model says, and once more after a few updates: fail if it takes too long."""
        await self._until_well()
        for _ in range(20):
            await self.server.publish_update()
        await self.server.publish_policies()
        await self._until_well()

    async def _until_well(self) -> None:
        deadline = anyio.current_time() + _PATIENCE_S
        while wrong := await to_thread.run_sync(self._wrong):
            if anyio.current_time() > deadline:
                pytest.fail(f"after {_PATIENCE_S:g} s still: {wrong}\n{self._agent.last_lines()}")
            await anyio.sleep(_LOOK_EVERY_S)

    def _wrong(self) -> str:
        """Say what is not as it should be, if anything."""
        if not self.server.is_calm:
            return "nobody is subscribed"
        with httpx.Client(base_url=self._opa.url, timeout=10) as client:
            tree: dict[str, Any] = client.get("/v1/data").json()["result"]
            health: dict[str, Any] = client.get("/v1/data/system/opal").json().get("result", {})
            policies = {one["id"]: one["raw"] for one in client.get("/v1/policies").json()["result"]}
        ours = {name: text for name, text in policies.items() if not name.startswith("engine/healthcheck/")}
        differ = {
            "documents": tree != self.model.tree(),
            "policies": ours != self.model.policies(),
            "agent at work": not self._agent.is_idle(),
            **{f"not {name}": health.get(name) is not True for name in _HEALTH},
        }
        return ", ".join(name for name, differs in differ.items() if differs)

    async def _footprint(self, at_most: Footprint | None = None) -> Footprint:
        """Wait until the agent holds no more than that; if nothing is given, until it holds the same for a while."""
        deadline = anyio.current_time() + _PATIENCE_S + _STEADY_S
        before = await to_thread.run_sync(self._agent.footprint)
        while anyio.current_time() < deadline:
            await anyio.sleep(1.0 if at_most is not None else _STEADY_S)
            now = await to_thread.run_sync(self._agent.footprint)
            if now.is_within(at_most or before) and (at_most is not None or before.is_within(now)):
                return now
            before = now
        return pytest.fail(f"not back to {at_most} within {_PATIENCE_S:g} s: {before}")


@pytest.mark.slow
@pytest.mark.timeout(120 + 4 * RECONNECTS)
def test_soak(tmp_path: Path) -> None:
    """In the end OPA is as the model says, nobody saw `ready` flap, and the agent holds what it held before."""
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
    sys.stderr.write(f"SOAK_SEED={seed}\n")
    began, port, readers = time.monotonic(), free_port(), Readers()
    with (
        RealOpa(opa_or_skip()) as opa,
        running_agent(tmp_path, f"http://127.0.0.1:{port}", opa.url) as agent,
        Watcher(opa.url, _ASKED, readers.judge) as watcher,
    ):
        soak = Soak(random.Random(seed), opa, agent, readers, port)  # noqa: S311 - no secret
        held = anyio.run(functools.partial(soak.run))
        metrics = agent.metrics()
    figures = {
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "reconnects": soak.server.lost,
        "opa_starts": opa.starts,
        "samples": len(watcher.samples),
        "wrong": len(watcher.wrong),
        "faults": dict(sorted(soak.server.done.items())),
        "held": {name: asdict(footprint) for name, footprint in held.items()},
        "transactions": {name: n for name, n in metrics.items() if name.startswith(("transactions_", "engine_"))},
    }
    report = os.environ.get("SOAK_REPORT")
    if report:
        with Path(report).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
    assert not watcher.wrong, [(what, sample.found.get("ready")) for what, sample in watcher.wrong[:5]]
    assert not readers.emptied
    assert soak.server.lost >= RECONNECTS
    assert held["end"].resident_mib - held["warm"].resident_mib < GROWTH_MIB, held
