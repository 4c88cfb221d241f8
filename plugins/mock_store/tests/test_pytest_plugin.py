"""The pytest fixtures: a whole agent in a test, offline, with or without async."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cabochon_mock_store.blocking_agent import OfflineAgent, open_blocking_agent
from cabochon_mock_store.engine import MockEngine
from cabochon_mock_store.offline_agent import AsyncOfflineAgent

BASE: dict[str, Any] = {"/users": {"bob": {"roles": ["admin"], "rate": 0.1}}, "/tenants": {}}
POLICIES = {"authz.rego": "package authz"}


@pytest.fixture
def cabochon_base_data() -> Mapping[str, Any]:
    return BASE


@pytest.fixture
def cabochon_policies() -> Mapping[str, str]:
    return POLICIES


# ------------------------------------------------------------------------------------------------------- without async


def test_agent_starts_ready_with_its_base_data(cabochon: OfflineAgent) -> None:
    """Base data are fetched in-process and policies are there when the test begins."""
    assert BASE["/users"] == cabochon.document("/users")
    assert POLICIES == cabochon.policies
    assert ["memory:/users", "memory:/tenants"] == cabochon.fetches
    assert (True, True, True) == (cabochon.log.ready, cabochon.log.healthy, cabochon.log.in_sync)
    assert cabochon.health["ready"]


def test_published_document_is_there_when_publish_returns(cabochon: OfflineAgent) -> None:
    """Plain values go in and come out: what was 0.1 is 0.1."""
    record = cabochon.publish("/users/eve", {"rate": 0.1})

    assert record.success
    assert {"rate": 0.1} == cabochon.document("/users/eve")
    assert cabochon.transactions[-1] == record
    assert cabochon.document("/users/nobody") is None
    assert [] == cabochon.document("/users/nobody", [])


def test_patch_is_applied(cabochon: OfflineAgent) -> None:
    """A JSON patch needs no more than its operations."""
    cabochon.publish_patch("/users/bob", [{"op": "add", "path": "/roles/-", "value": "auditor"}])

    assert ["admin", "auditor"] == cabochon.document("/users/bob/roles")


def test_update_of_several_entries_fetches_what_is_served(cabochon: OfflineAgent) -> None:
    """An update as production publishes it, its URLs answered by the test, on whatever host."""
    url = cabochon.serve("https://directory.example/eve", {"roles": ["reader"]})
    entries = [
        {"url": url, "dst_path": "/users/eve"},
        {"url": "", "dst_path": "/tenants/acme", "data": {"plan": "pro"}},
    ]

    record = cabochon.publish_update({"id": "u1", "entries": entries})

    assert ("u1", True) == (record.id, record.success)
    assert {"roles": ["reader"]} == cabochon.document("/users/eve")
    assert {"plan": "pro"} == cabochon.document("/tenants/acme")


def test_url_that_is_not_served_fails_with_advice(cabochon: OfflineAgent) -> None:
    """No test goes to the network by accident."""
    record = cabochon.publish_update({"entries": [{"url": "https://example.com/x", "dst_path": "/x"}]})

    assert not record.success
    assert "https://example.com/x is not served by this test" in record.error
    assert not cabochon.log.healthy


def test_source_that_fails_is_retried(cabochon: OfflineAgent) -> None:
    """`synced` waits for the retry, the report and its follow-up can be asserted on."""
    url = cabochon.serve("memory:/flaky", {"a": 1}, fail_times=1)

    record = cabochon.publish_update({"id": "u1", "entries": [{"url": url, "dst_path": "/flaky"}]})
    first = cabochon.report_on("u1")
    cabochon.synced()

    assert not record.success
    assert not first.saved
    assert cabochon.report_on("u1", follow_up=True).saved
    assert {"a": 1} == cabochon.document("/flaky")


def test_report_tells_of_each_entry(cabochon: OfflineAgent) -> None:
    """Reports arrive parsed; a callback that an update names gets it, too."""
    callback = "https://app.example/done"
    entry = {"url": "", "dst_path": "/a", "data": 1}
    cabochon.publish_update({"id": "u1", "entries": [entry], "callback": {"callbacks": [callback]}})
    cabochon.synced()

    about = [one for one in cabochon.reports if one.report.update_id == "u1"]
    assert {callback, "memory:reports"} == {one.url for one in about}
    assert all(one.saved and one.report.reports[0].entry.dst_path == "/a" for one in about)


def test_refused_report_is_retried(cabochon: OfflineAgent) -> None:
    """A callback can be told to refuse."""
    cabochon.refuse_reports()
    cabochon.publish("/a", 1, update_id="u1")

    assert cabochon.report_on("u1").saved


def test_engine_can_be_broken(cabochon: OfflineAgent) -> None:
    """Failures are injected into the engine, from the test's own thread."""
    cabochon.engine.reject_data = lambda change: "no" if getattr(change, "path", ()) == ("a",) else None
    refused = cabochon.publish("/a", 1)
    cabochon.engine.reject_data = None
    healed = cabochon.publish("/a", 2)

    assert (False, "/a: no") == (refused.success, refused.error)
    assert healed.success
    assert {"a": 2, "tenants": {}, "users": BASE["/users"]} == cabochon.document("/")


