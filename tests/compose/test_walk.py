"""OPAL's page on update callbacks and the healthcheck policy, walked on the services of the example.

Policies, documents and health are asked of both OPAs: the one that an agent runs, by REST, and the one beside an agent,
with a bundle.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from .compose_file import EXAMPLE
from .local_fleet import PATIENCE_S, LocalFleet
from .programs import program_or_skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("compose")]

AGENTS = ("agent-inline", "agent-bundle")
OPAS = ("agent-inline", "opa")
DOCUMENT = "bob_location.json"


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """Whoever publishes and asks."""
    with httpx.Client(trust_env=False, timeout=10) as client:
        yield client


def _until(said: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not said():
        assert time.monotonic() < ends, what
        time.sleep(0.05)


class Walk:
    """One who publishes updates of Bob's location, and asks both OPAs."""

    def __init__(self, fleet: LocalFleet, http: httpx.Client) -> None:
        self.fleet = fleet
        self.http = http
        self.application = fleet.url("application", 8000)

    def publish(self, **more: Any) -> str:
        """Publish an update that agents fetch from the application; return its id."""
        update_id = uuid.uuid4().hex
        entry = {"url": f"{self.application}/{DOCUMENT}", "topics": ["policy_data"], "dst_path": "/users/bob/location"}
        update = {"id": update_id, "entries": [entry], "reason": "Bob has landed", **more}
        answer = self.http.post(f"{self.fleet.url('server', 7002)}/data/config", json=update)
        assert (200, {"status": "ok"}) == (answer.status_code, answer.json())
        return update_id

    def system_opal(self, opa: str) -> dict[str, Any]:
        """The whole document."""
        return self.http.get(f"{self.fleet.url(opa, 8181)}/v1/data/system/opal").json()["result"]

    def rule(self, opa: str, path: str, given: Mapping[str, str] | None = None) -> object:
        """What a rule says; None if it is not defined."""
        body = None if given is None else {"input": given}
        return self.http.post(f"{self.fleet.url(opa, 8181)}/v1/data/{path}", json=body).json().get("result")

    def until(self, opa: str, path: str, expected: object, given: Mapping[str, str] | None = None) -> None:
        """Wait until it says that."""
        _until(lambda: self.rule(opa, path, given) == expected, f"{path} of {opa} is not {expected}")

    def until_applied(self, update_id: str) -> None:
        """Wait until both OPAs have an update."""
        for opa in OPAS:
            _until(lambda opa=opa: update_id == self.system_opal(opa)["last_data_transaction"].get("id"), update_id)

    def lines(self, service: str, *words: str) -> list[str]:
        """The lines of a log that have all the words."""
        return [line for line in self.fleet.log(service).splitlines() if all(word in line for word in words)]

    def until_logged(self, service: str, *words: str, times: int = 1) -> list[str]:
        """Wait for such lines."""
        _until(lambda: len(self.lines(service, *words)) >= times, f"{words} in {self.fleet.log(service)[-4000:]}")
        return self.lines(service, *words)


@pytest.fixture
def walk(fleet: LocalFleet, http: httpx.Client) -> Walk:
    """A walk that begins with a healthy fleet."""
    walk = Walk(fleet, http)
    for opa in OPAS:
        walk.until(opa, "system/opal/healthy", expected=True)
    return walk


@pytest.mark.parametrize("opa", OPAS)
@pytest.mark.parametrize("rule", ["ready", "healthy"])
def test_page_s_queries_are_answered_as_on_the_page(walk: Walk, opa: str, rule: str) -> None:
    """
    `curl --request POST .../v1/data/system/opal/ready` says `"result": true`.
    """
    answer = walk.http.post(f"{walk.fleet.url(opa, 8181)}/v1/data/system/opal/{rule}")

    assert (200, True) == (answer.status_code, answer.json()["result"])


def test_whole_document_has_commit_and_update(walk: Walk) -> None:
    """
    The id of the policy transaction is the commit's, that of the data transaction the update's.
    """
    (committed, *_) = walk.lines("policies", "committed ")
    update_id = walk.publish()
    walk.until_applied(update_id)

    for opa in OPAS:
        document = walk.system_opal(opa)
        data, policy = document["last_data_transaction"], document["last_policy_transaction"]
        assert (True, True) == (document["ready"], document["healthy"])
        assert (["set_policy_data"], "", update_id, True) == _page_s_members(data)
        assert (["set_policies"], "", True) == _page_s_members(policy)[:2] + _page_s_members(policy)[3:]
        assert policy["id"] in walk.fleet.log("policies")
    assert re.fullmatch(r"committed [0-9a-f]{40}", committed)


