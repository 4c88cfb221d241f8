"""The policy lane: bundles into the engine, beside the data."""

from __future__ import annotations

from cabochon import Changes, DeletePolicy, PolicyChanged, Write
from cabochon_mock_store import MockPolicyStore

from .conftest import Start

GOOD = {"a.rego": "package a", "b.rego": "package b"}


async def test_bundle_is_applied_and_makes_ready(start: Start) -> None:
    """
    Ready only once the policies are in the engine; the transaction is named after the bundle's hash.
    """
    async with start(policies=GOOD) as running:
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready")

        assert GOOD == dict(running.engine.policies)
        last = running.pipeline.log.policies.last
        assert last is not None
        assert (running.pipeline.log.policies.last, ("set_policies",)) == (last, last.actions)


async def test_bad_bundle_leaves_the_old_one_in_force(start: Start) -> None:
    """
    `healthy` turns false with the engine's own words, and true again with the next good bundle.
    """
    async with start(policies=GOOD) as running:
        running.engine.reject_policy = lambda _id, source: "rego_parse_error" if "bad" in source else None
        await running.until(lambda: running.engine.get("/system/opal/healthy"), "healthy")
        running.source.policies = {"a.rego": "bad"}
        await running.source.send.send(PolicyChanged())
        await running.until(lambda: running.engine.get("/system/opal/healthy") is False, "not healthy")

        assert GOOD == dict(running.engine.policies)
        assert "rego_parse_error" in running.engine.get("/system/opal/last_failed_policy_transaction/error")
        assert running.engine.get("/system/opal/ready")
        running.source.policies = {"a.rego": "package better"}
        await running.source.send.send(PolicyChanged())
        await running.until(lambda: running.engine.get("/system/opal/healthy"), "healthy again")
        assert {"a.rego": "package better"} == dict(running.engine.policies)


async def test_refused_data_is_tried_again_when_policies_change(start: Start) -> None:
    """
    A policy may have been in its way: the write lands without being published again.
    """
    async with start(policies=GOOD) as running:
        running.engine.reject_data = lambda change: (
            "conflicts with a rule" if "users" in str(getattr(change, "path", "")) else None
        )
        await running.publish("u1", {"dst_path": "/users", "data": {"bob": 1}})
        await running.until(lambda: running.engine.get("/system/opal/out_of_sync_paths"), "out of sync")
        assert {} == running.engine.documents
        running.engine.reject_data = None
        running.source.policies = {"a.rego": "package changed"}
        await running.source.send.send(PolicyChanged())
        await running.until(lambda: running.engine.get("/system/opal/in_sync"), "in sync")

        assert {"users": {"bob": 1}} == running.engine.documents


async def test_emptied_engine_gets_its_policies_back(start: Start) -> None:
    """
    Policies first, then data, then ready.
    """
    async with start(policies=GOOD, probe_interval=0.05) as running:
        await running.publish("u1", {"dst_path": "/users", "data": {"bob": 1}})
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready")
        await running.ended("u1")
        running.engine.lose_state()
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready again")

        assert GOOD == dict(running.engine.policies)
        assert {"users": {"bob": 1}} == running.engine.documents


async def test_refresh_writes_policies_that_the_engine_should_hold_anyway(start: Start) -> None:
    """
    What somebody else took out of the engine is back, though the bundle is the one that was applied last.
    """
    async with start(policies=GOOD) as running:
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready")
        await MockPolicyStore(running.engine).commit(Changes((Write("by hand", (DeletePolicy("a.rego"),)),)))
        assert ["b.rego"] == list(running.engine.policies)

        await running.pipeline.refresh_policies()

        await running.until(lambda: dict(running.engine.policies) == GOOD, "both policies")
