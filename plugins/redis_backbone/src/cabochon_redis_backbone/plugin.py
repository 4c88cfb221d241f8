"""What this plugin offers: the backbone `redis`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from cabochon import Backbone, BackboneType, hookimpl
from cabochon_redis_backbone.settings import RedisBackboneSettings


def open_redis(settings: RedisBackboneSettings, url: str) -> AbstractAsyncContextManager[Backbone]:
    """Open the log; the client is imported only now."""
    from cabochon_redis_backbone.open_log import open_redis_log  # noqa: PLC0415

    return open_redis_log(settings, url)


@hookimpl
def cabochon_backbones() -> Iterable[BackboneType]:
    """Offer the backbone `redis`."""
    yield BackboneType(
        name="redis",
        summary="The update log of several servers, in Redis",
        open=open_redis,
        schemes=("redis", "rediss"),
        settings=RedisBackboneSettings,
    )
