"""Policies of a running server: bundles, announcements, webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import anyio
import httpx
import pytest

from ..rig import PATIENCE_S, Rig, running  # noqa: TID252 - the rig of these tests
from .commits import Commits, tarball


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path / "policies")


def settings(commits: Commits, **more: Any) -> dict[str, str]:
    given = {"POLICY_REPO_URL": str(commits.folder), "POLICY_REPO_MAIN_BRANCH": "main", **more}
    return {f"OPAL_{name}": str(value) for name, value in given.items()}


async def policy(rig: Rig, until: Callable[[dict[str, Any]], bool], **query: Any) -> dict[str, Any]:
    """Ask for policies until they are as they should be."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            answer = await rig.http.get("/policy", params=query)
            if answer.status_code == 200 and until(answer.json()):
                return answer.json()
            await anyio.sleep(0.02)


async def test_bundles_are_served_full_and_as_differences(commits: Commits, tmp_path: Path) -> None:
    first = commits.commit({"a/m.rego": "package a", "b/data.json": "{}"})
    async with running(tmp_path, settings(commits, POLICY_REPO_POLLING_INTERVAL=0.05)) as rig:
        full = await policy(rig, lambda found: found["hash"] == first)
        assert (["a/m.rego", "b/data.json"], None) == (full["manifest"], full["old_hash"])
        second = commits.commit({"a/m.rego": None, "a/n.rego": "package a"})
        delta = await policy(rig, lambda found: found["hash"] == second, base_hash=first)
        assert (["a/n.rego"], first) == (delta["manifest"], delta["old_hash"])
        assert {"data_modules": [], "policy_modules": ["a/m.rego"]} == delta["deleted_files"]
        same = (await rig.http.get("/policy", params={"base_hash": second})).json()
        assert ([], second) == (same["manifest"], same["old_hash"])
        for unknown in ("0" * 40, "nonsense"):
            answer = (await rig.http.get("/policy", params={"base_hash": unknown})).json()
            assert (["a/n.rego", "b/data.json"], None) == (answer["manifest"], answer["old_hash"])
        for folder in ("/b/", "./b", "b//."):
            only = (await rig.http.get("/policy", params={"path": [folder]})).json()
            assert ["b/data.json"] == only["manifest"]
        assert 404 == (await rig.http.get("/policy", params={"path": "no/such"})).status_code


async def test_commit_is_announced_for_its_folders(commits: Commits, tmp_path: Path) -> None:
    first = commits.commit({"deep/er/m.rego": "package a"})
    async with running(tmp_path, settings(commits, POLICY_REPO_POLLING_INTERVAL=0.05)) as rig:
        await policy(rig, lambda found: found["hash"] == first)
        socket = await rig.subscriber("policy:deep")
        second = commits.commit({"deep/er/m.rego": "package b"})
        ((topic, _number, data),) = await socket.noted(1)
        if data["new_policy_hash"] == first:
            # It is served a moment before it is announced; on a busy machine we come between the two.
            _, (topic, _number, data) = await socket.noted(2)
        assert "policy:deep" == topic
        assert {
            "old_policy_hash": first,
            "new_policy_hash": second,
            "changed_directories": [".", "deep", "deep/er"],
        } == data
        assert second == (await rig.http.get("/policy")).json()["hash"], "who hears of it gets it"


async def test_policies_are_served_at_once_after_a_restart_whatever_became_of_the_repository(
    commits: Commits, tmp_path: Path
) -> None:
    first = commits.commit({"m.rego": "package a"})
    polled = settings(commits, POLICY_REPO_POLLING_INTERVAL=0.05)
    async with running(tmp_path, polled) as rig:
        await policy(rig, lambda found: found["hash"] == first)
    away = commits.folder.rename(tmp_path / "away")
    async with running(tmp_path, polled) as rig:
        assert first == (await rig.http.get("/policy")).json()["hash"]
        socket = await rig.subscriber("policy:.")
        away.rename(commits.folder)
        second = commits.commit({"m.rego": "package b"})
        ((_topic, _number, data),) = await socket.noted(1)
        assert (first, second) == (data["old_policy_hash"], data["new_policy_hash"])


