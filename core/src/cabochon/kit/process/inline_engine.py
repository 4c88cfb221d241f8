"""An engine that the agent runs: started before the first write, started again when it dies, stopped last."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.contract.metrics import Metrics
from cabochon.errors import ConfigurationError
from cabochon.kit.process.child import run_process, start_process

__all__ = ["InlineEngine", "LogEvent", "LogLevel", "LogLines", "running"]

log = structlog.get_logger()

_SETTLED_S = 30.0
"""After so long a life, a death is the first of its kind again."""


_UP_WITHIN_S = 8.0
"""Less than the agent gives a service to start: an engine that takes longer is no reason to call the service hung."""

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """What one line says.

    Attributes:
        level: ours.
        message: the engine's own words.
        fields: what goes with them.
    """

    level: LogLevel
    message: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])


class LogLines(Protocol):
    """Reads what one run of an engine writes.

    Attributes:
        first_error: the first error of this run with its reason, "" if there was none.
        panicked: whether the engine has said that it panicked.
    """

    first_error: str
    panicked: bool

    def read(self, line: bytes) -> LogEvent | None:
        """Return what a line says, None if it is not to be logged."""
        ...


class InlineEngine:
    """An engine that the agent runs.

    Args:
        name: what it is called in the log.
        command: the executable and its arguments.
        address: where it will listen, for the log.
        answers: returns once it answers at its address.
        lines: makes a reader of its output, for each run.
        metrics: where its deaths are counted.
        options: the variable that holds its options, named if it does not like them.
        backoff: how long to wait before it is started again.

    Attributes:
        up: set once it has answered for the first time.
        pid: of the process that runs, None between two.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        address: str,
        answers: Callable[[], Awaitable[None]],
        lines: Callable[[], LogLines],
        metrics: Metrics,
        *,
        options: str,
        backoff: Backoff | None = None,
    ) -> None:
        self._name = name
        self._command = command
        self._address = address
        self._answers = answers
        self._lines = lines
        self._metrics = metrics
        self._options = options
        self._backoff = backoff or Backoff(first_s=0.2, longest_s=10.0)
        self._stop = anyio.Event()
        self._end_of_run = anyio.Event()
        self._may_give_up = True
        self.up = anyio.Event()
        self.pid: int | None = None

    def stop(self) -> None:
        """End `run`: the engine is told to end, and killed if it takes too long."""
        self._stop.set()
        self._end_of_run.set()

    def never_give_up(self) -> None:
        """From now on it is started again whatever it ends with: the agent runs, and only starts can be stopped."""
        self._may_give_up = False

    async def wait(self, longest_s: float) -> None:
        """Return once it has answered; after `longest_s` at the latest, and the log says so."""
        with anyio.move_on_after(longest_s):
            await self.up.wait()
        if not self.up.is_set():
            log.warning("inline_engine.slow", engine=self._name, address=self._address, waited_s=longest_s)

    async def run(self) -> None:
        """Run it until `stop`; when this returns, or is cancelled, it is gone.

        Raises:
            ConfigurationError: the very first run ended by itself before it answered; the message says why.
        """
        deaths = 0
        while not self._stop.is_set():
            began = anyio.current_time()
            reader = self._lines()
            code = await self._run_once(reader)
            if self._stop.is_set():
                log.info("inline_engine.stopped", engine=self._name, **_ending(code))
                return
            if code > 0 and self._may_give_up and not self.up.is_set():
                reason = reader.first_error or "it does not say why"
                raise ConfigurationError(
                    f"inline {self._name} ended with code {code} as it was started: {reason}; see {self._options}"
                )
            deaths = 1 if anyio.current_time() - began >= _SETTLED_S else deaths + 1
            wait_s = self._backoff.wait_s(deaths)
            self._metrics.count("inline_engine.exits")
            log.error(
                "inline_engine.exited",
                engine=self._name,
                **_ending(code),
                error=reader.first_error,
                again_in_s=round(wait_s, 3),
            )
            with anyio.move_on_after(wait_s):
                await self._stop.wait()

    async def _run_once(self, reader: LogLines) -> int:
        self._end_of_run = anyio.Event()
        try:
            process = start_process(self._command)
        except OSError as err:
            reader.first_error = f"{self._command[0]} can't be executed: {err.strerror}"
            return 1
        self.pid = process.pid
        code = 0
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._say_when_up, process.pid)
                code = await run_process(process, lambda line: self._heard(reader, line), self._end_of_run)
                tasks.cancel_scope.cancel()
        finally:
            self.pid = None
        return code

    async def _say_when_up(self, pid: int) -> None:
        await self._answers()
        log.info("inline_engine.started", engine=self._name, pid=pid, address=self._address)
        self.up.set()

    def _heard(self, reader: LogLines, line: bytes) -> None:
        panicked_before = reader.panicked
        event = reader.read(line)
        if event is not None:
            self._log_event(event)
        if reader.panicked and not panicked_before:
            # A server survives a panic in a request and may hold a lock for ever after: nobody but we would notice.
            log.error("inline_engine.panicked", engine=self._name, pid=self.pid)
            self._end_of_run.set()

    def _log_event(self, event: LogEvent) -> None:
        match event.level:
            case "debug":
                log.debug("inline_engine.logged", engine=self._name, message=event.message, **event.fields)
            case "info":
                log.info("inline_engine.logged", engine=self._name, message=event.message, **event.fields)
            case "warning":
                log.warning("inline_engine.logged", engine=self._name, message=event.message, **event.fields)
            case "error":
                log.error("inline_engine.logged", engine=self._name, message=event.message, **event.fields)


def _ending(code: int) -> dict[str, int | str]:
    if code >= 0:
        return {"code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:
        return {"signal": str(-code)}


@asynccontextmanager
async def running(engine: InlineEngine) -> AsyncGenerator[None]:
    """Run an engine while this is open; it is up when it opens, or slow and the log says so.

    Raises:
        ConfigurationError: it does not like how it is started.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.wait(_UP_WITHIN_S)
        engine.never_give_up()
        try:
            yield
        finally:
            engine.stop()
