"""A real OPA for every test that asks for one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cabochon_opa.testing import NoOpaError, RealOpa, opa_binary


@pytest.fixture(scope="session")
def opa_path() -> Path:
    """The executable; without one the tests skip, except in CI."""
    try:
        return opa_binary()
    except NoOpaError as err:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip(str(err))
        pytest.fail(str(err))


@pytest.fixture
def opa(opa_path: Path) -> Iterator[RealOpa]:
    """An empty OPA of the test's own."""
    with RealOpa(opa_path) as running:
        yield running
