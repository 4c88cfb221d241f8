"""Keeps one OPA running: started again when it dies, until it is told to stop."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Sequence

import anyio
import structlog

from cabochon.backoff import Backoff
from cabochon.errors import ConfigurationError
from cabochon.metrics import Metrics
from cabochon_opa.inline.address import ListenAddress
from cabochon_opa.inline.health import wait_until_up
from cabochon_opa.inline.log_lines import LogEvent, LogReader
from cabochon_opa.inline.process import run_process, start_process
from cabochon_opa.inline.settings import LogFormat

__all__ = ["InlineOpa"]

log = structlog.get_logger()

_SETTLED_S = 30.0
"""After so long a life, a death is the first of its kind again."""


class InlineOpa:
    """An OPA that the agent runs.

    Args:
        command: the executable and its arguments.
        address: where it will listen.
        log_format: what of its log is logged.
        metrics: where its deaths are counted.
        tls: how to speak to it, see `wait_until_up`.
        backoff: how long to wait before it is started again.

    Attributes:
        up: set once it has answered for the first time.
        pid: of the process that runs, None between two.
    """

    def __init__(
        self,
        command: Sequence[str],
        address: ListenAddress,
        log_format: LogFormat,
        metrics: Metrics,
        *,
        tls: ssl.SSLContext | bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        self._command = command
        self._address = address
        self._log_format: LogFormat = log_format
        self._metrics = metrics
        self._tls = tls
        self._backoff = backoff or Backoff(first_s=0.2, longest_s=10.0)
        self._stop = anyio.Event()
        self._end_of_run = anyio.Event()
        self._may_give_up = True
        self.up = anyio.Event()
        self.pid: int | None = None

    def stop(self) -> None:
        """End `run`: OPA is told to end, and killed if it takes too long."""
        self._stop.set()
        self._end_of_run.set()

    def never_give_up(self) -> None:
        """From now on OPA is started again whatever it ends with: the agent runs, and only starts can be stopped."""
        self._may_give_up = False

    async def run(self) -> None:
        """Run OPA until `stop`; when this returns, or is cancelled, it is gone.

        Raises:
            ConfigurationError: the very first OPA ended by itself before it answered: it says what it does not like.
        """
        deaths = 0
        while not self._stop.is_set():
            began = anyio.current_time()
            reader = LogReader(self._log_format)
            code = await self._run_once(reader)
            if self._stop.is_set():
                log.info("inline_opa.stopped", **_ending(code))
                return
            if code > 0 and self._may_give_up and not self.up.is_set():
                reason = reader.first_error or "it does not say why"
                raise ConfigurationError(
                    f"inline OPA ended with code {code} as it was started: {reason}; see OPAL_INLINE_OPA_CONFIG"
                )
            deaths = 1 if anyio.current_time() - began >= _SETTLED_S else deaths + 1
            wait_s = self._backoff.wait_s(deaths)
            self._metrics.count("inline_opa.exits")
            log.error("inline_opa.exited", **_ending(code), error=reader.first_error, again_in_s=round(wait_s, 3))
            with anyio.move_on_after(wait_s):
                await self._stop.wait()

    async def _run_once(self, reader: LogReader) -> int:
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
        await wait_until_up(self._address, self._tls)
        log.info("inline_opa.started", pid=pid, address=str(self._address))
        self.up.set()

    def _heard(self, reader: LogReader, line: bytes) -> None:
        panicked_before = reader.panicked
        event = reader.read(line)
        if event is not None:
            _log(event)
        if reader.panicked and not panicked_before:
            # OPA survives a panic in a request and may hold a lock for ever after: nobody but we would notice.
            log.error("inline_opa.panicked", pid=self.pid)
            self._end_of_run.set()


def _log(event: LogEvent) -> None:
    match event.level:
        case "debug":
            log.debug("inline_opa.logged", message=event.message, **event.fields)
        case "info":
            log.info("inline_opa.logged", message=event.message, **event.fields)
        case "warning":
            log.warning("inline_opa.logged", message=event.message, **event.fields)
        case "error":
            log.error("inline_opa.logged", message=event.message, **event.fields)


def _ending(code: int) -> dict[str, int | str]:
    if code >= 0:
        return {"code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:
        return {"signal": str(-code)}
