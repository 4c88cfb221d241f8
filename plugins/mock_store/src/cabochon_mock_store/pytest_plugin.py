"""Pytest fixtures that run an agent offline; loaded in every pytest run, so nothing is imported before it is used.

    def test_revoked_user_is_gone(cabochon):
        cabochon.publish("/users/bob", {"roles": []})
        assert cabochon.document("/users/bob") == {"roles": []}

The real pipeline runs on an engine in memory. `cabochon` is for plain tests, `cabochon_agent` for async ones under
anyio. What an agent starts with is said by overriding the other fixtures, in a test module or in conftest.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cabochon_mock_store.blocking_agent import OfflineAgent
    from cabochon_mock_store.engine import MockEngine
    from cabochon_mock_store.offline_agent import AsyncOfflineAgent

__all__ = [
    "cabochon",
    "cabochon_agent",
    "cabochon_base_data",
    "cabochon_engine",
    "cabochon_plugins",
    "cabochon_policies",
    "cabochon_settings",
]


@pytest.fixture
def cabochon_base_data() -> Mapping[str, Any]:
    """Documents by path that the agent loads first; override it. None by default."""
    return {}


@pytest.fixture
def cabochon_policies() -> Mapping[str, str] | None:
    """Policies by path; override it. By default the agent has none, and they do not count for `ready`."""
    return None


@pytest.fixture
def cabochon_settings() -> Mapping[str, str]:
    """`OPAL_...` variables for the agent; override it. The environment's own are not read."""
    return {}


@pytest.fixture
def cabochon_plugins() -> Sequence[tuple[str, object]]:
    """Short names and modules of plugins to load beside the mock store, such as your own; override it."""
    return ()


@pytest.fixture
def cabochon_engine() -> MockEngine:
    """The engine of the agent; ask for it, or override it, to prepare what an agent meets."""
    from cabochon_mock_store.engine import MockEngine  # noqa: PLC0415

    return MockEngine()


@pytest.fixture
def cabochon(
    cabochon_base_data: Mapping[str, Any],
    cabochon_policies: Mapping[str, str] | None,
    cabochon_settings: Mapping[str, str],
    cabochon_plugins: Sequence[tuple[str, object]],
    cabochon_engine: MockEngine,
) -> Generator[OfflineAgent]:
    """A running agent, ready, for tests without `async`."""
    from cabochon_mock_store.blocking_agent import open_blocking_agent  # noqa: PLC0415

    with open_blocking_agent(
        base_data=cabochon_base_data,
        policies=cabochon_policies,
        settings=cabochon_settings,
        plugins=cabochon_plugins,
        engine=cabochon_engine,
    ) as agent:
        yield agent


@pytest.fixture
async def cabochon_agent(
    anyio_backend: Any,  # noqa: ARG001, ANN401 - it makes anyio run this fixture
    cabochon_base_data: Mapping[str, Any],
    cabochon_policies: Mapping[str, str] | None,
    cabochon_settings: Mapping[str, str],
    cabochon_plugins: Sequence[tuple[str, object]],
    cabochon_engine: MockEngine,
) -> AsyncGenerator[AsyncOfflineAgent]:
    """A running agent, ready, for async tests under anyio; for other runners there is `open_offline_agent`."""
    from cabochon_mock_store.offline_agent import open_offline_agent  # noqa: PLC0415

    async with open_offline_agent(
        base_data=cabochon_base_data,
        policies=cabochon_policies,
        settings=cabochon_settings,
        plugins=cabochon_plugins,
        engine=cabochon_engine,
    ) as agent:
        yield agent
