"""The listener kit: a good listener passes, and each promise catches the listener that breaks it."""

import inspect
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

import anyio
import pytest

from cabochon.contract.transaction_listener import TransactionListener, TransactionListenerType
from cabochon.documents import json_values
from cabochon.documents.path import DocumentPath
from cabochon.testing.transaction_listener_contract import TransactionListenerContract
from cabochon.transactions.changes import Change, ReplacePolicies, SetData, SetPolicy
from cabochon.transactions.log import TransactionLog
from cabochon.transactions.records import TransactionRecord

COUNTS = DocumentPath(("counts",))


class CountingListener(TransactionListener):
    """Keeps every promise: it writes how many transactions succeeded."""

    owned_paths: Sequence[DocumentPath] = (COUNTS,)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        return (SetData(self.path(), self.value(records, log)),)

    def path(self) -> DocumentPath:
        return COUNTS / "good"

    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        del records
        return json_values.encode(log.data.successful)

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        del record, log
        await anyio.lowlevel.checkpoint()


def offering(listener: Callable[[], TransactionListener]) -> TransactionListenerType:
    @asynccontextmanager
    async def open_listener(_: object) -> AsyncGenerator[TransactionListener]:
        yield listener()

    return TransactionListenerType(name="counting", summary="Count transactions", open=open_listener)


class TestCountingListener(TransactionListenerContract):
    """A listener that keeps every promise passes."""

    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        return offering(CountingListener)


class TestIdleListener(TransactionListenerContract):
    """A listener may leave everything as it is."""

    @pytest.fixture
    def listener_type(self) -> TransactionListenerType:
        class Idle(TransactionListener):
            pass

        return offering(Idle)


# --------------------------------------------------------------------------------------------- those that break one


class IsAsynchronous(CountingListener):
    async def committing(  # pyright: ignore[reportIncompatibleMethodOverride] # that is the point
        self, records: Sequence[TransactionRecord], log: TransactionLog
    ) -> Sequence[Change]:
        return CountingListener.committing(self, records, log)