def test_emptied_engine_is_filled_again(cabochon: OfflineAgent) -> None:
    """The agent notices within moments, as it is set up here."""
    cabochon.engine.lose_state()
    cabochon.publish("/a", 1)

    assert BASE["/users"] == cabochon.document("/users")
    assert POLICIES == cabochon.policies


def test_policies_can_change(cabochon: OfflineAgent) -> None:
    """New policies replace the old ones."""
    cabochon.change_policies({"other.rego": "package other"})

    assert {"other.rego": "package other"} == cabochon.policies


def test_sent_updates_are_waited_for_by_id(cabochon: OfflineAgent) -> None:
    """Without waiting at once: two updates of one id are two."""
    for value in (1, 2):
        assert "u1" == cabochon.send({"id": "u1", "entries": [{"url": "", "dst_path": "/a", "data": value}]})

    assert cabochon.wait_for("u1").success
    assert 2 == cabochon.document("/a")


def test_wrong_updates_are_the_tests_mistake(cabochon: OfflineAgent) -> None:
    """They are raised where they are published."""
    with pytest.raises(msgspec.ValidationError):
        cabochon.publish_update({"entries": [{"dst_path": "/a"}]})
    with pytest.raises(ValueError, match="no entries"):
        cabochon.publish_update({"entries": []})


def test_waiting_in_vain_says_why(cabochon: OfflineAgent) -> None:
    """The message has what is out of sync."""
    cabochon.publish_update({"id": "u1", "entries": [{"url": "memory:/none", "dst_path": "/none"}]})

    with pytest.raises(
        TimeoutError, match=r"in vain until it rains.*healthy is False.*/none: memory:/none is not served"
    ):
        cabochon.until(lambda: False, "it rains", within_s=0.05)


def test_next_life_meets_what_the_last_one_left() -> None:
    """Agents can share an engine; what nobody wrote again is gone."""
    engine = MockEngine()
    with open_blocking_agent(base_data={"/a": 1, "/b": 2}, engine=engine):
        pass

    with open_blocking_agent(base_data={"/a": 3}, engine=engine) as agent:
        agent.until(lambda: engine.get("/b") is None)
        assert 3 == agent.document("/a")


class TestSettings:
    """Fixtures are overridden where they are needed."""

    @pytest.fixture
    def cabochon_settings(self) -> Mapping[str, str]:
        return {"OPAL_SHOULD_REPORT_ON_DATA_UPDATES": "false"}

    def test_settings_reach_the_agent(self, cabochon: OfflineAgent) -> None:
        """As the environment's variables would."""
        cabochon.publish("/a", 1)
        cabochon.synced()

        assert [] == cabochon.reports


# ---------------------------------------------------------------------------------------------------------- with async


async def test_async_agent_has_the_same_methods(cabochon_agent: AsyncOfflineAgent) -> None:
    """On each of anyio's backends."""
    record = await cabochon_agent.publish("/users/eve", {"roles": []})
    await cabochon_agent.synced()

    assert record.success
    assert {"roles": []} == cabochon_agent.document("/users/eve")
    assert (await cabochon_agent.report_on(record.id)).saved
    assert cabochon_agent.engine.documents["users"]


def test_both_agents_have_the_same_methods() -> None:
    """Whoever knows one knows the other."""
    internal = {"started"}

    def public(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(OfflineAgent) == public(AsyncOfflineAgent) - internal | {"engine", "transactions"}


# -------------------------------------------------------------------------------------------------------- its presence


def test_loading_the_plugin_imports_nothing() -> None:
    """Whoever has it installed pays for it only in tests that use it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import cabochon_mock_store.pytest_plugin; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "['cabochon_mock_store']" == done.stdout.strip()


def test_plugin_works_in_a_strangers_project(pytester: pytest.Pytester) -> None:
    """No configuration is needed for plain tests."""
    pytester.makepyfile(
        """
        def test_bob(cabochon):
            cabochon.publish("/users/bob", {"roles": []})
            assert cabochon.document("/users/bob") == {"roles": []}
        """
    )

    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_tests_of_the_readme_pass(pytester: pytest.Pytester) -> None:
    """What the README shows is a test module that passes."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    (shown,) = [one for one in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "def test_" in one]
    pytester.makepyfile(shown)

    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


pytest_plugins = ["pytester"]
