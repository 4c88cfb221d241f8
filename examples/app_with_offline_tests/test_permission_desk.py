"""The application's tests: a real agent keeps a mock engine in sync, and no network is used."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from permission_desk import CALLBACK, PermissionDesk

from cabochon_mock_store.blocking_agent import OfflineAgent


@pytest.fixture
def cabochon_base_data() -> Mapping[str, Any]:
    """What the agent finds at its start."""
    return {"/projects": {"apollo": {"members": {"ann": ["owner"], "bob": ["reader"]}}, "gemini": {"members": {}}}}


@pytest.fixture
def desk(cabochon: OfflineAgent) -> PermissionDesk:
    """The application, publishing to the agent and reading from its engine."""
    return PermissionDesk(cabochon.publish_update, cabochon.document)


def test_granted_role_is_known_to_the_engine(desk: PermissionDesk) -> None:
    """A grant keeps the roles that are there."""
    desk.grant("bob", "writer", project="apollo")

    assert ["reader", "writer"] == desk.roles("bob", project="apollo")
    assert ["owner"] == desk.roles("ann", project="apollo")


def test_revocation_happens_in_all_projects_at_once(desk: PermissionDesk, cabochon: OfflineAgent) -> None:
    """One update, one transaction: no project is forgotten, none comes later."""
    desk.grant("bob", "owner", project="gemini")
    before = len(cabochon.transactions)

    desk.revoke("bob", projects=["apollo", "gemini"])

    assert ([], []) == (desk.roles("bob", project="apollo"), desk.roles("bob", project="gemini"))
    assert 1 == len(cabochon.transactions) - before


def test_change_is_in_force_once_an_agent_reports_it(desk: PermissionDesk, cabochon: OfflineAgent) -> None:
    """The application believes the agent's report, nothing else."""
    update_id = desk.revoke("bob", projects=["apollo"])
    assert not desk.in_force(update_id)

    deliver_reports(cabochon, desk)

    assert desk.in_force(update_id)


def test_failed_import_is_in_force_after_its_retry(desk: PermissionDesk, cabochon: OfflineAgent) -> None:
    """The directory is down; the agent tries again by itself, and only then the change counts."""
    url = cabochon.serve("https://directory.example/gemini", {"eve": ["owner"]}, fail_times=1)
    update_id = desk.import_members("gemini", url)
    assert not cabochon.report_on(update_id).saved

    deliver_reports(cabochon, desk)

    assert ["owner"] == desk.roles("eve", project="gemini")
    assert desk.in_force(update_id)


def test_engine_that_loses_its_state_loses_no_permission(desk: PermissionDesk, cabochon: OfflineAgent) -> None:
    """The agent writes everything back; the application has nothing to do."""
    desk.grant("bob", "writer", project="apollo")

    cabochon.engine.lose_state()
    desk.grant("eve", "reader", project="gemini")

    assert ["reader", "writer"] == desk.roles("bob", project="apollo")


def deliver_reports(cabochon: OfflineAgent, desk: PermissionDesk) -> None:
    """Hand the application what the agent posted to its callback."""
    cabochon.synced()
    for received in cabochon.reports:
        if received.url == CALLBACK:
            desk.on_report(msgspec.to_builtins(received.report))
