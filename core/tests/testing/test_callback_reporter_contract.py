"""The reporter kit: a good reporter passes, and each promise catches the reporter that breaks it."""

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

import anyio
import pytest
import structlog

from cabochon.contract.callback_reporter import Callback, CallbackReporter, CallbackReporterType
from cabochon.errors import ReportError
from cabochon.testing.callback_reporter_contract import CallbackReporterContract, ReportReceiver, ReportTarget

BOX: list[bytes] = []
"""What arrived in these tests."""


class BoxReceiver(ReportReceiver):
    """Takes reports in memory, behind URLs such as `box://bob:hunter2@here/accepting`."""

    def __init__(self) -> None:
        BOX.clear()

    def target(self, name: str, **config: Any) -> ReportTarget:
        callback = Callback(url=f"box://bob:hunter2@here/{name}", config={"token": "t0ken", **config})
        return ReportTarget(callback=callback, secrets=("hunter2", "t0ken"))

    async def accepting(self) -> ReportTarget:
        return self.target("accepting")

    async def received(self) -> list[bytes]:
        return list(BOX)

    async def refusing(self) -> ReportTarget:
        return self.target("refusing")

    async def failing(self) -> ReportTarget:
        return self.target("failing")

    async def hanging(self) -> ReportTarget:
        return self.target("hanging")

    async def timing_out(self) -> ReportTarget:
        return self.target("hanging", timeout=0.02)

    async def misconfigured(self) -> ReportTarget:
        return replace(self.target("accepting", timeout="soon"), blames="config.timeout")


class BoxReporter(CallbackReporter):
    """Keeps every promise."""

    async def report(self, report: bytes, callback: Callback) -> None:
        timeout = callback.config.get("timeout", 60)
        if not isinstance(timeout, int | float):
            raise ReportError("config.timeout must be seconds", again=False)
        try:
            with anyio.fail_after(timeout):
                await self.put(report, urlsplit(callback.url).path[1:])
        except TimeoutError as err:
            raise ReportError("no answer") from err

    async def put(self, report: bytes, name: str) -> None:
        await anyio.lowlevel.checkpoint()
        if name == "hanging":
            await anyio.sleep_forever()
        if name != "accepting":
            raise ReportError(name, again=name == "failing")
        BOX.append(report)


def offering(reporter: Callable[[], CallbackReporter]) -> CallbackReporterType:
    @asynccontextmanager
    async def open_reporter(_: object) -> AsyncGenerator[CallbackReporter]:
        yield reporter()

    return CallbackReporterType(name="box", summary="Reports into a box", open=open_reporter, schemes=("box",))


class TestBoxReporter(CallbackReporterContract):
    """A reporter that keeps every promise passes."""

    @pytest.fixture
    def reporter_type(self) -> CallbackReporterType:
        return offering(BoxReporter)

    @pytest.fixture
    def receiver(self) -> ReportReceiver:
        return BoxReceiver()


# --------------------------------------------------------------------------------------------- those that break one


class DeliversTwice(BoxReporter):
    async def put(self, report: bytes, name: str) -> None:
        await super().put(report, name)
        await super().put(report, name)


class Rewrites(BoxReporter):
    async def put(self, report: bytes, name: str) -> None:
        await super().put(report.decode().encode("ascii", "replace"), name)


class CutsOff(BoxReporter):
    async def put(self, report: bytes, name: str) -> None:
        await super().put(report[:1_000_000], name)


class ChangesTheConfig(BoxReporter):
    async def report(self, report: bytes, callback: Callback) -> None:
        assert isinstance(callback.config, dict)
        callback.config["data"] = report
        await super().report(report, callback)


class Telling(BoxReporter):
    """Raises another error than it should."""

    async def report(self, report: bytes, callback: Callback) -> None:
        try:
            await super().report(report, callback)
        except ReportError as err:
            raise self.told(err, callback.url) from None

    def told(self, err: ReportError, url: str) -> BaseException:
        del url
        return ReportError(str(err), again=not err.again)


class RaisesForeignErrors(Telling):
    def told(self, err: ReportError, url: str) -> BaseException:
        del url
        return OSError(str(err))


class BlamesNothing(Telling):
    def told(self, err: ReportError, url: str) -> BaseException:
        del err, url
        return ReportError("no", again=False)


class NamesThePassword(Telling):
    def told(self, err: ReportError, url: str) -> BaseException:
        return ReportError(f"{url} is no good", again=err.again)


class LogsTheToken(BoxReporter):
    async def report(self, report: bytes, callback: Callback) -> None:
        structlog.get_logger().info("report.started", config=callback.config)
        await super().report(report, callback)


class SharesItsState(BoxReporter):
    content = b""

    async def put(self, report: bytes, name: str) -> None:
        self.content = report
        await anyio.lowlevel.checkpoint()
        await super().put(self.content, name)


