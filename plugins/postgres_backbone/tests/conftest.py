"""One PostgreSQL for the tests of a module, and the backend that its client knows."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from cabochon_postgres_backbone.settings import PostgresBackboneSettings
from cabochon_postgres_backbone.testing import PostgresServer


@pytest.fixture
def anyio_backend() -> str:
    """psycopg knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def settings() -> PostgresBackboneSettings:
    """A fleet of its own for each test."""
    return PostgresBackboneSettings(channel=uuid4().hex)
