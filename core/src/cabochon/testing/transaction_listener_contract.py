"""What every transaction listener must do, as tests that its author runs by subclassing."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import combinations
from typing import Any

import anyio
import msgspec
import pytest

from cabochon.contract.transaction_listener import TransactionListener, TransactionListenerType
from cabochon.documents import json_values
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.schemas import RemoteStatus
from cabochon.testing._contract import Contract
from cabochon.testing._watch import Watch
from cabochon.transactions.changes import Change, DeleteData, DeletePolicy, PatchData, SetData, SetPolicy
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import FailedPath, InitialSource, TransactionRecord

__all__ = ["TransactionListenerContract"]

PROMPT_S = 5.0
"""What should happen at once must happen within so many seconds, on a busy machine too."""

STALL_S = 0.5
"""For so long nothing else may be kept from running."""

QUICK_S = 1.0
"""A commit of many transactions may wait so long for a listener, and should not wait a hundredth of it."""

USERS, BOB = DocumentPath(("users",)), DocumentPath(("users", "J\u00f6rg/~ \U0001f980"))

RECORDS = (
    TransactionRecord(
        number=0, id="c0ffee", transaction_type="policy", actions=("set_policies",), created_at=1.0, ended_at=1.5
    ),
    TransactionRecord(
        number=1,
        id="base",
        actions=("set_policy_data",),
        created_at=2.0,
        ended_at=2.5,
        origin=1,
        landed=(USERS,),
        source=0,
    ),
    TransactionRecord(
        number=2,
        id="failed",
        success=False,
        error='GET http://data.example/J\u00f6rg: "503"',
        origin=2,
        failed=(FailedPath(BOB, "503"),),
        remotes=(RemoteStatus(remote_url="http://data.example/J\u00f6rg", succeed=False, error="503"),),
    ),
    TransactionRecord(number=3, id="patch", actions=("patch_policy_data",), origin=3, version="7"),
    TransactionRecord(number=0, id="bad", transaction_type="policy", success=False, error="line 1: rego_parse_error"),
)
"""One of each kind."""

START = TransactionLog(engine_current=True, source_connected=True, heartbeat_at=1.0).with_sources(
    {0: InitialSource(USERS, 1)}
)

Commit = tuple[Sequence[TransactionRecord], TransactionLog]


class TransactionListenerContract(Contract):
    """What every transaction listener must do; subclass it and provide `listener_type`.

    That a listener which hangs or raises stalls nobody is the core's promise; here is what makes a listener useful.
    """

    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        """The registration that the plugin offers."""
        raise NotImplementedError("return the TransactionListenerType under test")

    @pytest.fixture
    def settings(self, listener_type: TransactionListenerType) -> object:
        """What `open` is given; the settings' defaults unless overridden."""
        return listener_type.settings() if listener_type.settings is not None else None

    @pytest.fixture
    async def listener(
        self, listener_type: TransactionListenerType, settings: object
    ) -> AsyncGenerator[TransactionListener]:
        """The listener, open."""
        async with listener_type.open(settings) as listener:
            yield listener

    # -------------------------------------------------------------------------------------------------- committing

    async def test_committing_is_synchronous(self, listener: TransactionListener) -> None:
        """
        `committing` returns its changes at once: it is no coroutine.
        """
        answer: object = listener.committing((), START)
        if inspect.iscoroutine(answer):
            answer.close()

        assert not inspect.isawaitable(answer)

    async def test_committing_takes_any_subset(self, listener: TransactionListener) -> None:
        """
        `committing` answers for any subset of transactions, none included, with a list of changes.
        """
        for records, log in _commits():
            for change in listener.committing(records, log):
                assert isinstance(change, SetData | PatchData | DeleteData | SetPolicy | DeletePolicy)

    async def test_committing_is_pure(self, listener: TransactionListener) -> None:
        """
        `committing` gives the same answer for the same commit, whatever it was asked before.
        """
        first = [_answer(listener, commit) for commit in _commits()]
        backwards = [_answer(listener, commit) for commit in reversed(_commits())]

        assert first == backwards[::-1]

    async def test_committing_writes_only_what_the_listener_owns(self, listener: TransactionListener) -> None:
        """
        Every document lies at or below one of `owned_paths`, every policy is in `owned_policies`.
        """
        for commit in _commits():
            for change in _answer(listener, commit):
                place = _place(change)
                if isinstance(place, str):
                    assert place in listener.owned_policies, f"it writes the policy {place}"
                else:
                    owned = [DocumentPath(path) for path in listener.owned_paths]
                    assert any(path.covers(place) for path in owned), f"it writes {place}"

    async def test_committing_writes_json(self, listener: TransactionListener) -> None:
        """
        Every value that is written is JSON in UTF-8.
        """
        for commit in _commits():
            for change in _answer(listener, commit):
                if isinstance(change, SetData):
                    json_values.check(change.value)
                elif isinstance(change, PatchData):
                    for operation in change.operations:
                        json_values.check(b"null" if operation.value is None else operation.value)

    async def test_committing_leaves_its_arguments_alone(self, listener: TransactionListener) -> None:
        """
        The records and the log are as they were: others are given them, too.
        """
        for records, log in _commits():
            given, before = list(records), _taken_apart((records, log))
            listener.committing(given, log)
            assert before == _taken_apart((given, log))

    async def test_committing_keeps_nothing(self, listener: TransactionListener) -> None:
        """
        The log and the records are not kept: the next commit has others.
        """
        log, record = START.with_heartbeat(77.0), TransactionRecord(number=9, id="kept?")
        records = [record]
        before = [sys.getrefcount(kept) for kept in (log, record, records)]
        listener.committing(records, log)

        assert before == [sys.getrefcount(kept) for kept in (log, record, records)]

    async def test_committing_is_quick(self, listener: TransactionListener) -> None:
        """
        A commit of many transactions does not wait for the listener.
        """
        records = [TransactionRecord(number=number, id=str(number), origin=number) for number in range(1, 500)]
        log = START.after(records)
        start = time.monotonic()
        listener.committing(records, log)

        assert time.monotonic() - start < QUICK_S

    async def test_owned_paths_are_the_listeners_own(self, listener: TransactionListener) -> None:
        """
        `owned_paths` are document paths below the root, and the same ones throughout.
        """
        before = [DocumentPath(owned) for owned in listener.owned_paths]
        for records, log in _commits():
            listener.committing(records, log)

        assert ROOT not in before
        assert all(isinstance(owned, tuple) and all(isinstance(part, str) for part in owned) for owned in before)
        assert before == [DocumentPath(owned) for owned in listener.owned_paths]
        assert not any(isinstance(owned, str) for owned in listener.owned_paths)

    # ------------------------------------------------------------------------------------------------------- ended

    async def test_ended_takes_every_kind_of_transaction(self, listener: TransactionListener) -> None:
        """
        `ended` takes data and policies, successes and failures, and comes to its end.
        """
        log = START
        for record in RECORDS:
            log = log.after([record])
            before = _taken_apart(([record], log))
            with anyio.fail_after(PROMPT_S):
                await listener.ended(record, log)
            assert before == _taken_apart(([record], log))

    async def test_ended_lets_others_run(self, listener: TransactionListener) -> None:
        """
        However long `ended` takes, everything else goes on meanwhile.
        """
        stalls: list[float] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_measure_stalls, stalls)
            await anyio.wait_all_tasks_blocked()
            for record in RECORDS:
                with anyio.move_on_after(PROMPT_S):
                    await listener.ended(record, START)
                await anyio.sleep(0.002)
            tasks.cancel_scope.cancel()

        assert max(stalls, default=0.0) < STALL_S

    async def test_cancelled_ended_ends_at_once(self, listener: TransactionListener) -> None:
        """
        `ended` can be cancelled at any moment, and is called again afterwards.
        """
        for _ in range(2):
            with Watch() as watch:
                with anyio.move_on_after(0.05):
                    await listener.ended(RECORDS[1], START)
            assert watch.duration_s < PROMPT_S / 2

    # ---------------------------------------------------------------------------------------------- around its life

    async def test_closing_leaves_nothing_behind(
        self, listener_type: TransactionListenerType, settings: object
    ) -> None:
        """
        A listener that is closed leaves no task behind, and can be opened again with a clean slate.
        """
        with Watch() as watch:
            answers: list[list[Sequence[Change]]] = []
            for _ in range(2):
                async with listener_type.open(settings) as listener:
                    answers.append([_answer(listener, commit) for commit in _commits()])
                    with anyio.fail_after(PROMPT_S):
                        await listener.ended(RECORDS[0], START)
            await watch.tasks_end(within_s=1)

        assert set() == watch.tasks_left
        assert answers[0] == answers[1]

    def test_registration_is_complete(self, listener_type: TransactionListenerType) -> None:
        """
        The registration has a name without spaces, a summary of one line, and a tuple of store names.
        """
        assert listener_type.name.strip()
        assert not any(char.isspace() for char in listener_type.name)
        assert listener_type.summary.strip()
        assert "\n" not in listener_type.summary
        assert isinstance(listener_type.stores, tuple)  # pyright: ignore[reportUnnecessaryIsInstance] # others try
        assert all(store.strip() for store in listener_type.stores)


def _commits() -> list[Commit]:
    """Every subset of one record of each kind, with the log as it will be after it."""
    subsets = [subset for size in range(len(RECORDS) + 1) for subset in combinations(RECORDS, size)]
    return [(subset, START.after(subset).with_heartbeat(float(number))) for number, subset in enumerate(subsets)]


def _answer(listener: TransactionListener, commit: Commit) -> list[Change]:
    records, log = commit
    return list(listener.committing(records, log))


def _place(change: Change) -> DocumentPath | str:
    match change:
        case SetData(path) | DeleteData(path) | PatchData(path):
            return path
        case SetPolicy(name) | DeletePolicy(name):
            return name
        case _:
            pytest.fail(f"a listener may not use {type(change).__name__}")


def _taken_apart(commit: Commit) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Copy everything, so that a change shows."""
    records, log = commit
    return [dict(msgspec.structs.asdict(record)) for record in records], {
        name: dict(value) if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in msgspec.structs.asdict(log).items()
    }


async def _measure_stalls(stalls: list[float]) -> None:
    while True:
        before = time.monotonic()
        await anyio.sleep(0.001)
        stalls.append(time.monotonic() - before)
