"""One Redis for the tests of a module, and the backend that its client knows."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cabochon_redis_backbone.settings import RedisBackboneSettings
from cabochon_redis_backbone.testing import RedisServer


@pytest.fixture
def anyio_backend() -> str:
    """redis.asyncio knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings() -> RedisBackboneSettings:
    """A fleet of its own for each test."""
    return RedisBackboneSettings(channel=uuid4().hex)
