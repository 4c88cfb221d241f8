"""A real OPA for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cabochon_opa.testing import RealOpa, opa_or_skip


@pytest.fixture
def opa() -> Iterator[RealOpa]:
    """An empty OPA of the test's own."""
    with RealOpa(opa_or_skip()) as running:
        yield running
