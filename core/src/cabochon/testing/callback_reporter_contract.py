"""What every callback reporter must do, as tests that its author runs by subclassing."""

from __future__ import annotations

import copy
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

import anyio
import pytest

from cabochon.contract.callback_reporter import Callback, CallbackReporter, CallbackReporterType
from cabochon.errors import ReportError
from cabochon.testing._contract import Contract
from cabochon.testing._watch import Watch

__all__ = ["CallbackReporterContract", "ReportReceiver", "ReportTarget"]

PROMPT_S = 5.0
"""What should happen at once must happen within so many seconds, on a busy machine too."""

REPORT = (
    b'{"update_id":"J\xc3\xb6rg-1","reports":[{"entry":{"url":"http://data.example/users","config":null,'
    b'"topics":["policy_data"],"dst_path":"/users","save_method":"PUT"},"fetched":true,"saved":true,"hash":"ab"}]}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTarget:
    """A receiver of the reporter under test.

    Attributes:
        callback: what the reporter is given.
        secrets: texts in its URL and configuration that no message and no log may hold.
        blames: what the message about a wrong configuration must name.
    """

    callback: Callback
    secrets: tuple[str, ...] = ()
    blames: str = ""


class ReportReceiver(ABC):
    """Who receives from the reporter under test: the author of a reporter sets one up, as real as can be.

    Put a password, a token in the URL and whatever else your reporter knows as a secret into the callbacks, and list
    them in `ReportTarget.secrets`.
    """

    @abstractmethod
    async def accepting(self) -> ReportTarget:
        """Return a target that takes every report."""

    @abstractmethod
    async def received(self) -> list[bytes]:
        """Return the reports that `accepting` took so far, as they came."""

    @abstractmethod
    async def refusing(self) -> ReportTarget:
        """Return a target that refuses, now and later."""

    @abstractmethod
    async def failing(self) -> ReportTarget:
        """Return a target that is down or overloaded, and may take the report later."""

    @abstractmethod
    async def hanging(self) -> ReportTarget:
        """Return a target that never answers, with time enough for the test to cancel it."""

    @abstractmethod
    async def timing_out(self) -> ReportTarget:
        """Return a target that never answers, and whose timeout is well under a second."""

    @abstractmethod
    async def misconfigured(self) -> ReportTarget:
        """Return a target with a wrong member in its configuration, named in `blames`."""


class CallbackReporterContract(Contract):
    """What every callback reporter must do; subclass it and provide `reporter_type` and `receiver`."""

    @pytest.fixture
    def reporter_type(self) -> CallbackReporterType:
        """The registration that the plugin offers."""
        raise NotImplementedError("return the CallbackReporterType under test")

    @pytest.fixture
    def receiver(self) -> ReportReceiver:
        """Who receives."""
        raise NotImplementedError("return or yield a ReportReceiver")

    @pytest.fixture
    def settings(self, reporter_type: CallbackReporterType) -> object:
        """What `open` is given; the settings' defaults unless overridden."""
        return reporter_type.settings() if reporter_type.settings is not None else None

    @pytest.fixture
    async def reporter(self, reporter_type: CallbackReporterType, settings: object) -> AsyncGenerator[CallbackReporter]:
        """The reporter, open."""
        async with reporter_type.open(settings) as reporter:
            yield reporter

    # ---------------------------------------------------------------------------------------------------- delivery

    async def test_report_arrives_as_it_is(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A report arrives once, byte for byte.
        """
        await _deliver(reporter, await receiver.accepting(), REPORT)

        assert [REPORT] == await receiver.received()

    async def test_large_report_arrives_whole(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A report of some megabytes arrives whole.
        """
        report = b'{"update_id":"' + b"x" * 3_000_000 + b'","reports":[]}'
        await _deliver(reporter, await receiver.accepting(), report)

        assert [report] == await receiver.received()

    async def test_report_leaves_the_callback_alone(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A delivery does not change the callback's configuration, which the register holds.
        """
        for target in (await receiver.accepting(), await receiver.failing()):
            before = copy.deepcopy(dict(target.callback.config))
            with suppress(ReportError):
                await reporter.report(REPORT, target.callback)
            assert before == dict(target.callback.config)

    # ------------------------------------------------------------------------------------------------------- errors

    async def test_refusal_is_final(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        What the receiver refuses raises ReportError with `again` false, so that nobody knocks in vain.
        """
        error = await _error(reporter, await receiver.refusing())

        assert not error.again

    async def test_failure_may_pass(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A receiver that is down or overloaded raises ReportError with `again` true, so that the core tries again.
        """
        error = await _error(reporter, await receiver.failing())

        assert error.again

    async def test_silence_ends_in_an_error(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A receiver that never answers raises ReportError in the reporter's own time, with `again` true.
        """
        error = await _error(reporter, await receiver.timing_out())

        assert error.again

    async def test_wrong_config_is_named(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A wrong configuration raises ReportError with `again` false, and the message names the member.
        """
        target = await receiver.misconfigured()
        error = await _error(reporter, target)

        assert not error.again
        assert target.blames in str(error)

    async def test_secrets_stay_secret(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        No secret of a callback is in an error's message, its attributes, its causes, or a log.
        """
        for target in [await receiver.accepting(), *await _troubled(receiver)]:
            with Watch() as watch:
                shown = ""
                try:
                    await reporter.report(REPORT, target.callback)
                except ReportError as err:
                    shown = "".join(traceback.format_exception(err)) + repr(err) + repr(vars(err))
            assert [] == [secret for secret in target.secrets if secret in shown + watch.logged]

    # --------------------------------------------------------------------------------- side by side, cancelled, closed

    async def test_deliveries_run_side_by_side(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        Many deliveries at the same time each arrive, once.
        """
        reports = [b'{"update_id":"%d","reports":[]}' % number for number in range(20)]
        target = await receiver.accepting()
        with anyio.fail_after(PROMPT_S):
            async with anyio.create_task_group() as tasks:
                for report in reports:
                    tasks.start_soon(reporter.report, report, target.callback)

        assert Counter(reports) == Counter(await receiver.received())

    async def test_a_hanging_receiver_delays_no_other(
        self, reporter: CallbackReporter, receiver: ReportReceiver
    ) -> None:
        """
        While some receivers never answer, others get their reports at once.
        """
        hanging, accepting = await receiver.hanging(), await receiver.accepting()
        with anyio.fail_after(PROMPT_S):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(reporter.report, REPORT, hanging.callback)
                await anyio.wait_all_tasks_blocked()
                await _deliver(reporter, accepting, REPORT)
                tasks.cancel_scope.cancel()

        assert [REPORT] == await receiver.received()

    async def test_cancelled_delivery_ends_at_once(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        A delivery that is cancelled ends at once.
        """
        target = await receiver.hanging()
        with Watch() as watch:
            with anyio.move_on_after(0.05):
                await reporter.report(REPORT, target.callback)

        assert watch.duration_s < PROMPT_S / 2

    async def test_cancelled_deliveries_leave_nothing_behind(
        self, reporter: CallbackReporter, receiver: ReportReceiver
    ) -> None:
        """
        However many deliveries were cancelled, no task is left of them and the next one arrives.
        """
        hanging, accepting = await receiver.hanging(), await receiver.accepting()
        with Watch() as watch:
            for _ in range(10):
                with anyio.move_on_after(0.03):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(15):
                            tasks.start_soon(reporter.report, REPORT, hanging.callback)
            await watch.tasks_end(within_s=1.0)

        assert set() == watch.tasks_left
        await _deliver(reporter, accepting, REPORT)
        assert [REPORT] == await receiver.received()

    async def test_reporter_survives_errors(self, reporter: CallbackReporter, receiver: ReportReceiver) -> None:
        """
        After every kind of failure the next report arrives.
        """
        accepting = await receiver.accepting()
        for arrived, target in enumerate(await _troubled(receiver), start=1):
            await _error(reporter, target)
            await _deliver(reporter, accepting, REPORT)
            assert [REPORT] * arrived == await receiver.received()

    async def test_closing_leaves_nothing_behind(
        self, reporter_type: CallbackReporterType, settings: object, receiver: ReportReceiver
    ) -> None:
        """
        A reporter that is closed leaves no task, and can be opened again; two of them do not share their end.
        """
        accepting = await receiver.accepting()
        with Watch() as watch:
            async with reporter_type.open(settings) as lasting:
                for _ in range(2):
                    async with reporter_type.open(settings) as passing:
                        await _deliver(passing, accepting, REPORT)
                await _deliver(lasting, accepting, REPORT)
            await watch.tasks_end(within_s=1.0)

        assert set() == watch.tasks_left
        assert [REPORT] * 3 == await receiver.received()

    # ------------------------------------------------------------------------------------------------- registration

    def test_registration_is_complete(self, reporter_type: CallbackReporterType) -> None:
        """
        The registration has a name of one word, a summary of one line, and schemes in lower case without `:`.
        """
        assert reporter_type.name.strip()
        assert not any(char.isspace() for char in reporter_type.name)
        assert reporter_type.summary.strip()
        assert "\n" not in reporter_type.summary
        for scheme in reporter_type.schemes:
            assert scheme == scheme.lower().rstrip(":/")


async def _deliver(reporter: CallbackReporter, target: ReportTarget, report: bytes) -> None:
    with anyio.fail_after(PROMPT_S):
        await reporter.report(report, target.callback)


async def _error(reporter: CallbackReporter, target: ReportTarget) -> ReportError:
    with anyio.fail_after(PROMPT_S):
        try:
            await reporter.report(REPORT, target.callback)
        except ReportError as err:
            return err
    pytest.fail("the delivery raised no ReportError")


async def _troubled(receiver: ReportReceiver) -> list[ReportTarget]:
    return [
        await receiver.refusing(),
        await receiver.failing(),
        await receiver.timing_out(),
        await receiver.misconfigured(),
    ]