async def test_repository_that_comes_late_and_breaks_is_served_as_it_was(commits: Commits, tmp_path: Path) -> None:
    head = commits.commit({"m.rego": "package a"})
    away = tmp_path / "away"
    commits.folder.rename(away)
    async with running(tmp_path, settings(commits, POLICY_REPO_POLLING_INTERVAL=0.05)) as rig:
        assert 503 == (await rig.http.get("/policy")).status_code
        socket = await rig.subscriber("policy:.")
        away.rename(commits.folder)
        await policy(rig, lambda found: found["hash"] == head)
        await socket.noted(1)  # who was sent away is told
        commits.folder.rename(away)
        assert head == (await rig.http.get("/policy")).json()["hash"]
        away.rename(commits.folder)
        new = commits.commit({"m.rego": "package b"})
        await policy(rig, lambda found: found["hash"] == new)


async def test_server_without_a_repository_says_so(rig: Rig) -> None:
    answer = await rig.http.get("/policy")
    assert (503, {"detail": "policy repo was not found"}) == (answer.status_code, answer.json())


# --------------------------------------------------------------------------------------------------------- webhooks

GITLAB = (
    '{"secret_header_name": "X-Gitlab-Token", "secret_type": "token", "secret_parsing_regex": "(.*)", '
    '"event_header_name": "X-Gitlab-Event", "push_event_value": "Push Hook"}'
)
BITBUCKET = (
    '{"secret_header_name": "x-hook-uuid", "secret_type": "token", "secret_parsing_regex": "(.*)", '
    '"event_header_name": "x-event-key", "push_event_value": "repo:push"}'
)
AZURE = (
    '{"secret_header_name": "x-api-key", "secret_type": "token", "secret_parsing_regex": "(.*)", '
    '"event_request_key": "eventType", "push_event_value": "git.push"}'
)


def signed(body: bytes, secret: str = "hush") -> dict[str, str]:  # noqa: S107 - a test's
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


async def hook(
    rig: Rig, body: Mapping[str, Any] | bytes, headers: Mapping[str, str], *, sign: bool = False
) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await rig.http.post("/webhook", content=raw, headers={**headers, **(signed(raw) if sign else {})})


@pytest.mark.parametrize(
    ("params", "body", "headers"),
    [
        (None, {"repository": {"clone_url": "URL"}, "ref": "refs/heads/main"}, {"X-GitHub-Event": "push"}),
        (
            GITLAB,
            {"project": {"git_http_url": "URL"}, "ref": "refs/heads/main"},
            {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "hush"},
        ),
        (
            BITBUCKET,
            {"repository": {"full_name": "NAME"}, "push": {"changes": [{"new": {"name": "main"}}]}},
            {"x-event-key": "repo:push", "x-hook-uuid": "hush"},
        ),
        (
            AZURE,
            {
                "eventType": "git.push",
                "resource": {"repository": {"remoteUrl": "URL"}, "refUpdates": [{"name": "refs/heads/main"}]},
            },
            {"x-api-key": "hush"},
        ),
    ],
    ids=["GitHub", "GitLab", "Bitbucket", "Azure DevOps"],
)
async def test_webhook_of_each_service_brings_the_commit(
    commits: Commits, tmp_path: Path, params: str | None, body: dict[str, Any], headers: dict[str, str]
) -> None:
    first = commits.commit({"m.rego": "package a"})
    more = {"POLICY_REPO_WEBHOOK_PARAMS": params} if params is not None else {}
    environ = settings(commits, POLICY_REPO_WEBHOOK_SECRET="hush", POLICY_REPO_WEBHOOK_ENFORCE_BRANCH="true", **more)
    named = json.loads(
        json.dumps(body).replace("URL", str(commits.folder)).replace("NAME", str(commits.folder).strip("/"))
    )
    async with running(tmp_path, environ) as rig:
        await policy(rig, lambda found: found["hash"] == first)
        second = commits.commit({"m.rego": "package b"})
        for wrong in ({}, dict.fromkeys((*headers, "x-hub-signature-256"), "wrong")):
            assert 401 == (await hook(rig, named, wrong)).status_code
        answer = await hook(rig, named, headers, sign=params is None)
        assert (200, "ok") == (answer.status_code, answer.json()["status"])
        await policy(rig, lambda found: found["hash"] == second)


