"""The steps of the story in which something breaks."""

from __future__ import annotations

import time

from cabochon_demo.company import Document
from cabochon_demo.server import RECEIVERS
from cabochon_demo.stage import Stage
from cabochon_demo.stranger import wipe

__all__ = ["engine_is_wiped", "receiver_fails", "revocation_overtakes", "source_fails"]


async def revocation_overtakes(stage: Stage) -> None:
    """An update waits for a source that hangs; a newer one revokes the same user's roles."""
    users = stage.expected["users"]
    login = next(login for login, user in users.items() if "on-call" in user["roles"] and user["active"])
    user = users[login]
    path = f"/users/{login}"
    revoked: Document = {**user, "roles": [], "active": False}
    url, answer = stage.server.serve_held(f"/directory/{login}", {**user, "roles": ["admin"]})
    await stage.say(f"{login} becomes admin, says an update whose source hangs")
    started = time.monotonic()
    await stage.publish("grant", {"dst_path": path, "url": url})
    await stage.say(f"{login} leaves the company: PUT {path}, without any role")
    landed = await stage.landed("revoke", {"dst_path": path, "data": revoked})
    stage.keep(
        "a hung source does not delay a revocation",
        await stage.document("users", login) == revoked,
        f"{landed.took_ms:.1f} ms",
    )
    answer.set()
    late = await stage.end_of("grant", since=started)
    users[login] = revoked
    stage.keep(
        "the late answer of the older update is dropped",
        await stage.document("users", login) == revoked,
        f"it came {late.took_ms - landed.took_ms:.0f} ms later",
    )


async def source_fails(stage: Stage) -> None:
    """One entry's source answers 503, its sibling is fine; the agent tries again by itself."""
    robot = {**stage.expected["resources"]["robot-kestrel"], "sensitivity": "secret"}
    report = {"kind": "report", "department": "operations", "owner": robot["owner"], "sensitivity": "internal"}
    url = stage.server.serve("/inventory/robot-kestrel", robot, fail_times=2)
    await stage.say("an update of two entries, and the source of one of them answers 503")
    started = time.monotonic()
    landed = await stage.landed(
        "inspection",
        {"dst_path": "/resources/robot-kestrel", "url": url},
        {"dst_path": "/resources/report-kestrel", "data": report},
    )
    log = stage.log()
    stage.keep(
        "the failure shows: not healthy, out of sync at that path",
        not landed.success and not log.healthy and stage.out_of_sync() == ["/resources/robot-kestrel"],
    )
    stage.keep("the entry beside it has landed", await stage.document("resources", "report-kestrel") == report)
    await stage.say("nobody does anything: the agent tries again")
    await stage.until(lambda: stage.log().in_sync)
    recovered_s = time.monotonic() - started
    stage.expected["resources"] |= {"robot-kestrel": robot, "report-kestrel": report}
    stage.keep(
        "the source recovers: fetched, healthy and in sync",
        stage.log().healthy and await stage.document("resources", "robot-kestrel") == robot,
        f"after {recovered_s:.1f} s",
    )
    told = await stage.until(
        lambda: all(
            [one.saved for one in stage.server.accepted("inspection", name, follow_up=later)] == [later]
            for name in RECEIVERS
            for later in (False, True)
        )
    )
    stage.keep("the publisher is told of the failure, then of the recovery", told is not None)


async def receiver_fails(stage: Stage) -> None:
    """A callback target answers 503 once; nothing else may wait for it."""
    failing, other = RECEIVERS
    await stage.until(stage.reported)
    stage.server.receivers[failing].refuse_once.add("declassify")
    robot = {**stage.expected["resources"]["robot-kestrel"], "sensitivity": "internal"}
    stage.expected["resources"]["robot-kestrel"] = robot
    await stage.say(f"an update lands, and the callback {failing} answers its report with 503")
    started = time.monotonic()
    await stage.landed("declassify", {"dst_path": "/resources/robot-kestrel", "data": robot})
    await stage.until(lambda: bool(stage.server.refused("declassify", failing)))
    following = await stage.landed("following", {"dst_path": "/resources/robot-kestrel", "data": robot})
    stage.keep("the next update does not wait for the callback", following.success, f"{following.took_ms:.1f} ms")
    beside = await stage.until(lambda: len(stage.server.accepted("following", other)) == 1)
    stage.keep(f"neither does {other}", beside is not None and not stage.server.accepted("declassify", failing))
    await stage.say(f"{failing} is told again, after a pause")
    await stage.until(lambda: bool(stage.server.accepted("following", failing)))
    taken = stage.server.accepted("declassify", failing)
    tries = 1 + len(stage.server.refused("declassify", failing))
    stage.keep(
        "the report is retried until it is taken, and taken once",
        len(taken) == 1,
        f"{tries} tries, {taken[0].at - started:.1f} s" if taken else "",
    )


async def engine_is_wiped(stage: Stage) -> None:
    """Someone else deletes everything: data, policies and the agent's own state."""
    records = sum(map(len, stage.expected.values()))
    await stage.say("someone else wipes the engine: all data, all policies, the agent's own state")
    seen = len(stage.watch.ready_was)
    fetches = stage.server.fetches
    async with stage.as_stranger() as stranger:
        started = time.monotonic()
        await wipe(stranger)
    noticed = await stage.until(lambda: False in stage.watch.ready_was[seen:])
    stage.keep(
        "the agent notices by itself, within 5 s",
        noticed is not None and noticed < 5,  # noqa: PLR2004 - as promised
        f"{(noticed or 0) * 1000:.0f} ms",
    )
    restored = await stage.until(lambda: stage.log().ready)
    restored_s = time.monotonic() - started - (noticed or 0)
    complete = await stage.everything() == stage.expected
    policies = await stage.policies()
    stage.keep(
        "every document and every policy is written back",
        restored is not None and complete and policies == stage.company.policies,
        f"{records} records, {len(policies)} policies, {restored_s * 1000:.0f} ms",
    )
    told = stage.watch.ready_was[seen:]
    filling = told[told.index(False) :].index(True) if restored is not None and False in told else 0
    stage.keep("the engine says not ready until the last step of that", filling, f"{filling} commits")
    stage.keep("then all is well again, without any fetch", stage.well() and fetches == stage.server.fetches)
