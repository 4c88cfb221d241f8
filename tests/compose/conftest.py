"""The example's services, started once for all tests that ask them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .local_fleet import LocalFleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFleet]:
    """Every service of compose.yaml, healthy by its own healthcheck; each test leaves it so."""
    with LocalFleet(tmp_path_factory.mktemp("fleet")) as fleet:
        for name, service in fleet.compose.services.items():
            if service.healthcheck is not None:
                fleet.wait_until_healthy(name)
        yield fleet
