"""OpenFGA that is killed, comes back empty, is wiped, hangs or says later: in the end it holds what it should."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from structlog.testing import capture_logs

from cabochon.documents.path import DocumentPath
from cabochon.errors import StateLostError
from cabochon.transactions.changes import Changes, SetData, Write
from cabochon.transactions.commit_result import Refused
from cabochon_openfga.open_store import open_openfga_store
from cabochon_openfga.settings import OpenFgaStoreSettings
from cabochon_openfga.testing import RealOpenFga

from .rig import PATIENCE_S, Rig, Row, running_agent, tuple_of

UPDATES = 10_000
PATHS = 200
FOUND_WITHIN_S = 5.0

Model = dict[Row, Any]


def document(random_numbers: random.Random, place: int) -> list[dict[str, Any]]:
    """A few tuples of a path; some are others' too, some have a condition, which differs from time to time."""
    rows = [
        tuple_of(f"user:{random_numbers.randrange(40)}", "owner", f"document:{place % 50}")
        for _ in range(random_numbers.randrange(3))
    ]
    if random_numbers.random() < 0.3:
        rows.append(tuple_of("user:x", "editor", f"document:of{place}", in_hours=(random_numbers.randrange(9), 17)))
    return rows


def union(documents: dict[str, list[dict[str, Any]]]) -> Model:
    """What OpenFGA must hold: the tuples of all paths."""
    return {
        (row["object"], row["relation"], row["user"]): row.get("condition")
        for rows in documents.values()
        for row in rows
    }


async def holds(rig: Rig, wanted: Model) -> None:
    """See that OpenFGA comes to hold exactly these tuples, and that the agent then says that all is well."""
    with anyio.move_on_after(PATIENCE_S):
        while await rig.asker.tuples_or_none() != wanted:  # noqa: ASYNC110 - OpenFGA has no event for it
            await anyio.sleep(0.05)
    assert wanted == await rig.asker.tuples()
    await rig.until(lambda: rig.log.healthy and rig.log.in_sync)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("datastore", ["memory", "sqlite"])
async def test_killed_while_updates_flow(openfga_path: Path, tmp_path: Path, datastore: str) -> None:
    """
    Killed four times while 10,000 updates flow, and in memory empty again each time: it ends as the updates say.
    """
    random_numbers = random.Random(7)  # noqa: S311 - of a test
    documents: dict[str, list[dict[str, Any]]] = {}
    kills = {UPDATES // 5, UPDATES // 5 + 1, UPDATES // 2, UPDATES - 10}
    sqlite = tmp_path / "openfga.db" if datastore == "sqlite" else None
    with RealOpenFga(openfga_path, sqlite=sqlite) as openfga:
        async with running_agent(openfga.url) as rig:
            for number in range(UPDATES):
                place = random_numbers.randrange(PATHS)
                path = f"/documents/{place}"
                documents[path] = document(random_numbers, place)
                await rig.put(path, documents[path])
                if number in kills:
                    await rig.until(lambda number=number: len(rig.source.ends) > number // 2)
                    await anyio.to_thread.run_sync(openfga.restart)
            await rig.until(lambda: len({position for position, _ in rig.source.ends}) == UPDATES, patience_s=100)
            await holds(rig, union(documents))
            assert 1 == len(await rig.asker.model_ids())


async def test_emptied_openfga_is_filled_again_when_nothing_happens(openfga: RealOpenFga) -> None:
    """
    A restart that loses everything is noticed by itself within 5 seconds; the model comes first, then the tuples.
    """
    async with running_agent(openfga.url) as rig:
        await rig.publish("/docs", [tuple_of("user:ann", "owner", "document:plan")])
        wanted = await rig.asker.tuples()
        with capture_logs() as events:
            await anyio.to_thread.run_sync(openfga.restart)
            await rig.until(lambda: any(one["event"] == "engine.state_lost" for one in events), FOUND_WITHIN_S)
        await holds(rig, wanted)
        assert await rig.asker.check("user:ann", "viewer", "document:plan")


async def test_write_into_a_lost_store_is_no_refusal(openfga: RealOpenFga) -> None:
    """
    OpenFGA says of a store that it does not have that it has no model; that is a loss, and not the update's fault.
    """
    async with open_openfga_store(OpenFgaStoreSettings(policy_store_url=openfga.url)) as store:
        await store.restart_token()
        rows = msgspec.json.encode([tuple_of("user:ann", "owner", "document:plan")])
        write = Changes((Write("w", (SetData(DocumentPath(("docs",)), rows),)),))
        (refused,) = (await store.commit(write)).outcomes
        assert isinstance(refused, Refused)
        assert "no authorization model yet" in str(refused.error)

        await anyio.to_thread.run_sync(openfga.restart)
        with pytest.raises(StateLostError):
            await store.commit(write)


async def test_wiped_store_is_filled_again(openfga: RealOpenFga) -> None:
    """
    Somebody deletes all tuples of a store that is there: noticed within 5 seconds, and no second model is written.
    """
    rows = [tuple_of(f"user:{number}", "owner", "document:plan") for number in range(250)]
    async with running_agent(openfga.url) as rig:
        assert await rig.publish("/docs", rows) is None
        wanted = await rig.asker.tuples()
        with capture_logs() as events:
            await rig.asker.delete(*wanted)
            await rig.until(lambda: any(one["event"] == "engine.state_lost" for one in events), FOUND_WITHIN_S)
        await holds(rig, wanted)

        assert 1 == len(await rig.asker.model_ids())


async def test_openfga_that_is_away_gets_what_it_missed(openfga_path: Path, tmp_path: Path) -> None:
    """
    Killed with its database on disk: what was published meanwhile is written when it is back, and nothing else.
    """
    with RealOpenFga(openfga_path, sqlite=tmp_path / "openfga.db") as openfga:
        async with running_agent(openfga.url, {"OPAL_COMMIT_TIMEOUT": "1"}) as rig:
            await rig.publish("/a", [tuple_of("user:ann", "owner", "document:a")])
            await anyio.to_thread.run_sync(openfga.kill)
            assert await rig.publish("/b", [tuple_of("user:bob", "owner", "document:b")]) is not None
            assert not rig.log.healthy

            await anyio.to_thread.run_sync(openfga.start)
            await holds(rig, {("document:a", "owner", "user:ann"): None, ("document:b", "owner", "user:bob"): None})
            assert 2 == len((await rig.asker.in_store("GET", "/changes"))["changes"])


async def test_openfga_that_hangs_loses_nothing(openfga: RealOpenFga) -> None:
    """
    It takes a write and does not answer before the deadline: whatever it made of it, the outcome is what it should be.
    """
    async with running_agent(openfga.url, {"OPAL_COMMIT_TIMEOUT": "1", "OPAL_POLICY_STORE_TIMEOUT": "1"}) as rig:
        await rig.publish("/a", [tuple_of("user:ann", "owner", "document:a")])
        openfga.hang()
        try:
            assert await rig.publish("/a", [tuple_of("user:bob", "owner", "document:a")]) is not None
        finally:
            openfga.go_on()

        await holds(rig, {("document:a", "owner", "user:bob"): None})