class TakesTurns(BoxReporter):
    def __init__(self) -> None:
        self.lock = anyio.Lock()

    async def put(self, report: bytes, name: str) -> None:
        async with self.lock:
            await super().put(report, name)


class IgnoresCancellation(BoxReporter):
    async def put(self, report: bytes, name: str) -> None:
        with anyio.move_on_after(0.6, shield=True):
            await super().put(report, name)


class LosesConnections(BoxReporter):
    def __init__(self) -> None:
        self.free = anyio.Semaphore(50)

    async def put(self, report: bytes, name: str) -> None:
        with anyio.fail_after(1):
            await self.free.acquire()
        await super().put(report, name)
        self.free.release()


class LeavesTasks(BoxReporter):
    async def put(self, report: bytes, name: str) -> None:
        leave_a_task()
        await super().put(report, name)


class DiesOfErrors(BoxReporter):
    dead = False

    async def put(self, report: bytes, name: str) -> None:
        if self.dead:
            raise ReportError("no more")
        try:
            await super().put(report, name)
        except ReportError:
            self.dead = True
            raise


class EndsTogether(BoxReporter):
    """Reporters that share one connection, which the first to close closes for all."""

    opened: ClassVar[int] = 0

    async def put(self, report: bytes, name: str) -> None:
        if not EndsTogether.opened:
            raise ReportError("closed")
        await super().put(report, name)


LEFT: list[object] = []


def leave_a_task() -> None:
    try:
        LEFT.append(asyncio.get_running_loop().create_task(asyncio.sleep(1.5)))
    except RuntimeError:
        trio: Any = sys.modules["trio"]
        LEFT.append(trio.lowlevel.spawn_system_task(trio.sleep, 1.5))


@asynccontextmanager
async def open_together(_: object) -> AsyncGenerator[CallbackReporter]:
    EndsTogether.opened = 1
    yield EndsTogether()
    EndsTogether.opened = 0


GOOD = offering(BoxReporter)

BROKEN: list[tuple[str, CallbackReporterType]] = [
    ("test_report_arrives_as_it_is", offering(DeliversTwice)),
    ("test_report_arrives_as_it_is", offering(Rewrites)),
    ("test_large_report_arrives_whole", offering(CutsOff)),
    ("test_report_leaves_the_callback_alone", offering(ChangesTheConfig)),
    ("test_refusal_is_final", offering(Telling)),
    ("test_refusal_is_final", offering(RaisesForeignErrors)),
    ("test_failure_may_pass", offering(Telling)),
    ("test_silence_ends_in_an_error", offering(Telling)),
    ("test_wrong_config_is_named", offering(BlamesNothing)),
    ("test_secrets_stay_secret", offering(NamesThePassword)),
    ("test_secrets_stay_secret", offering(LogsTheToken)),
    ("test_deliveries_run_side_by_side", offering(SharesItsState)),
    ("test_a_hanging_receiver_delays_no_other", offering(TakesTurns)),
    ("test_cancelled_delivery_ends_at_once", offering(IgnoresCancellation)),
    ("test_cancelled_deliveries_leave_nothing_behind", offering(LosesConnections)),
    ("test_cancelled_deliveries_leave_nothing_behind", offering(LeavesTasks)),
    ("test_reporter_survives_errors", offering(DiesOfErrors)),
    ("test_closing_leaves_nothing_behind", replace(GOOD, open=open_together)),
    ("test_registration_is_complete", replace(GOOD, summary="one\ntwo")),
]


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is not waited for as long as on a busy machine."""
    monkeypatch.setattr("cabochon.testing.callback_reporter_contract.PROMPT_S", 0.5)


async def run(test: Callable[..., Any], offered: CallbackReporterType) -> None:
    async with offered.open(None) as reporter:
        given = {"reporter": reporter, "receiver": BoxReceiver(), "reporter_type": offered, "settings": None}
        result = test(**{name: given[name] for name in inspect.signature(test).parameters})
        if inspect.isawaitable(result):
            await result


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize(("test", "offered"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
async def test_kit_names_the_promise_that_a_reporter_breaks(test: str, offered: CallbackReporterType) -> None:
    """A reporter that breaks one promise fails the test of that promise, in the promise's words."""
    bound = getattr(CallbackReporterContract(), test)
    promise = " ".join((inspect.getdoc(bound) or "").split())

    with pytest.raises(BaseException) as caught:  # noqa: PT011 # whichever way it fails
        await run(bound, offered)

    assert f"Broken promise: {promise}" in caught.value.__notes__


def test_kit_has_a_breaker_for_each_promise() -> None:
    """No test of the kit is without a reporter that fails it."""
    assert {name for name in vars(CallbackReporterContract) if name.startswith("test_")} == {test for test, _ in BROKEN}
