"""The agent: the plugins that the settings name, opened, wired to the pipeline, and run until told to stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import anyio
import anyio.abc
import structlog

from cabochon.contract.agent_context import AgentContext, HostedRoutes
from cabochon.contract.http_routes import HttpRoutesType
from cabochon.contract.metrics import Metrics
from cabochon.contract.policy_store import StoreTraits
from cabochon.contract.service import ServiceType
from cabochon.error_groups import bare_configuration_errors, configuration_error_in
from cabochon.errors import ConfigurationError
from cabochon.plugins.installed import Registered
from cabochon.sync.pipeline import Pipeline

__all__ = ["Agent"]

log = structlog.get_logger()

T = TypeVar("T")

_SERVICE_TIMEOUT_S = 10.0


class Agent:
    """An agent whose plugins are open; `run` keeps the engine in sync, `stop` ends it."""

    def __init__(
        self,
        pipeline: Pipeline,
        services: Iterable[Registered[ServiceType]],
        routes: Iterable[Registered[HttpRoutesType]],
        environ: Mapping[str, str] | None,
        policy_store_type: str,
        store_traits: StoreTraits,
    ) -> None:
        self.pipeline = pipeline
        self.context = AgentContext(
            policy_store=pipeline.policy_store,
            policy_store_type=policy_store_type,
            store_traits=store_traits,
            log=pipeline.log_now,
            callbacks=pipeline.register,
            metrics=pipeline.metrics,
            traces=pipeline.traces,
            refresh_data=pipeline.refresh_data,
            refresh_policies=pipeline.refresh_policies,
            http_routes=self._hosted_routes,
            connectivity=pipeline.connectivity,
        )
        self._services = [(service, service.load_settings(environ)) for service in services]
        self._routes = [(one, one.load_settings(environ)) for one in routes]

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`. Services of phase `before_store` start first and stop last.

        Raises:
            ConfigurationError: a service could not start because of a setting; what had started is stopped again.
        """
        with bare_configuration_errors():
            async with self._phase("before_store"), anyio.create_task_group() as tasks:
                await tasks.start(self.pipeline.run)
                async with self._phase("after_store"):
                    task_status.started()
                    await self.pipeline.stopping()
                # What is left of the task group is the pipeline, which is finishing.

    async def run_until_source_ends(self) -> None:
        """Run until the source has nothing more to give and all of it has ended, or until `stop`.

        Raises:
            ConfigurationError: as `run` does.
        """
        with bare_configuration_errors():
            async with anyio.create_task_group() as tasks:
                await tasks.start(self.run)
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(_then_cancel, self.pipeline.source_ended, waiting.cancel_scope)
                    waiting.start_soon(_then_cancel, self.pipeline.stopping, waiting.cancel_scope)
                self.stop()

    def stop(self) -> None:
        """Take nothing in any more, finish, and end `run`."""
        self.pipeline.stop()

    def _hosted_routes(self) -> list[HostedRoutes]:
        hosted: list[HostedRoutes] = []
        for routes, settings in self._routes:
            try:
                app = routes.registration.app(settings, self.context)
            except Exception as err:  # noqa: BLE001 - a guarded edge: one plugin's routes must not cost the others theirs
                self.context.metrics.count("http_routes.failed")
                log.error(  # noqa: TRY400 - the traceback is the plugin author's business
                    "http_routes.failed", routes=routes.name, error=_described(err)
                )
            else:
                offer = routes.registration
                hosted.append(
                    HostedRoutes(
                        name=routes.name,
                        mount_path=offer.mount_path,
                        app=app,
                        public=offer.public,
                        openapi=offer.openapi,
                    )
                )
        return hosted

    @asynccontextmanager
    async def _phase(self, phase: str) -> AsyncGenerator[None]:
        """Run the services of a phase, each in a task of its own, so that none can hold up the rest."""
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            entered: list[tuple[str, _Progress]] = []
            try:
                for service, settings in self._services:
                    if service.registration.phase == phase:
                        progress = _Progress()
                        tasks.start_soon(self._serve, service, settings, progress, stop)
                        entered.append((service.name, progress))
                        await _within(progress.started, service.name, "start", self.context.metrics)
                        if progress.wrong_setting is not None:
                            raise progress.wrong_setting
                yield
            finally:
                stop.set()
                with anyio.CancelScope(shield=True):
                    for name, progress in reversed(entered):
                        await _within(progress.over, name, "stop", self.context.metrics)
                tasks.cancel_scope.cancel()

    async def _serve(
        self,
        service: Registered[ServiceType],
        settings: Any,  # noqa: ANN401 - each service has a model of its own
        progress: _Progress,
        stop: anyio.Event,
    ) -> None:
        try:
            async with service.registration.open(settings, self.context):
                progress.started.set()
                log.info("service.started", service=service.name)
                await stop.wait()
        except Exception as err:  # noqa: BLE001 - a guarded edge: whatever a service raises is the service's
            wrong_setting = _wrong_setting(err)
            if wrong_setting is not None and not progress.started.is_set():
                # The operator has to see this one: without what was asked for, the agent is not what was meant.
                progress.wrong_setting = wrong_setting
                return
            self.context.metrics.count("services.failed")
            log.error(  # noqa: TRY400 - the traceback is the service author's business, at debug level
                "service.failed", service=service.name, error=_described(err)
            )
        finally:
            progress.started.set()
            progress.over.set()


class _Progress:
    """How far a service has come; `started` is set too when it could not start."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.over = anyio.Event()
        self.wrong_setting: ConfigurationError | None = None


def _described(err: BaseException) -> str:
    """Name an error; a group of them, such as a task group makes, says nothing itself."""
    if isinstance(err, BaseExceptionGroup):
        return "; ".join(_described(one) for one in cast("BaseExceptionGroup[BaseException]", err).exceptions)
    return f"{type(err).__name__}: {err}"


def _wrong_setting(err: Exception) -> ConfigurationError | None:
    """Return the configuration error that this is, or that a task group of the service has wrapped."""
    if isinstance(err, BaseExceptionGroup):
        return configuration_error_in(cast("BaseExceptionGroup[BaseException]", err))
    return err if isinstance(err, ConfigurationError) else None


async def _within(event: anyio.Event, name: str, what: str, metrics: Metrics) -> None:
    with anyio.move_on_after(_SERVICE_TIMEOUT_S):
        await event.wait()
        return
    metrics.count("services.hung")
    log.error("service.hung", service=name, during=what, timeout_s=_SERVICE_TIMEOUT_S)


async def _then_cancel(wait: Any, scope: anyio.CancelScope) -> None:  # noqa: ANN401 - a coroutine function
    await wait()
    scope.cancel()
