"""Repositories and bundles that are no good: each fails by itself, the last good is served, and the next is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

from ..authority.programs import PATIENCE_S, Program, server  # noqa: TID252 - the programs of all hostile tests
from .archives import archive, bad_archives, packed
from .repositories import HostileRepository

MOST_RESIDENT = 700 << 20


class Bundles:
    """A server of bundles that gives what it is told to."""

    def __init__(self) -> None:
        self.bundle = packed(archive())
        self.url = ""


@contextmanager
def serving() -> Generator[Bundles]:
    bundles = Bundles()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(bundles.bundle)))
            self.end_headers()
            self.wfile.write(bundles.bundle)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        bundles.url = f"http://127.0.0.1:{http.server_port}"
        try:
            yield bundles
        finally:
            http.shutdown()
            thread.join()


def until(holds: Callable[[], Any], what: object) -> Any:  # noqa: ANN401 - what holds
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = holds()
        except httpx.HTTPError:
            found = None
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.1)


def packages(program: Program) -> set[str]:
    answer = httpx.get(f"{program.url}/policy", timeout=PATIENCE_S)
    return {module["package_name"] for module in answer.json().get("policy_modules", [])}


def problems(program: Program) -> list[str]:
    return httpx.get(f"{program.url}/healthcheck", timeout=2.0).json().get("problems", [])


def resident(program: Program) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/{program.pid}/status").read_text("utf-8").splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) * 1024


def test_bundle_that_is_none_changes_nothing_and_the_next_is_served(tmp_path: Path) -> None:
    limits = {"OPAL_POLICY_MAX_BYTES": str(16 << 20), "OPAL_POLICY_MAX_ENTRIES": "20000"}
    with serving() as bundles:
        environ = {"OPAL_POLICY_SOURCE_TYPE": "API", "OPAL_POLICY_BUNDLE_URL": bundles.url, **limits}
        with server(tmp_path, OPAL_POLICY_REPO_POLLING_INTERVAL="0.2", **environ) as ours:
            until(lambda: packages(ours) == {"app.a", "app.b"}, "the first bundle")
            number = 0
            for number, (what, content) in enumerate(bad_archives(), start=1):
                bundles.bundle = content
                until(lambda: problems(ours), what)
                assert ["the policy repository can't be read: what was read last is served"] == problems(ours), what
                assert ("app.a" if number == 1 else f"n{number - 1}") in packages(ours), what
                bundles.bundle = packed(archive([("n.rego", f"package n{number}\n".encode())]))
                until(lambda: not problems(ours), f"the next bundle after: {what}")
            until(lambda: packages(ours) == {f"n{number}"}, "the last bundle")
            assert number <= len(ours.lines("policy_repo.unreadable")) < 3 * number
            assert resident(ours) < MOST_RESIDENT


def test_commit_that_can_not_be_read_changes_nothing_and_the_next_is_served(tmp_path: Path) -> None:
    repository = HostileRepository(tmp_path / "policies")
    repository.good("first")
    environ = {"OPAL_POLICY_REPO_URL": str(repository.folder), "OPAL_POLICY_REPO_MAIN_BRANCH": "main"}
    environ["OPAL_POLICY_MAX_ENTRIES"] = "50000"
    with server(tmp_path, OPAL_POLICY_REPO_POLLING_INTERVAL="0.2", **environ) as ours:
        until(lambda: packages(ours) == {"first"}, "the first commit")
        for make in (repository.latin1_folder, repository.nested_trees, lambda: repository.nested_manifests(1200)):
            head = make()
            until(lambda head=head: any(head in line for line in ours.lines("policy_repo.unreadable")), make)
            slowest = 0.0
            for _ in range(20):
                begun = time.monotonic()
                assert problems(ours)
                slowest = max(slowest, time.monotonic() - begun)
                time.sleep(0.02)
            assert slowest < 2.0
            assert {"first"} == packages(ours)
        repository.nested_manifests(100)
        until(lambda: packages(ours) == {"x"}, "manifests in each other that are not too many")
        repository.good("last")
        until(lambda: packages(ours) == {"last"}, "the next commit")
        assert resident(ours) < MOST_RESIDENT


def test_sigterm_is_obeyed_while_a_bundle_is_read(tmp_path: Path) -> None:
    bomb = dict(bad_archives())["20 GiB of zeros"]
    with serving() as bundles:
        bundles.bundle = bomb
        environ = {"OPAL_POLICY_SOURCE_TYPE": "API", "OPAL_POLICY_BUNDLE_URL": bundles.url}
        with server(tmp_path, OPAL_POLICY_MAX_BYTES=str(1 << 40), **environ) as ours:
            time.sleep(2.0)
            assert 0 == ours.ended(within_s=10.0)


def test_base_hashes_that_somebody_makes_up_cost_nothing(tmp_path: Path) -> None:
    repository = HostileRepository(tmp_path / "policies")
    large = repository.blob(b'{"x": "' + b"y" * (8 << 20) + b'"}')
    repository.commit(repository.tree((b"data.json", 0o100644, large)))
    environ = {"OPAL_POLICY_REPO_URL": str(repository.folder), "OPAL_POLICY_REPO_MAIN_BRANCH": "main"}
    with server(tmp_path, **environ) as ours, httpx.Client(base_url=ours.url, timeout=PATIENCE_S) as http:
        until(lambda: http.get("/policy").status_code == 200, "the commit")
        before = resident(ours)
        for number in range(64):
            assert 200 == http.get("/policy", params={"base_hash": f"{number:040x}"}).status_code
        assert resident(ours) < before + (100 << 20)
