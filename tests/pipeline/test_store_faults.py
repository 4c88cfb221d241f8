"""A store that breaks its contract, or documents that break a store: one entry is lost, not the sync."""

from __future__ import annotations

from typing import ClassVar

import anyio
import msgspec
import pytest

from cabochon import AnswerLostError, Changes, CommitResult, DataUpdateReceived, Marker, SetData, StoreRejectedError
from cabochon.schemas import DataUpdate
from cabochon.transactions.commit_result import Blame, Refused
from cabochon_mock_store import MockPolicyStore

from .conftest import Start


class _Fragile(MockPolicyStore):
    """Raises what no contract knows when it meets a poisonous document."""

    async def commit(self, changes: Changes) -> CommitResult:
        for change in changes.flat():
            if isinstance(change, SetData) and b"poison" in change.value and change.path[0] != "system":
                raise KeyError("poison")
        return await super().commit(changes)


async def test_document_that_breaks_the_store_is_refused_and_named(start: Start) -> None:
    """
    The store's exception is found to be one entry's fault: the others land, and the agent goes on.
    """
    async with start(store=_Fragile) as running:
        for number in range(5):
            value = "poison" if number == 2 else number
            await running.publish(f"u{number}", {"dst_path": f"/users/u{number}", "data": {"v": value}})
        await running.publish("last", {"dst_path": "/last", "data": {"v": 1}})
        await running.ended("last")
        await running.until(lambda: running.pipeline.log.data.failed, "the refusal")

        users = running.engine.get("/users")
        assert ["u0", "u1", "u3", "u4"] == sorted(users)
        failed = running.pipeline.log.data.last_failed
        assert failed is not None
        assert ("u2", "the policy store fails with KeyError: 'poison'") == (failed.id, failed.error)
        assert ["/users/u2"] == [str(path) for path in running.pipeline.log.out_of_sync]


async def test_broken_document_does_not_keep_an_emptied_engine_from_being_filled(start: Start) -> None:
    """
    What the store has refused is not part of what it should hold.
    """
    async with start(store=_Fragile, probe_interval=0.05) as running:
        await running.publish("bad", {"dst_path": "/bad", "data": {"v": "poison"}})
        await running.publish("good", {"dst_path": "/good", "data": {"v": 1}})
        await running.ended("good")
        running.engine.lose_state()
        await running.until(lambda: running.engine.get("/good"), "filled again")
        await running.until(lambda: running.engine.get("/system/opal/ready"), "ready again")

        assert {"good": {"v": 1}} == running.engine.documents


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_inline_data_that_is_no_text_is_refused(start: Start, method: str) -> None:
    """
    A frame may carry bytes that are no UTF-8 inside its strings; no engine should meet them.
    """
    data = b'{"v": "\xff"}' if method == "PUT" else b'[{"op": "add", "path": "/v", "value": "\xff"}]'
    frame = b'{"id": "bad", "entries": [{"url": "", "dst_path": "/a", "save_method": "%s", "data": %s}]}'
    async with start() as running:
        update = msgspec.json.decode(frame % (method.encode(), data), type=DataUpdate)
        await running.source.send.send(DataUpdateReceived(update))
        await running.ended("bad")

        assert {} == running.engine.documents
        failed = running.pipeline.log.data.last_failed
        assert failed is not None
        assert "not UTF-8" in failed.error


class _Wrong(MockPolicyStore):
    """Answers about something else, twice, when it meets a poisonous document."""

    answers: ClassVar[list[CommitResult]] = []

    async def commit(self, changes: Changes) -> CommitResult:
        if any(isinstance(change, SetData) and b"poison" in change.value for change in changes.flat()):
            return self.answers[0]
        return await super().commit(changes)


@pytest.mark.parametrize(
    "answer",
    [
        CommitResult((Refused(StoreRejectedError("no")),), blame=Blame(5, 0), state=Refused(StoreRejectedError("no"))),
        CommitResult((Refused(StoreRejectedError("no")),), blame=Blame(0, 9), state=Refused(StoreRejectedError("no"))),
        CommitResult(()),
    ],
    ids=["write", "change", "outcomes"],
)
async def test_answer_about_another_commit_is_no_answer(start: Start, answer: CommitResult) -> None:
    """
    A wrong blame, or a missing outcome, costs one entry and not the agent; what did not land does not count as landed.
    """
    _Wrong.answers = [answer]
    async with start(store=_Wrong) as running:
        await running.publish("bad", {"dst_path": "/bad", "data": {"v": "poison"}})
        await running.publish("good", {"dst_path": "/good", "data": {"v": 1}})
        await running.until(lambda: running.engine.get("/good"), "the good one")
        await running.until(lambda: running.pipeline.log.data.failed, "the refusal")

        assert ["/bad"] == [str(path) for path in running.pipeline.log.out_of_sync]


class _Unwell(MockPolicyStore):
    """Raises what a question's contract does not know, once told to."""

    broken = False

    async def read_marker(self) -> Marker | None:
        if _Unwell.broken:
            msg = "the connection was cut"
            raise AnswerLostError(msg)
        return await super().read_marker()


async def test_question_that_fails_in_any_way_is_no_answer(start: Start) -> None:
    """
    The engine counts as away until it answers again; the agent goes on.
    """
    async with start(store=_Unwell, probe_interval=0.05) as running:
        await running.publish("one", {"dst_path": "/one", "data": {"v": 1}})
        await running.ended("one")
        try:
            _Unwell.broken = True
            await running.until(lambda: not running.pipeline.log_now().ready, "away")
        finally:
            _Unwell.broken = False
        await running.until(lambda: running.pipeline.log_now().ready, "back")


class _Counting(MockPolicyStore):
    """Counts how often it is looked at."""

    looks = 0

    async def read_marker(self) -> Marker | None:
        type(self).looks += 1
        return await super().read_marker()


@pytest.mark.parametrize("enabled", [True, False])
async def test_idle_engine_is_looked_at_unless_that_is_switched_off(start: Start, enabled: bool) -> None:  # noqa: FBT001
    """
    Switched off, the loss of an idle engine goes unnoticed, and yet no commit lands in one that was emptied.
    """
    async with start(store=_Counting, probe_enabled=enabled, probe_interval=0.02) as running:
        await running.publish("first", {"dst_path": "/first", "data": {"v": 1}})
        await running.ended("first")
        before = _Counting.looks
        if enabled:
            await running.until(lambda: _Counting.looks >= before + 3, "looked at three times")
        else:
            await anyio.sleep(0.2)
            assert before == _Counting.looks
        running.engine.lose_state()
        await running.publish("second", {"dst_path": "/second", "data": {"v": 2}})
        await running.until(lambda: running.engine.get("/second") and running.engine.get("/first"), "both are there")