class NeedsRecords(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        return records[0].id.encode()


class ReplacesPolicies(CountingListener):
    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        return (ReplacePolicies({}),)


class CountsItself(CountingListener):
    count = 0

    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        self.count += len(records)
        return json_values.encode(self.count)


class LooksAtTheClock(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        return json_values.encode(time.perf_counter_ns())


class WritesElsewhere(CountingListener):
    def path(self) -> DocumentPath:
        return DocumentPath(("counts2",))


class WritesAnothersPolicy(CountingListener):
    owned_policies: Sequence[str] = ("own.rego",)

    def committing(self, records: Sequence[TransactionRecord], log: TransactionLog) -> Sequence[Change]:
        return (SetPolicy("own.rego/not.rego", "package other"),)


class WritesText(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        return b"good: 1"


class TakesRecordsOut(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        if isinstance(records, list):
            records.clear()
        return super().value(records, log)


class KeepsTheLog(CountingListener):
    kept: object = None

    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        self.kept = log
        return super().value(records, log)


class KeepsRecords(CountingListener):
    def __init__(self) -> None:
        self.kept: list[TransactionRecord] = []

    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        self.kept = list(records)
        return super().value(records, log)


class IsSlow(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        time.sleep(len(records) / 2000)
        return super().value(records, log)


class OwnsAString(CountingListener):
    owned_paths: Sequence[Any] = ("counts",)


class OwnsEverything(CountingListener):
    owned_paths: Sequence[DocumentPath] = (DocumentPath(),)


class OwnsMoreAndMore(CountingListener):
    def value(self, records: Sequence[TransactionRecord], log: TransactionLog) -> bytes:
        self.owned_paths = (*self.owned_paths, COUNTS)
        return super().value(records, log)


class DiesOfFailures(CountingListener):
    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        if not record.success:
            raise RuntimeError(record.error)


class HangsAtPolicies(CountingListener):
    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        if record.transaction_type == "policy":
            await anyio.sleep_forever()


class BlocksTheLoop(CountingListener):
    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        time.sleep(0.3)  # noqa: ASYNC251 # that is the point


class IgnoresCancellation(CountingListener):
    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        with anyio.move_on_after(0.4, shield=True):
            await anyio.sleep_forever()


class LeavesTasks(CountingListener):
    """Does its work in a task that nobody owns."""

    left: ClassVar[list[object]] = []

    async def ended(self, record: TransactionRecord, log: TransactionLog) -> None:
        leave_a_task(self.left)


def leave_a_task(left: list[object]) -> None:
    import asyncio  # noqa: PLC0415
    import sys  # noqa: PLC0415

    try:
        left.append(asyncio.get_running_loop().create_task(asyncio.sleep(1.5)))
    except RuntimeError:
        trio: Any = sys.modules["trio"]
        left.append(trio.lowlevel.spawn_system_task(trio.sleep, 1.5))


GOOD = offering(CountingListener)

BROKEN: list[tuple[str, TransactionListenerType]] = [
    ("test_committing_is_synchronous", offering(IsAsynchronous)),
    ("test_committing_takes_any_subset", offering(NeedsRecords)),
    ("test_committing_takes_any_subset", offering(ReplacesPolicies)),
    ("test_committing_is_pure", offering(CountsItself)),
    ("test_committing_is_pure", offering(LooksAtTheClock)),
    ("test_committing_writes_only_what_the_listener_owns", offering(WritesElsewhere)),
    ("test_committing_writes_only_what_the_listener_owns", offering(WritesAnothersPolicy)),
    ("test_committing_writes_json", offering(WritesText)),
    ("test_committing_leaves_its_arguments_alone", offering(TakesRecordsOut)),
    ("test_committing_keeps_nothing", offering(KeepsTheLog)),
    ("test_committing_keeps_nothing", offering(KeepsRecords)),
    ("test_committing_is_quick", offering(IsSlow)),
    ("test_owned_paths_are_the_listeners_own", offering(OwnsAString)),
    ("test_owned_paths_are_the_listeners_own", offering(OwnsEverything)),
    ("test_owned_paths_are_the_listeners_own", offering(OwnsMoreAndMore)),
    ("test_ended_takes_every_kind_of_transaction", offering(DiesOfFailures)),
    ("test_ended_takes_every_kind_of_transaction", offering(HangsAtPolicies)),
    ("test_ended_lets_others_run", offering(BlocksTheLoop)),
    ("test_cancelled_ended_ends_at_once", offering(IgnoresCancellation)),
    ("test_closing_leaves_nothing_behind", offering(LeavesTasks)),
    ("test_registration_is_complete", replace(GOOD, name="the counter")),
    ("test_registration_is_complete", replace(GOOD, stores="OPA")),
]


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for as long as on a busy machine."""
    kit = "cabochon.testing.transaction_listener_contract"
    for name, seconds in (("PROMPT_S", 0.5), ("STALL_S", 0.2), ("QUICK_S", 0.2)):
        monkeypatch.setattr(f"{kit}.{name}", seconds)


async def run(test: Callable[..., Any], offered: TransactionListenerType) -> None:
    async with offered.open(None) as listener:
        given = {"listener": listener, "listener_type": offered, "settings": None}
        result = test(**{name: given[name] for name in inspect.signature(test).parameters})
        if inspect.isawaitable(result):
            await result


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize(("test", "offered"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
async def test_kit_names_the_promise_that_a_listener_breaks(test: str, offered: TransactionListenerType) -> None:
    """A listener that breaks one promise fails the test of that promise, in the promise's words."""
    bound = getattr(TransactionListenerContract(), test)
    promise = " ".join((inspect.getdoc(bound) or "").split())

    with pytest.raises(BaseException) as caught:  # noqa: PT011 # whichever way it fails
        await run(bound, offered)

    assert f"Broken promise: {promise}" in caught.value.__notes__


def test_kit_has_a_breaker_for_each_promise() -> None:
    """No test of the kit is without a listener that fails it."""
    kit = {name for name in vars(TransactionListenerContract) if name.startswith("test_")}
    assert kit == {test for test, _ in BROKEN}
