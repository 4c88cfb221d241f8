"""The backbones that two servers share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from cabochon_postgres_backbone.testing import PostgresServer
from cabochon_redis_backbone.testing import RedisServer

SharedBackbone: TypeAlias = RedisServer | PostgresServer


@pytest.fixture(params=["redis", "postgres"])
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SharedBackbone]:
    """A real Redis or Postgres, empty and started."""
    server: SharedBackbone = RedisServer(tmp_path) if request.param == "redis" else PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        if isinstance(server, PostgresServer):
            server.remove()
