"""A real OpenFGA for every test that asks for one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cabochon_openfga.testing import ENGINE, RealOpenFga


@pytest.fixture(scope="session")
def openfga_path() -> Path:
    """The executable; without one the tests skip, except in CI."""
    return ENGINE.or_skip()


@pytest.fixture
def openfga(openfga_path: Path) -> Iterator[RealOpenFga]:
    """An empty OpenFGA of the test's own, which keeps everything in memory."""
    with RealOpenFga(openfga_path) as running:
        yield running


@pytest.fixture(scope="session")
def shared_in_memory(openfga_path: Path) -> Iterator[RealOpenFga]:
    """One that tests share, each with a store of its own."""
    with RealOpenFga(openfga_path) as running:
        yield running


@pytest.fixture(scope="session")
def shared_in_sqlite(openfga_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOpenFga]:
    """The same, on disk."""
    with RealOpenFga(openfga_path, sqlite=tmp_path_factory.mktemp("openfga") / "openfga.db") as running:
        yield running


@pytest.fixture
def store_name() -> str:
    """The name of a store that nobody else has."""
    return f"test-{uuid.uuid4()}"
