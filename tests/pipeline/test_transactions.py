"""OPAL's transaction API on the pipeline."""

from __future__ import annotations

import pytest

from cabochon import TransactionError

from .conftest import Start


async def test_block_commits_when_it_ends(start: Start) -> None:
    """
    Nothing is written before, everything in one commit after, and the record is in the log.
    """
    async with start() as running:
        store = running.pipeline.policy_store
        async with store.transaction_context("t1") as tx:
            await tx.set_policy_data({"bob": {"role": "admin"}}, path="/users")
            await tx.patch_policy_data([{"op": "replace", "path": "/bob/role", "value": "none"}], path="/users")
            await tx.set_policy_data([1, None], path="/list")
            assert {} == running.engine.documents

        assert {"users": {"bob": {"role": "none"}}, "list": [1, None]} == running.engine.documents
        assert 1 == len([commit for commit in running.engine.commits if commit.changes.writes])
        last = running.pipeline.log.data.last
        assert last is not None
        assert ("t1", True, ("set_policy_data", "patch_policy_data")) == (last.id, last.success, last.actions)


async def test_exception_rolls_back_and_is_recorded_once(start: Start) -> None:
    """
    The engine is as before; the log holds the error.
    """
    async with start() as running:
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready")
        with pytest.raises(ValueError, match="changed my mind"):
            async with running.pipeline.policy_store.transaction_context("t1") as tx:
                await tx.set_policy_data(1, path="/users")
                raise ValueError("changed my mind")
        await running.ended("t1")

        assert {} == running.engine.documents
        failed = running.pipeline.log.data.last_failed
        assert failed is not None
        assert ("t1", "rolled back: ValueError: changed my mind") == (failed.id, failed.error)
        assert 1 == running.pipeline.log.data.failed


async def test_refused_write_raises_and_siblings_land(start: Start) -> None:
    """
    The caller hears of the path that was refused.
    """
    async with start() as running:
        with pytest.raises(TransactionError, match="/scalar"):
            async with running.pipeline.policy_store.transaction_context() as tx:
                await tx.set_policy_data(1, path="/scalar")
                await tx.set_policy_data(2, path="/scalar/below")
                await tx.set_policy_data(3, path="/other")

        assert {"scalar": 1, "other": 3} == running.engine.documents


async def test_policies_and_data_need_a_transaction_each(start: Start) -> None:
    """
    They travel in two lanes, so one transaction can't promise to be both.
    """
    async with start() as running:
        with pytest.raises(TransactionError, match="a transaction of its own"):
            async with running.pipeline.policy_store.transaction_context() as tx:
                await tx.set_policy_data(1, path="/a")
                await tx.set_policy("a.rego", "package a")


async def test_policies_are_written_and_recorded(start: Start) -> None:
    """
    `set_policy` and its siblings end in a policy transaction.
    """
    async with start() as running:
        async with running.pipeline.policy_store.transaction_context("p1") as tx:
            await tx.set_policy("a.rego", "package a")
        await running.until(lambda: running.pipeline.log.policies.successful, "the record of p1")

        assert {"a.rego": "package a"} == dict(running.engine.policies)


async def test_ended_transaction_takes_nothing_more(start: Start) -> None:
    """
    What is added too late would be lost without a word.
    """
    async with start() as running:
        async with running.pipeline.policy_store.transaction_context("t1") as tx:
            await tx.set_policy_data(1, path="/a")
        with pytest.raises(TransactionError, match="has ended"):
            await tx.set_policy_data(2, path="/a")


async def test_data_that_are_no_json_are_refused_at_once(start: Start) -> None:
    """
    Before the block ends, with a message that says so.
    """
    async with start() as running:
        with pytest.raises(TransactionError, match="no JSON"):
            async with running.pipeline.policy_store.transaction_context() as tx:
                await tx.set_policy_data(b"{", path="/a")
