"""The agent: the plugins that the settings name, opened, wired to the pipeline, and run until told to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio
import anyio.abc
import structlog

from cabochon.agent.services import Services
from cabochon.contract.agent_context import AgentContext, HostedRoutes
from cabochon.contract.http_routes import HttpRoutesType
from cabochon.contract.policy_store import StoreTraits
from cabochon.contract.service import ServiceType
from cabochon.error_groups import bare_configuration_errors, described
from cabochon.plugins.installed import PluginOffer
from cabochon.sync.pipeline import Pipeline

__all__ = ["Agent"]

log = structlog.get_logger()


class Agent:
    """An agent whose plugins are open; `run` keeps the engine in sync, `stop` ends it."""

    def __init__(
        self,
        pipeline: Pipeline,
        services: Iterable[PluginOffer[ServiceType]],
        routes: Iterable[PluginOffer[HttpRoutesType]],
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
        self._services = Services([(one, one.load_settings(environ)) for one in services], self.context)
        self._routes = [(one, one.load_settings(environ)) for one in routes]

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until `stop`. Services of phase `before_store` start first and stop last.

        Raises:
            ConfigurationError: a service could not start because of a setting; what had started is stopped again.
        """
        with bare_configuration_errors():
            async with self._services.running("before_store"), anyio.create_task_group() as tasks:
                await tasks.start(self.pipeline.run)
                async with self._services.running("after_store"):
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
                    "http_routes.failed", routes=routes.name, error=described(err)
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


async def _then_cancel(wait: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
    await wait()
    scope.cancel()
