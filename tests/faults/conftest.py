"""A real OPA for each test, and a seed that a failure shows."""

from __future__ import annotations

import os
import random
import sys
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


@pytest.fixture
def chance() -> random.Random:
    """What happens when, and to which document; FAULTS_SEED repeats a run, as far as a real process can be repeated."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
    sys.stderr.write(f"FAULTS_SEED={seed}\n")
    return random.Random(seed)  # noqa: S311 - no secret
