"""Open the log in Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from cabochon import BackboneError, ConfigurationError
from cabochon.urls import masked_url
from cabochon_redis_backbone.log import RedisLog
from cabochon_redis_backbone.settings import RedisBackboneSettings

__all__ = ["open_redis_log"]

log = structlog.get_logger()

_CONNECT_S = 5.0
_ANSWER_S = 15.0
_CONNECTIONS = 16


@asynccontextmanager
async def open_redis_log(settings: RedisBackboneSettings, url: str) -> AsyncGenerator[RedisLog]:
    """Connect, and learn the identity of the log.

    Raises:
        ConfigurationError: the URL is wrong, or Redis does not know the password.
        BackboneError: Redis can't be reached, or refuses.
    """
    shown = masked_url(url)
    options: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_S,
        "socket_timeout": _ANSWER_S,
        "socket_keepalive": True,
        # An append that is tried again may be there twice: only who publishes can decide that.
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        commands = _client(BlockingConnectionPool, url, max_connections=_CONNECTIONS, timeout=_ANSWER_S, **options)
        waiting = _client(ConnectionPool, url, **options)
    except ValueError:
        # Its own message may quote a part of the password.
        raise ConfigurationError(
            f"OPAL_BROADCAST_URI={shown} should be redis://[user:password@]host[:port][/database]"
        ) from None
    try:
        updates = RedisLog(commands, waiting, name=settings.channel, shown=shown)
        try:
            await updates.identify()
        except BackboneError as err:
            if isinstance(err.__cause__, AuthenticationError):
                raise ConfigurationError(
                    f"OPAL_BROADCAST_URI={shown}: Redis does not take the user or the password"
                ) from err
            raise
        bounds = await updates.bounds()
        log.info("backbone.opened", url=shown, floor=bounds.floor, head=bounds.head)
        yield updates
    finally:
        await commands.aclose()
        await waiting.aclose()
        await commands.connection_pool.disconnect()
        await waiting.connection_pool.disconnect()


def _client(pool: type[ConnectionPool], url: str, **options: Any) -> Redis:
    # Its signature has no types.
    return Redis(connection_pool=cast("Any", pool).from_url(url, **options))