def _page_s_members(transaction: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(transaction[name] for name in ("actions", "error", "id", "success"))


def test_update_changes_decisions(walk: Walk) -> None:
    """
    What was published is what policies see, in both OPAs.
    """
    asked = {"courier": "bob", "country": "US"}
    home = {"url": "", "topics": ["policy_data"], "dst_path": "/users/bob/location", "data": {"country": "DE"}}
    walk.publish(entries=[home])
    for opa in OPAS:
        walk.until(opa, "delivery/allow", expected=False, given=asked)
    walk.publish()
    for opa in OPAS:
        walk.until(opa, "delivery/allow", expected=True, given=asked)


def test_logs_have_what_the_page_says_to_look_for(walk: Walk) -> None:
    """
    The server publishes; the agent receives, fetches, saves, and reports; the server receives reports. In this order.
    """
    update_id = walk.publish()
    walk.until_logged("server", "report.received", update_id, times=len(AGENTS))

    (published,) = walk.lines("server", "data_update.published", update_id)
    assert "topics=['policy_data']" in published
    assert "reason='Bob has landed'" in published
    assert "entries=['PUT /users/bob/location']" in published
    for agent in AGENTS:
        walk.until_logged(agent, "report.delivered", update_id)
        of_the_update = walk.lines(agent, update_id)
        events = [line.split()[line.split().index("]") + 1] for line in of_the_update]
        steps = ["data_update.received", "fetch.succeeded", "transaction.ended", "health_check.transaction"]
        assert [*steps, "report.delivered"] == events
        assert "topic=policy_data" in of_the_update[0]
        assert "success=True" in of_the_update[2]
        assert f"url={walk.fleet.url('server', 7002)}/data/callback_report" in of_the_update[-1]
        log = walk.fleet.log(agent).splitlines()
        (persisted,) = [log[log.index(line) + 1] for line in of_the_update if "health_check.transaction" in line]
        assert {"health_check.persisted", "healthy=True", "ready=True"} <= set(persisted.split())


def test_default_callback_tells_the_server(walk: Walk) -> None:
    """
    One report of each agent, and the server knows that both have the update.
    """
    update_id = walk.publish()
    reports = walk.until_logged("server", "report.received", update_id, times=len(AGENTS))
    known: dict[str, Any] = {}

    def both_have_it() -> bool:
        known.update(walk.http.get(f"{walk.fleet.url('server', 7002)}/updates/{update_id}").json())
        return known["counts"]["has"] == len(AGENTS)

    _until(both_have_it, f"{known}")
    assert len(AGENTS) == len(reports)
    assert all("failed=[]" in line and "entries=1" in line for line in reports)
    assert [True, True] == [report["success"] for report in known["reports"]]
    assert set(AGENTS) == {agent["agent"] for agent in known["agents"]}


def test_one_time_callback_is_called_for_its_update_alone(walk: Walk) -> None:
    """
    `[[url]]`, as on the page: that receiver has a report of this update, the default one too, and none of the next.
    """
    path = f"/{uuid.uuid4().hex}"
    update_id = walk.publish(callback={"callbacks": [[f"{walk.application}{path}"]]})
    lines = walk.until_logged("application", f"report for {path}: ", times=len(AGENTS))
    walk.until_logged("server", "report.received", update_id, times=len(AGENTS))
    later = walk.publish()
    walk.until_logged("server", "report.received", later, times=len(AGENTS))
    for agent in AGENTS:
        walk.until_logged(agent, "report.delivered", later)

    reports = [json.loads(line.partition(": ")[2]) for line in lines]
    assert [update_id] * len(AGENTS) == [report["update_id"] for report in reports]
    for report in reports:
        (one,) = report["reports"]
        assert ("/users/bob/location", "PUT", ["policy_data"]) == tuple(
            one["entry"][name] for name in ("dst_path", "save_method", "topics")
        )
        assert (True, True, 64) == (one["fetched"], one["saved"], len(one["hash"]))
    assert lines == walk.lines("application", f"report for {path}: ")


def test_source_that_breaks_and_heals_shows(walk: Walk) -> None:
    """
    `healthy` turns false and says why, `ready` and the healthcheck stay; once the source is back so is `healthy`.
    """
    document = walk.fleet.mounted("application", "/example/data") / DOCUMENT
    kept = document.read_bytes()
    document.unlink()
    try:
        update_id = walk.publish()
        for opa in OPAS:
            walk.until(opa, "system/opal/healthy", expected=False)
            state = walk.system_opal(opa)
            (path,) = state["out_of_sync_paths"]
            assert (True, False) == (state["ready"], state["in_sync"])
            assert "/users/bob/location" == path["path"]
            assert "404" in path["reason"]
            assert update_id == state["last_failed_data_transaction"]["id"]
        assert all(map(walk.fleet.is_healthy, [*AGENTS, *OPAS]))
        walk.until_logged("server", "report.received", update_id, "/users/bob/location", times=len(AGENTS))
    finally:
        document.write_bytes(kept)
    for opa in OPAS:
        walk.until(opa, "system/opal/healthy", expected=True)
        walk.until(opa, "system/opal/in_sync", expected=True)
    follow_ups = walk.until_logged("server", "report.received", update_id, "failed=[]", times=len(AGENTS))
    assert len(AGENTS) == len(follow_ups)
    for agent in AGENTS:
        said = re.findall(r"persisting health check policy: (.*?)'", walk.fleet.log(agent))
        assert ["ready=true, healthy=false", "ready=true, healthy=true"] == said[-2:]


def test_policy_that_is_changed_is_committed_and_followed(walk: Walk) -> None:
    """
    `policies` run again commits what has changed, and nothing twice; the agents follow.
    """
    policies = walk.fleet.mounted("policies", "/example/policies")
    added = policies / "more" / "customers.rego"
    added.parent.mkdir()
    added.write_text(
        'package customers\n\nimport rego.v1\n\nnames contains name if data.users[name].role == "customer"\n'
    )
    walk.fleet.run_again("policies")
    for opa in OPAS:
        walk.until(opa, "customers/names", expected=["eve"])
    added.unlink()
    added.parent.rmdir()
    walk.fleet.run_again("policies")
    walk.fleet.run_again("policies")
    *_, committed, unchanged = walk.fleet.log("policies").splitlines()
    for opa in OPAS:
        walk.until(opa, "customers/names", expected=None)
        walk.until(opa, "system/opal/last_policy_transaction/id", expected=committed.removeprefix("committed "))
    assert "nothing has changed" == unchanged


def test_healthcheck_notices_an_opa_that_is_gone(walk: Walk) -> None:
    """
    The container's and that of its agent; both turn healthy again once OPA is back, with policies and data in it.
    """
    fleet = walk.fleet
    fleet.stop("opa")
    _until(lambda: not fleet.is_healthy("agent-bundle"), "agent-bundle is still ready")
    assert not fleet.is_healthy("opa")
    assert fleet.is_healthy("agent-inline")
    fleet.start("opa")
    fleet.wait_until_healthy("opa")
    fleet.wait_until_healthy("agent-bundle")

    assert "customer" == walk.rule("opa", "users/eve/role")
    assert walk.rule("opa", "delivery/allow", {"courier": "eve", "country": "DE"}) is False


def test_commands_of_the_readme_are_answered_as_it_says(walk: Walk) -> None:
    """
    Those that ask the services: each goes through, and shows what the page shows.
    """
    curl = program_or_skip("curl")
    commands = re.findall(r"^\$ curl (.+)\n([{].*)?", (EXAMPLE / "README.md").read_text("utf-8"), re.MULTILINE)
    assert commands
    for arguments, shown in commands:
        local = walk.fleet.from_outside(arguments)
        done = subprocess.run([curl, "-sSf", *shlex.split(local)], capture_output=True, text=True, check=True)
        assert not shown or json.loads(shown) == json.loads(done.stdout)


def _walkthrough(fleet: LocalFleet, **other: str) -> subprocess.CompletedProcess[str]:
    logs = fleet.folder / "logs"
    logs.write_text(f'#!/bin/sh\nexec cat "{fleet.folder}/$1.log"\n')
    logs.chmod(0o755)
    where = {
        "SERVER_URL": fleet.url("server", 7002),
        "OPA_URLS": " ".join(fleet.url(opa, 8181) for opa in OPAS),
        "APPLICATION_URL": fleet.url("application", 8000),
        "DATA": str(fleet.mounted("application", "/example/data")),
        "LOGS": str(logs),
    }
    program_or_skip("curl")
    return subprocess.run(
        [program_or_skip("bash"), EXAMPLE / "walkthrough.sh"],
        env={**os.environ, **where, **other},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_walkthrough_goes_as_promised(walk: Walk) -> None:
    """
    The script that a person runs, against these services: every step, with nothing left behind.
    """
    done = _walkthrough(walk.fleet)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "All 10 steps went as promised." in done.stdout
    assert "" == done.stderr
    assert [DOCUMENT, "users.json"] == sorted(
        file.name for file in walk.fleet.mounted("application", "/example/data").iterdir()
    )


@pytest.mark.parametrize(
    ("broken", "patience_s", "step", "missing"),
    [
        ({"OPA_URLS": "http://127.0.0.1:1"}, 1, "1.", "ready is true."),
        ({"SERVER_URL": "http://127.0.0.1:1"}, 1, "3.", "The server takes it."),
        # Steps before the one that is broken have to wait for agents.
        ({"APPLICATION_URL": "http://127.0.0.1:1"}, 15, "4.", "Bob may deliver in the United States: true."),
        ({"LOGS": "true"}, 15, "6.", "Published."),
    ],
    ids=["no-opa", "no-server", "no-source", "no-logs"],
)
def test_walkthrough_ends_where_a_promise_is_broken(
    walk: Walk, broken: dict[str, str], patience_s: int, step: str, missing: str
) -> None:
    """
    With what it did not find, and not with 0.
    """
    done = _walkthrough(walk.fleet, PATIENCE=str(patience_s), **broken)
    _, _, last = done.stdout.rpartition("\n== ")

    assert last.startswith(step)
    assert 1 == done.returncode, done.stdout
    assert f"Not as promised: {missing}" in done.stderr
    # The fetch that was given up is made good, so that the next walk begins with a healthy fleet.
    walk.until_applied(walk.publish())
