"""A real OpenFGA for every test that asks for one."""

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