async def test_webhooks_about_something_else_are_ignored(commits: Commits, tmp_path: Path) -> None:
    commits.commit({"m.rego": "package a"})
    async with running(tmp_path, settings(commits, POLICY_REPO_WEBHOOK_ENFORCE_BRANCH="true")) as rig:
        ours = {"repository": {"url": str(commits.folder)}, "ref": "refs/heads/main"}
        push = {"X-GitHub-Event": "push"}
        other = await hook(rig, {**ours, "repository": {"url": "https://host/other"}}, push)
        assert {"status": "ignored", "event": "push"} == other.json()
        assert (await hook(rig, {**ours, "ref": "refs/heads/dev"}, push)).json() is None
        assert "ping" == (await hook(rig, ours, {})).json()["event"]
        assert 400 == (await hook(rig, {"ref": "refs/heads/main"}, push)).status_code


@pytest.mark.parametrize(
    "body",
    [b"", b"{nope", b"[]", b"7", b"\xff", b"[" * 100_000],
    ids=["empty", "cut off", "a list", "a number", "no text", "deep"],
)
async def test_webhook_with_nonsense_is_refused(rig: Rig, body: bytes) -> None:
    assert 400 == (await hook(rig, body, {"X-GitHub-Event": "push"})).status_code


# ------------------------------------------------------------------------------------------------ servers of bundles


class Bundles(BaseHTTPRequestHandler):
    """Serves bundle.tar.gz with an ETag to who has the token."""

    files: ClassVar[dict[str, bytes]]
    given: ClassVar[list[int]]

    def do_GET(self) -> None:
        content = tarball(self.files)
        etag = f'"{hashlib.sha256(repr(self.files).encode()).hexdigest()}"'
        status = 200 if self.headers["Authorization"] == "Bearer t" else 401
        if status == 200 and self.headers["If-None-Match"] == etag:
            status = 304
        self.given.append(status)
        self.send_response(status if self.path == "/x/bundle.tar.gz" else 404)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


async def test_bundles_of_a_server_are_served(tmp_path: Path) -> None:
    class Served(Bundles):
        files: ClassVar = {"./a/m.rego": b"package a", "../../evil.rego": b"package evil", "/abs/n.rego": b"package n"}
        given: ClassVar = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environ = {
            "OPAL_POLICY_SOURCE_TYPE": "API",
            "OPAL_POLICY_BUNDLE_URL": f"http://127.0.0.1:{server.server_port}/x",
            "OPAL_POLICY_BUNDLE_SERVER_TOKEN": "t",
            "OPAL_POLICY_REPO_POLLING_INTERVAL": "0.05",
        }
        try:
            async with running(tmp_path, environ) as rig:
                first = await policy(rig, lambda _found: True)
                assert ["a/m.rego", "abs/n.rego"] == first["manifest"]
                await policy(rig, lambda _found: 304 in Served.given)
                Served.files = {"a/m.rego": b"package b"}
                hook = (await rig.http.post("/webhook")).json()
                assert ("ok", environ["OPAL_POLICY_BUNDLE_URL"]) == (hook["status"], hook["repo_url"])
                new = await policy(rig, lambda found: found["hash"] != first["hash"], base_hash=first["hash"])
                assert (["a/m.rego"], ["abs/n.rego"]) == (new["manifest"], new["deleted_files"]["policy_modules"])
        finally:
            server.shutdown()
            thread.join()
