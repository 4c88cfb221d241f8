"""A store that lets a lost answer out of `commit`: what was sent may have landed, and must not land twice."""

from __future__ import annotations

import json

import anyio
import pytest

from cabochon import AnswerLostError, Changes, CommitResult, PatchData, PolicyStore, SetData, StoreTraits
from cabochon.kit.http.engine import RequestUnansweredError
from cabochon.settings.core import CoreSettings
from cabochon.sync.pipeline import Pipeline, PipelineParts
from cabochon_mock_store import MockPolicyStore

from .conftest import HandSource, Start

ERRORS = pytest.mark.parametrize("error", [AnswerLostError, RequestUnansweredError])
APPEND = [{"op": "add", "path": "/-", "value": 1}]


def is_first_patch(changes: Changes, error: AnswerLostError | None) -> bool:
    return error is not None and any(isinstance(change, PatchData) for change in changes.flat())


class WithMarker(MockPolicyStore):
    """Takes a patch, and says of the first one that the answer was lost."""

    error: AnswerLostError | None = None

    async def commit(self, changes: Changes) -> CommitResult:
        result = await super().commit(changes)
        if is_first_patch(changes, self.error) and self.error is not None:
            error, self.error = self.error, None
            raise error
        return result


class WithoutMarker(PolicyStore):
    """The same for a store that remembers nothing: it holds one list, at whatever path."""

    traits = StoreTraits(policy_unit="none", data_unit="documents", atomic="commit")
    patch_operations = frozenset({"add", "remove", "replace"})

    def __init__(self, error: AnswerLostError) -> None:
        self.error: AnswerLostError | None = error
        self.held: list[int] = []

    async def commit(self, changes: Changes) -> CommitResult:
        for change in changes.flat():
            if isinstance(change, SetData):
                self.held = json.loads(change.value)
            elif isinstance(change, PatchData):
                self.held.extend(json.loads(operation.value or b"null") for operation in change.operations)
        if is_first_patch(changes, self.error) and self.error is not None:
            error, self.error = self.error, None
            raise error
        return CommitResult.applied(changes)

    async def health(self) -> None:
        """Always there."""


@ERRORS
async def test_patch_whose_answer_was_lost_lands_once_in_a_store_with_a_marker(
    start: Start, error: type[AnswerLostError]
) -> None:
    """
    The marker tells that it has landed: it is not sent again, and its transaction is a success.
    """
    async with start(store=WithMarker) as running:
        await running.publish("list", {"dst_path": "/l", "data": []})
        await running.ended("list")
        WithMarker.error = error("sent, no answer")
        try:
            await running.publish("append", {"dst_path": "/l", "data": APPEND, "save_method": "PATCH"})
            await running.ended("append")
        finally:
            WithMarker.error = None

        assert [1] == running.engine.get("/l")
        assert 0 == running.pipeline.log.data.failed


@ERRORS
async def test_patch_whose_answer_was_lost_lands_once_in_a_store_without(error: type[AnswerLostError]) -> None:
    """
    Nobody knows whether it has landed: the document is written by value, which does no harm, and that is the truth.
    """
    store = WithoutMarker(error("sent, no answer"))
    source = HandSource()
    pipeline = Pipeline(PipelineParts(store=store, source=source), CoreSettings(policy_updater_enabled=False))
    async with anyio.create_task_group() as tasks:
        await tasks.start(pipeline.run)
        async with pipeline.policy_store.transaction_context() as tx:
            await tx.set_policy_data([], path="/l")
        async with pipeline.policy_store.transaction_context() as tx:
            await tx.patch_policy_data(APPEND, path="/l")
        pipeline.stop()
    source.close()

    assert [1] == store.held
    assert 0 == pipeline.log.data.failed
