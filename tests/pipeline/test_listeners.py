"""Transaction listeners: what they add lands in the same commit, and none of them can hurt the sync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from cabochon import Change, DocumentPath, SetData, SetPolicy, StoreRejectedError, TransactionListener
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

from .conftest import Start

PLACE = DocumentPath.parse("/system/listener")


class _Listener(TransactionListener):
    owned_paths = (PLACE,)

    def __init__(self, *, writes: DocumentPath = PLACE, value: bytes = b"1", error: Exception | None = None) -> None:
        self.change = SetData(writes, value)
        self.error = error
        self.ids: list[str] = []

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        if self.error is not None:
            raise self.error
        return [self.change]


class _WritesPolicy(_Listener):
    owned_policies = ("own.rego",)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        return [SetPolicy("another.rego", "package another")]


class _Hearing(TransactionListener):
    def __init__(self, *, error: Exception | None = None, hang: bool = False) -> None:
        self.error = error
        self.hang = hang
        self.ids: list[str] = []

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        self.ids.append(record.id)
        if self.hang:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error


def _named(events: Sequence[Any], event: str) -> list[str]:
    return [one["listener"] for one in events if one["event"] == event]


async def test_listeners_changes_land_in_the_same_commit(start: Start) -> None:
    """
    No commit that writes the data is without what the listeners add.
    """
    async with start(listeners={"own": _Listener()}) as running:
        await running.publish("u1", {"dst_path": "/users/bob", "data": {"role": "admin"}})
        await running.ended("u1")

        (commit,) = [commit for commit in running.engine.commits if commit.changes.writes]
        assert {"/system/listener", "/system/opal"} == {
            str(change.path) for change in commit.changes.state if isinstance(change, SetData)
        }


@pytest.mark.parametrize(
    "listener",
    [
        pytest.param(_Listener(error=ValueError("broken")), id="raises"),
        pytest.param(_Listener(writes=DocumentPath.parse("/users/bob")), id="writes elsewhere"),
        pytest.param(_WritesPolicy(), id="writes another's policy"),
        pytest.param(_Listener(writes=PLACE / "a" / "b", value=b"nonsense"), id="is refused"),
    ],
)
@pytest.mark.parametrize("blames", [True, False])
async def test_bad_listener_is_quarantined_and_named(start: Start, listener: _Listener, blames: bool) -> None:  # noqa: FBT001
    """
    Whatever is wrong with it, the updates land, and the log says whose fault it was.
    """
    with capture_logs() as events:
        async with start(listeners={"culprit": listener}) as running:
            running.engine.blames = blames
            running.engine.reject_data = _reject_nonsense
            for number in range(3):
                await running.publish(f"u{number}", {"dst_path": f"/users/u{number}", "data": number})
            await running.ended("u2")

            assert {"users": {"u0": 0, "u1": 1, "u2": 2}} == running.engine.documents
            await running.until(lambda: running.engine.get("/system/opal/ready"), "ready in the engine")
    assert ["culprit"] == _named(events, "transaction_listener.quarantined")


@pytest.mark.parametrize("blames", [True, False])
@pytest.mark.parametrize("listeners", [0, 2])
async def test_refusal_that_passes_costs_no_listener(start: Start, blames: bool, listeners: int) -> None:  # noqa: FBT001
    """
    An engine that refuses a commit once, and takes each part of it afterwards, was not refusing the listeners.
    """
    own = {f"own-{number}": _Listener() for number in range(listeners)}
    with capture_logs() as events:
        async with start(listeners=own) as running:
            running.engine.blames = blames
            running.engine.fail_next(StoreRejectedError("once"), when=lambda changes: bool(changes.writes))
            for number in range(2):
                await running.publish(f"u{number}", {"dst_path": f"/users/u{number}", "data": number})
                await running.ended(f"u{number}")
            await running.until(
                lambda: running.engine.get("/system/opal/last_data_transaction/id") == "u1", "the health of now"
            )

    assert [] == _named(events, "transaction_listener.quarantined")


def _reject_nonsense(change: Change) -> str | None:
    return "nonsense" if isinstance(change, SetData) and change.value == b"nonsense" else None


@pytest.mark.parametrize(
    "listener", [_Hearing(error=ValueError("broken")), _Hearing(hang=True)], ids=["raises", "hangs"]
)
async def test_bad_ended_does_not_stall_anyone(start: Start, listener: _Hearing) -> None:
    """
    A listener that raises or hangs when told of an end is heard of in the log; the others hear of everything, in order.
    """
    good = _Hearing()
    listener.ids.clear()
    with capture_logs() as events:
        async with start(listeners={"bad": listener, "good": good}) as running:
            ids = [f"u{number}" for number in range(20)]
            for update_id in ids:
                await running.publish(update_id, {"dst_path": f"/{update_id}", "data": 1})
            await running.until(lambda: ids == good.ids, "the good listener has heard of all")
            assert ids[0] == listener.ids[0]
            if listener.error is not None:
                await running.until(lambda: ids == listener.ids, "the raising listener has heard of all")
    if listener.error is not None:
        assert {"bad"} == set(_named(events, "transaction_listener.failed"))


async def test_listener_that_is_refused_while_the_engine_is_filled_costs_no_document(start: Start) -> None:
    """
    An emptied engine gets every document back, whatever it has against a listener by then.
    """
    async with start(listeners={"culprit": _Listener(value=b"nonsense")}, probe_interval=0.05) as running:
        for number in range(3):
            await running.publish(f"u{number}", {"dst_path": f"/users/u{number}", "data": number})
        await running.ended("u2")
        running.engine.blames = False
        running.engine.reject_data = _reject_nonsense
        running.engine.lose_state()
        await running.until(lambda: len(running.engine.get("/users", {})) == 3, "every document is back")

        assert {"users": {"u0": 0, "u1": 1, "u2": 2}} == running.engine.documents


async def test_policies_of_a_listener_keep_no_document_from_its_place(start: Start) -> None:
    """
    Policies and documents have nothing to do with one another: a `dst_path` may be spelled as a listener's policy.
    """
    listener = _Listener()
    listener.owned_policies = ("engine/health.rego",)
    async with start(listeners={"own": listener}) as running:
        await running.publish("u1", {"dst_path": "/engine", "data": {"health.rego": 1}})
        await running.ended("u1")

        assert running.engine.get("/engine") == {"health.rego": 1}
