"""A real OPA for every test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cabochon_opa.testing import RealOpa, opa_or_skip


@pytest.fixture(scope="session")
def opa_path() -> Path:
    """The executable; without one the tests skip, except in CI."""
    return opa_or_skip()


@pytest.fixture
def opa(opa_path: Path) -> Iterator[RealOpa]:
    """An empty OPA of the test's own."""
    with RealOpa(opa_path) as running:
        yield running
