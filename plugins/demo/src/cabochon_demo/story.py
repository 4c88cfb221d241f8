"""The story: what happens to the company, step by step, and what Cabochon promises in each."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable

import anyio
from anyio.lowlevel import checkpoint

from cabochon_demo.company import COLLECTIONS, Document
from cabochon_demo.disasters import engine_is_wiped, receiver_fails, revocation_overtakes, source_fails
from cabochon_demo.server import RECEIVERS
from cabochon_demo.stage import Landed, Stage

__all__ = ["STORY"]

_HIRED = "zoe.lindqvist"


async def base_data_arrives(stage: Stage) -> None:
    """Two sources answer, the third keeps everyone waiting; then it comes, too."""
    *quick, slow = COLLECTIONS
    started = time.monotonic()
    await stage.say(f"the agent fetches {', '.join(COLLECTIONS)} over HTTP; {slow} takes its time")
    there = await stage.until(lambda: _holds(stage, *quick))
    stage.keep(
        f"{' and '.join(quick)} are in the store, {slow} is not: not ready",
        there is not None and not stage.log().ready and await stage.document(slow) is None,
    )
    stage.release_base()
    ready = await stage.until(lambda: stage.log().ready)
    stage.keep(
        "ready once the last base data source is in, healthy too",
        ready is not None and stage.log().healthy,
        f"{_ms(time.monotonic() - started - stage.beat_s)} in all",
    )
    exact = await stage.everything() == stage.company.data
    exact = exact and await stage.policies() == stage.company.policies
    stage.keep(
        "the store holds exactly what the sources serve",
        exact,
        f"{stage.company.records} records, {len(stage.company.policies)} policies",
    )
    stage.expected = copy.deepcopy(stage.company.data)


async def someone_is_hired(stage: Stage) -> None:
    """A PUT with its document inside."""
    user = {
        "name": "Zoe Lindqvist",
        "department": "engineering",
        "roles": ["engineer"],
        "manager": None,
        "active": True,
    }
    stage.expected["users"][_HIRED] = user
    await stage.say(f"{_HIRED} is hired: PUT /users/{_HIRED}, the document comes with the update")
    landed = await stage.landed("hire", {"dst_path": f"/users/{_HIRED}", "data": user})
    stage.keep("a PUT is in the store", await stage.document("users", _HIRED) == user, f"{landed.took_ms:.1f} ms")
    stage.keep("and nothing else has changed", await stage.everything() == stage.expected)


async def someone_is_promoted(stage: Stage) -> None:
    """A JSON patch that fits, one that does not, and the PUT that heals."""
    path = f"/users/{_HIRED}"
    user = stage.expected["users"][_HIRED]
    await stage.say(f"{_HIRED} is promoted: PATCH {path} with 3 operations")
    patch = [
        {"op": "test", "path": "/active", "value": True},
        {"op": "add", "path": "/roles/-", "value": "lead"},
        {"op": "replace", "path": "/department", "value": "operations"},
    ]
    landed = await stage.landed("promote", {"dst_path": path, "save_method": "PATCH", "data": patch})
    user["roles"] = ["engineer", "lead"]
    user["department"] = "operations"
    stage.keep(
        "a JSON patch applies as a whole", await stage.document("users", _HIRED) == user, f"{landed.took_ms:.1f} ms"
    )
    await stage.say("a second patch assumes that she still is in engineering: its last operation fails")
    wrong = [
        {"op": "add", "path": "/roles/-", "value": "admin"},
        {"op": "test", "path": "/department", "value": "engineering"},
    ]
    landed = await stage.landed("promote-again", {"dst_path": path, "save_method": "PATCH", "data": wrong})
    stage.keep(
        "a patch that does not fit changes nothing, not even with its first operation",
        not landed.success and await stage.document("users", _HIRED) == user,
    )
    stage.keep("and the health says so: not healthy, out of sync at that path", _sick_at(stage, path))
    await stage.beat()
    await stage.landed("promote-put", {"dst_path": path, "data": user})
    stage.keep("a PUT of the whole document heals", stage.well() and await stage.document("users", _HIRED) == user)


async def company_reorganises(stage: Stage) -> None:
    """Three entries, one of them fetched, that must be seen together or not at all."""
    role = {"grants": {"robot": ["read", "calibrate"]}}
    robot = {"kind": "robot", "department": "operations", "owner": _HIRED, "sensitivity": "confidential"}
    user = {**stage.expected["users"][_HIRED], "roles": ["calibrator", "lead"]}
    url = stage.server.serve("/inventory/robot-kestrel", robot)
    looks = _Looks(stage, [("roles", "calibrator"), ("resources", "robot-kestrel")])
    await stage.say("a robot is bought: a role, a user and a resource in one update, the resource fetched over HTTP")
    entries = (
        {"dst_path": "/roles/calibrator", "data": role},
        {"dst_path": f"/users/{_HIRED}", "data": user},
        {"dst_path": "/resources/robot-kestrel", "url": url},
    )
    landed = await looks.taken_while(stage.landed("robot", *entries))
    stage.expected["roles"]["calibrator"] = role
    stage.expected["users"][_HIRED] = user
    stage.expected["resources"]["robot-kestrel"] = robot
    stage.keep("the entries of an update are all in the store", await stage.everything() == stage.expected)
    stage.keep(
        "nobody saw one of them without the others",
        looks.taken and not looks.partial,
        f"{looks.taken} looks, {landed.took_ms:.1f} ms",
    )


async def everything_is_in_sync(stage: Stage) -> None:
    """The balance."""
    await stage.say("the balance: is the store what all updates, one after the other, make of the base data?")
    records = sum(map(len, stage.expected.values()))
    stage.keep(
        "the store holds what all updates in their order amount to",
        await stage.everything() == stage.expected,
        f"{records} records",
    )
    stage.keep("ready, healthy and in_sync", stage.well())
    reported = await stage.until(stage.reported)
    stage.keep(
        "every update was reported to every callback, exactly once",
        reported is not None,
        f"{len(stage.board.published)} updates, {len(RECEIVERS)} callbacks",
    )


class _Looks:
    """Looks at the engine as often as it can, for a moment at which one document is there and another is not."""

    def __init__(self, stage: Stage, paths: list[tuple[str, ...]]) -> None:
        self._stage = stage
        self._paths = paths
        self._first = anyio.Event()
        self.taken = 0
        self.partial = 0

    async def taken_while(self, landing: Awaitable[Landed]) -> Landed:
        """Look until an update has landed; it is published after the first look."""
        results: list[Landed] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            await self._first.wait()
            results.append(await landing)
            tasks.cancel_scope.cancel()
        return results[0]

    async def _run(self) -> None:
        while True:
            everything: Document = await self._stage.document() or {}
            self.taken += 1
            self._first.set()
            there = {name in everything.get(collection, {}) for collection, name in self._paths}
            self.partial += len(there) > 1
            await checkpoint()


async def _holds(stage: Stage, *collections: str) -> bool:
    return all([await stage.document(name) == stage.company.data[name] for name in collections])


def _sick_at(stage: Stage, path: str) -> bool:
    log = stage.log()
    return log.ready and not log.healthy and not log.in_sync and stage.out_of_sync() == [path]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


STORY: tuple[tuple[str, Callable[[Stage], Awaitable[None]]], ...] = (
    ("Base data and policies", base_data_arrives),
    ("A live update", someone_is_hired),
    ("A JSON patch, all or nothing", someone_is_promoted),
    ("Several entries at once", company_reorganises),
    ("A hung source, a revocation", revocation_overtakes),
    ("A source fails and recovers", source_fails),
    ("A callback fails and recovers", receiver_fails),
    ("The engine loses everything", engine_is_wiped),
    ("The balance", everything_is_in_sync),
)
