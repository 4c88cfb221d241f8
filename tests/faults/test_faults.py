"""What can happen to an OPA, done to a real one with at least 500 updates a second on their way to it.

A second is one that the machine leaves to the test (`own_time`), so that others that keep it busy change nothing.
OPA is asked every 5 ms, past the agent, and must never be ready without what it needs (`life.initial_paths`). After
each fault its documents are what a serial application of all updates makes of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from cabochon_opa.testing import RealOpa

from .life import GHOSTS, Life, initial_paths, living, nothing_goes_back
from .load import Load, policy_bundle
from .proxy import Do, Proxy
from .watcher import Sample

pytestmark = pytest.mark.timeout(400)  # of the clock: only for what hangs

_ROUNDS = 3
_OUTAGE_S = float(os.environ.get("FAULTS_OUTAGE_S") or 8.0)
"""How long OPA answers 5xx: longer than the deadline of a commit, so that the agent has to put updates off. The promise
is a minute of it, and FAULTS_OUTAGE_S=60 plays that; in CI it would cost more than it shows."""
_AWAY = "engine.lost"


# ----------------------------------------------------------------------------------------------------- 1. killed


async def test_killed_and_restarted_empty(opa: RealOpa, chance: Random) -> None:
    """
    SIGKILL at random moments, while OPA is filled again too: everything is back, policies first.
    """
    spans: list[tuple[float, float]] = []
    async with living(opa.url, Load(chance)) as life:
        life.start_load()
        await life.until_ready()
        for number in range(_ROUNDS):
            await anyio.sleep(chance.uniform(0.05, 0.5))
            killed_at = time.monotonic()
            await anyio.to_thread.run_sync(opa.restart)
            if number == 1:
                # Once more, while it is filled.
                await life.change_policies()
                await anyio.sleep(chance.uniform(0.0, 0.1))
                await anyio.to_thread.run_sync(opa.restart)
            up_at = time.monotonic()
            await life.check_noticed(killed_at)
            spans.append((killed_at, await life.until_ready(up_at)))
        life.check_rate(*spans)
        await life.check_end()


# ------------------------------------------------------------------------------------------------- 2. not up yet


@pytest.mark.parametrize(("earliest_s", "latest_s"), [(0.1, 2.0), (5.2, 6.0)], ids=["soon", "late"])
async def test_not_up_yet(opa_path: Path, chance: Random, earliest_s: float, latest_s: float) -> None:
    """
    The agent starts first, takes updates all the same, and fills OPA when it comes, however late.
    """
    opa = RealOpa(opa_path)
    async with living(opa.url, Load(chance)) as life:
        began = time.monotonic()
        life.start_load()
        await life.change_policies()
        await anyio.sleep(chance.uniform(earliest_s, latest_s))
        assert not life.agent.pipeline.log.ready
        try:
            await anyio.to_thread.run_sync(opa.start)
            await life.check_noticed(began)
            life.check_rate((began, await life.until_ready()))
            # What came after the deadline of a commit was put off, and has its follow-up.
            assert bool(life.failed()) == (earliest_s > 5)
            await life.check_end()
        finally:
            opa.kill()


# ------------------------------------------------------------------------------------------------------- 3. 5xx


async def test_answers_5xx_for_a_while(opa: RealOpa, chance: Random) -> None:
    """
    Some of what OPA answers with 503 it has done all the same; updates are put off, and none comes twice.
    """
    with Proxy(opa.url) as proxy:
        async with living(opa.url, Load(chance), through=proxy.url) as life:
            life.start_load()
            await life.until_ready()
            await anyio.sleep(chance.uniform(0.1, 0.5))
            began = time.monotonic()
            proxy.judge = _refuses_from_a_commit_on()
            await life.check_noticed(began)
            await life.change_policies()
            await life.until_told(_AWAY, began)
            await _says_so(life)
            proxy.judge = lambda _method, _body: chance.choice([Do.REFUSE, Do.PASS_AND_REFUSE, Do.PASS])
            await anyio.sleep(began + _OUTAGE_S - time.monotonic())
            proxy.judge = lambda _method, _body: Do.PASS
            await life.until_back()
            life.check_rate((began, time.monotonic()))
            assert proxy.done[Do.PASS_AND_REFUSE, "PATCH"]
            await life.check_end()


def _refuses_from_a_commit_on() -> Callable[[str, bytes], Do]:
    """The agent asks what became of a commit before it sends another: this one is in doubt for all of the outage."""
    begun = threading.Event()

    def judge(_method: str, body: bytes) -> Do:
        if begun.is_set():
            return Do.REFUSE
        if not _is_commit(body):
            return Do.PASS
        begun.set()
        return Do.PASS_AND_REFUSE

    return judge


def _is_commit(body: bytes) -> bool:
    """Tell a commit from what only asks, in the form of a patch whose last operation OPA always refuses."""
    return b"/system/cabochon/commit" in body and not body.endswith(b'{"op":"add","path":"","value":0}]')


async def _says_so(life: Life) -> None:
    """Wait until the transaction log of an agent whose engine is away tells that updates are missing in it."""
    log = life.agent.pipeline
    await life.until(lambda: not log.log.in_sync and not log.log.healthy, "the log says so")
    assert any("not available" in why.reason for why in log.log.out_of_sync.values())


# ------------------------------------------------------------------------------------------------------ 4. hung


async def test_hung(opa: RealOpa, chance: Random) -> None:
    """
    OPA takes connections and never answers, then goes on and does what it was asked before: nothing comes twice.
    """
    async with living(opa.url, Load(chance)) as life:
        life.start_load()
        await life.until_ready()
        await anyio.sleep(chance.uniform(0.1, 0.5))
        hung_at = time.monotonic()
        opa.hang()
        try:
            await life.check_noticed(hung_at)
            await life.change_policies()
            await life.until_told(_AWAY, hung_at)
            await _says_so(life)
            await anyio.sleep(chance.uniform(0.0, 1.0))
            # OPA finds the requests of before, too, when it goes on: older policies, and a commit given up long ago.
            await life.change_policies()
            await anyio.sleep(chance.uniform(0.0, 0.5))
        finally:
            opa.go_on()
        await life.until_back()
        life.check_rate((hung_at, await life.until_ready()))
        await life.check_end()


async def test_hung_for_a_moment(opa: RealOpa, chance: Random) -> None:
    """
    Shorter than the deadline of a commit, and again and again: nobody's update fails.
    """
    async with living(opa.url, Load(chance)) as life:
        life.start_load()
        began = await life.until_ready()
        for _ in range(2 * _ROUNDS):
            await anyio.sleep(chance.uniform(0.02, 0.2))
            opa.hang()
            try:
                await anyio.sleep(chance.uniform(0.05, 0.3))
            finally:
                opa.go_on()
        life.check_rate((began, await life.until_ready()))
        await life.check_end()
        assert life.failed() == 0


async def test_hung_and_then_killed(opa: RealOpa, chance: Random) -> None:
    """
    What hangs is killed, by hand or by a probe, and comes back empty.
    """
    async with living(opa.url, Load(chance)) as life:
        life.start_load()
        await life.until_ready()
        await anyio.sleep(chance.uniform(0.1, 0.5))
        hung_at = time.monotonic()
        opa.hang()
        await life.check_noticed(hung_at)
        await life.change_policies()
        await anyio.sleep(chance.uniform(0.0, 3.0))
        await anyio.to_thread.run_sync(opa.restart)
        life.check_rate((hung_at, await life.until_ready()))
        await life.check_end()


# ----------------------------------------------------------------------------------------------------- 5. wiped

_FOREIGN = {"foreign": {"n": 1}, "load": {"put": {"stranger": True}}}


async def test_wiped_by_somebody_else(opa: RealOpa, chance: Random) -> None:
    """
    `PUT /v1/data` leaves nothing, or another's documents: ours are back, the other's stay.
    """
    spans: list[tuple[float, float]] = []
    async with living(opa.url, Load(chance)) as life:
        life.start_load()
        await life.until_ready()
        for number in range(2 * _ROUNDS):
            await anyio.sleep(chance.uniform(0.02, 0.3))
            if number == 1:
                await life.change_policies()
            wiped_at = time.monotonic()
            await _put_everything(opa, {} if number % 2 == 0 else _FOREIGN)
            await life.check_noticed(wiped_at)
            ready_at = await life.until_ready()
            assert any(not sample.ready for sample in life.watcher.between(wiped_at, ready_at))
            spans.append((wiped_at, ready_at))
        life.check_rate(*spans)
        life.load.model["load"]["put"]["stranger"] = True
        await life.check_end(foreign={"n": 1})


async def test_put_back_to_an_earlier_state(opa: RealOpa, chance: Random) -> None:
    """
    Somebody puts an old copy of everything back, our own state included: no later commit takes that for ours.
    """
    copied: dict[str, Any] = {}
    ours: list[Sample] = []

    def built_on(sample: Sample, before: Sample | None) -> str | None:
        if copied and sample.found.get("commit") == copied["system"]["cabochon"]["commit"]:
            # The copy itself, which is not the agent's doing; or what was copied, before that.
            return initial_paths(sample)
        # A commit that takes the copy for ours shows as a document of before the copy, of a later commit.
        complaint = nothing_goes_back(sample, ours[-1] if ours else before)
        if sample.ready:
            ours[:] = [sample]
        return complaint

    async with living(opa.url, Load(chance), judge=built_on) as life:
        life.start_load()
        await life.until_ready()
        await anyio.sleep(chance.uniform(0.1, 0.5))
        # Puts apply to anything: it must not be a patch that gives the old copy away.
        life.load.with_patches = False
        copied.update(await _copy_of_everything(opa))
        await anyio.sleep(chance.uniform(0.3, 0.6))
        put_back_at = time.monotonic()
        await _put_everything(opa, copied)
        await life.check_noticed(put_back_at)
        await life.until_told("engine.state_lost", put_back_at)
        life.check_rate((put_back_at, await life.until_ready()))
        await life.check_end()


async def _copy_of_everything(opa: RealOpa) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=opa.url) as client:
        state = (await client.get("/v1/data/system/cabochon")).json()["result"]
        data = (await client.get("/v1/data")).json()["result"]
    # What rules make is no document.
    return {"system": {"cabochon": state}} | {key: value for key, value in data.items() if key != "faults"}


async def _put_everything(opa: RealOpa, documents: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=opa.url, timeout=30) as client:
        (await client.put("/v1/data", json=documents)).raise_for_status()


# --------------------------------------------------------------------------------------- nobody publishes anything


@pytest.mark.parametrize("how", ["restart", "wipe"])
async def test_found_without_any_update(opa: RealOpa, chance: Random, how: str) -> None:
    """
    No commit meets the empty OPA: the agent looks by itself, within 5 s.
    """
    async with living(opa.url, Load(chance)) as life:
        await life.until_ready()
        began = time.monotonic()
        if how == "restart":
            await anyio.to_thread.run_sync(opa.restart)
        else:
            await _put_everything(opa, {})
        emptied_at = time.monotonic()
        await life.check_noticed(began)
        await life.until_told("engine.state_lost", began)
        await life.until_ready(emptied_at)
        life.start_load()
        await life.check_end()


# ----------------------------------------------------------------------------------------------- 6. an earlier life


async def test_leaves_no_ghost_of_an_earlier_life(opa: RealOpa, chance: Random) -> None:
    """
    What only a killed agent had written is gone before the next one says ready; others' documents stay.

    Of others' policies those stay that are for OPA itself.
    """
    await _put_others(opa)
    first = Load(chance, name="first", extra=("/earlier/only", "/load/ghosts/1"))
    first.change_policies(policy_bundle(0, more="earlier"))
    async with living(opa.url, first) as life:
        life.start_load()
        await life.until_ready()
        await life.publish({"id": "ghost", "entries": [{"url": "", "dst_path": "/earlier/live/deep", "data": [1]}]})
        await life.until(lambda: "ghost_update" in life.newest().found, "the earlier life has written all of it")
        await anyio.sleep(chance.uniform(0.0, 0.3))
    assert GHOSTS.keys() <= life.newest().found.keys()
    earlier: set[str] = set()

    def no_ghosts(sample: Sample, before: Sample | None) -> str | None:
        commits = sample.found.get("commit", {}).keys()
        if before is None:
            # What the earlier life wrote after it was last looked at is there, too.
            earlier.update(commits)
        if commits == earlier:
            return None
        # From the first commit of this life on.
        ghosts = GHOSTS.keys() & sample.found.keys()
        if sample.ready and ghosts:
            return f"ready with {sorted(ghosts)}"
        is_first = before is None or before.found["commit"].keys() == earlier
        return nothing_goes_back(sample, None if is_first else before)

    async with living(opa.url, Load(chance), judge=no_ghosts) as life:
        life.start_load()
        began = time.monotonic()
        await life.until_told("engine.earlier_life_removed", began)
        life.check_rate((began, await life.until_ready()))
        await life.check_end(others={"n": 1})
        assert not GHOSTS.keys() & life.newest().found.keys()
    async with httpx.AsyncClient(base_url=opa.url) as client:
        policies = {policy["id"] for policy in (await client.get("/v1/policies")).json()["result"]}
    assert "strangers/system.rego" in policies
    assert "strangers/app.rego" not in policies
    assert not any("earlier" in policy for policy in policies)


async def _put_others(opa: RealOpa) -> None:
    async with httpx.AsyncClient(base_url=opa.url) as client:
        (await client.put("/v1/data/others", json={"n": 1})).raise_for_status()
        for policy_id, package in (
            ("strangers%2Fapp.rego", "strangers"),
            ("strangers%2Fsystem.rego", "system.strangers"),
        ):
            module = f"package {package}\n\nanswer := 2\n"
            (await client.put(f"/v1/policies/{policy_id}", content=module)).raise_for_status()


# ------------------------------------------------------------------------------------------------ 7. lost answers


@pytest.mark.parametrize("lost", [Do.PASS_AND_CUT, Do.PASS_AND_REFUSE], ids=["cut", "503"])
async def test_lost_answers(opa: RealOpa, chance: Random, lost: Do) -> None:
    """
    Each third answer to a write is lost after OPA has carried it out: the agent finds out, and no update fails.
    """
    with Proxy(opa.url) as proxy:
        async with living(opa.url, Load(chance), through=proxy.url) as life:
            life.start_load()
            began = await life.until_ready()
            proxy.judge = _spoils(chance, lost)
            for number in range(1, _ROUNDS + 1):
                await life.change_policies()
                await anyio.sleep(chance.uniform(0.1, 0.5))
                await life.until(lambda: proxy.done[lost, "PATCH"] >= 3 * number, "answers are lost")  # noqa: B023 - at once
            life.check_rate((began, time.monotonic()))
            proxy.judge = lambda _method, _body: Do.PASS
            await life.check_end()
            assert life.failed() == 0


def _spoils(chance: Random, lost: Do) -> Callable[[str, bytes], Do]:
    def judge(method: str, body: bytes) -> Do:
        writes = method == "PUT" or _is_commit(body)
        return lost if writes and chance.random() < 1 / 3 else Do.PASS

    return judge
