"""Tracked delivery, put together: what a server needs of this room."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.abc
from starlette.requests import Request
from starlette.routing import Route

from cabochon import Backbone
from cabochon.schemas import DataUpdateReport
from cabochon_opal_server.delivery.clocks import steady_clock
from cabochon_opal_server.delivery.finding import Finder
from cabochon_opal_server.delivery.register import Register
from cabochon_opal_server.delivery.reports import Reports
from cabochon_opal_server.delivery.routes import DeliveryParts, routes
from cabochon_opal_server.delivery.settings import DeliverySettings
from cabochon_opal_server.delivery.tracker import Tracker
from cabochon_opal_server.pubsub.hub import Hub

__all__ = ["Delivery"]


class Delivery:
    """Knows who has what.

    Args:
        hub: whose subscribers are meant; it is told to report what it passes on.
        server: the name of this server, unique among those that share the backbone, and the same after a restart.
        clock: gives Unix seconds, and does not jump.

    Attributes:
        watcher: to be told what clients do.
    """

    def __init__(
        self,
        backbone: Backbone,
        hub: Hub,
        settings: DeliverySettings,
        *,
        server: str,
        clock: Callable[[], float] | None = None,
    ) -> None:
        clock = clock or steady_clock()
        self.watcher = Tracker(server, hub, clock)
        self._hub = hub
        self._clock = clock
        self._reports = Reports()
        self._finder = Finder(backbone)
        retention_s = settings.agent_retention.total_seconds()
        self._register = Register(backbone, self.watcher, retention_s=retention_s, clock=clock)
        hub.watchers.append(self.watcher.passed_on)
        hub.renewed.append(self._renew)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the register, until cancelled; the hub has to run already."""
        self.watcher.began(self._hub.number)
        await self._register.run(task_status=task_status)

    def _renew(self) -> None:
        """Forget the numbers of a log that is no more."""
        self.watcher.began(0)
        self._finder.forget()

    def reported(self, request: Request, report: DataUpdateReport) -> None:
        """Take note of a report that came by callback."""
        host = request.client.host if request.client is not None else ""
        self._reports.add(report, host=host, at=self._clock())

    def routes(self, permit: Callable[[Request], None]) -> list[Route]:
        """Make the routes; `permit` raises HTTPException unless the request's token may be used."""
        return routes(
            DeliveryParts(
                tracker=self.watcher,
                register=self._register,
                reports=self._reports,
                finder=self._finder,
                permit=permit,
            )
        )
