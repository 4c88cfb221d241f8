"""The services of one agent: started and stopped in order, and none of them can hold up or break the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import structlog

from cabochon.contract.agent_context import AgentContext
from cabochon.contract.service import ServiceType
from cabochon.error_groups import configuration_error_in, described
from cabochon.errors import ConfigurationError
from cabochon.plugins.installed import PluginOffer

__all__ = ["Services"]

log = structlog.get_logger()

_TIMEOUT_S = 10.0


class Services:
    """Each service with its settings, in the order to start them; they stop in reverse."""

    def __init__(self, services: Sequence[tuple[PluginOffer[ServiceType], Any]], context: AgentContext) -> None:
        self._services = services
        self._context = context

    @asynccontextmanager
    async def running(self, phase: str) -> AsyncGenerator[None]:
        """Run the services of a phase, each in a task of its own; start and stop have 10 s each.

        Raises:
            ConfigurationError: a service could not start because of a setting; those before it are stopped again.
        """
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            entered: list[tuple[str, _Progress]] = []
            try:
                for service, settings in self._services:
                    if service.registration.phase == phase:
                        progress = _Progress()
                        tasks.start_soon(self._serve, service, settings, progress, stop)
                        entered.append((service.name, progress))
                        await self._within(progress.started, service.name, "start")
                        if progress.wrong_setting is not None:
                            raise progress.wrong_setting
                yield
            finally:
                stop.set()
                with anyio.CancelScope(shield=True):
                    for name, progress in reversed(entered):
                        await self._within(progress.over, name, "stop")
                tasks.cancel_scope.cancel()

    async def _serve(
        self,
        service: PluginOffer[ServiceType],
        settings: object,
        progress: _Progress,
        stop: anyio.Event,
    ) -> None:
        try:
            async with service.registration.open(settings, self._context):
                progress.started.set()
                log.info("service.started", service=service.name)
                await stop.wait()
        except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a service raises is the service's
            wrong_setting = _wrong_setting(err)
            if wrong_setting is not None and not progress.started.is_set():
                # The operator has to see this one: without what was asked for, the agent is not what was meant.
                progress.wrong_setting = wrong_setting
                return
            self._context.metrics.count("services.failed")
            log.error(  # noqa: TRY400 - the traceback is the service author's business, at debug level
                "service.failed", service=service.name, error=described(err)
            )
        finally:
            progress.started.set()
            progress.over.set()

    async def _within(self, event: anyio.Event, name: str, what: str) -> None:
        with anyio.move_on_after(_TIMEOUT_S):
            await event.wait()
            return
        self._context.metrics.count("services.hung")
        log.error("service.hung", service=name, during=what, timeout_s=_TIMEOUT_S)


class _Progress:
    """How far a service has come; `started` is set too when it could not start."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.over = anyio.Event()
        self.wrong_setting: ConfigurationError | None = None


def _wrong_setting(err: Exception) -> ConfigurationError | None:
    """Return the configuration error that this is, or that a task group of the service has wrapped."""
    if isinstance(err, BaseExceptionGroup):
        return configuration_error_in(cast("BaseExceptionGroup[BaseException]", err))
    return err if isinstance(err, ConfigurationError) else None
