"""Scopes and records of scopes that are no good: each fails by itself, and none stops a start."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import httpx

from ..authority.programs import PATIENCE_S, Program, server  # noqa: TID252 - the programs of all hostile tests
from .repositories import HostileRepository
from .test_policies import until

ENVIRON = {"OPAL_SCOPES": "true"}
BAD_URL = "http://[bad"
PASSWORD = {"auth_type": "userpass", "username": "me", "password": "secret"}


def scope(name: str, url: str, **policy: Any) -> dict[str, Any]:
    source = {"source_type": "git", "url": url, "auth": {"auth_type": "none"}, "branch": "main", **policy}
    return {"scope_id": name, "policy": source, "data": {"entries": []}}


def served(program: Program, name: str) -> int:
    return httpx.get(f"{program.url}/scopes/{name}/policy", timeout=PATIENCE_S).status_code


def test_scope_that_can_not_be_followed_ends_nothing(tmp_path: Path) -> None:
    repository = HostileRepository(tmp_path / "policies")
    repository.good("first")
    with server(tmp_path, **ENVIRON) as ours, httpx.Client(base_url=ours.url, timeout=PATIENCE_S) as http:
        refused = http.put("/scopes", json=scope("bad", BAD_URL, auth=PASSWORD))
        assert (422, ["body", "policy", "url"]) == (refused.status_code, refused.json()["detail"][0]["loc"])
        assert 422 == http.put("/scopes", json=scope("x" * 100_000, "http://127.0.0.1:1/x")).status_code
        assert 201 == http.put("/scopes", json=scope("down", "http://127.0.0.1:1/x")).status_code
        assert 201 == http.put("/scopes", json=scope("good", str(repository.folder))).status_code
        until(lambda: served(ours, "good") == 200, "a good scope")
        named = until(
            lambda: {one["scope_id"]: one["error"] for one in http.get("/scopes").json() if "error" in one}, ""
        )
        assert {"down"} == named.keys()
        assert 503 == served(ours, "down")
        repository.latin1_folder()
        http.post("/scopes/refresh")
        until(lambda: "not UTF-8" in http.get("/scopes/good").json().get("error", ""), "what is wrong with it")
        assert 200 == served(ours, "good")


def test_record_that_can_not_be_read_stops_no_start(tmp_path: Path) -> None:
    repository = HostileRepository(tmp_path / "policies")
    repository.good("first")
    with server(tmp_path, **ENVIRON) as ours:
        httpx.put(f"{ours.url}/scopes", json=scope("good", str(repository.folder))).raise_for_status()
    records = {
        "scope url": httpx.Request("PUT", "http://x", json=scope("url", BAD_URL, auth=PASSWORD)).content,
        "scope junk": b"\xff\x00",
        "scope another": httpx.Request("PUT", "http://x", json=scope("good", "http://127.0.0.1:1/x")).content,
        "agent junk": b"[",
        "server junk": b"\x00",
    }
    with sqlite3.connect(tmp_path / "log.db") as database:
        database.executemany("REPLACE INTO document VALUES (?, ?)", records.items())
    database.close()
    with server(tmp_path, **ENVIRON) as ours:
        until(lambda: served(ours, "good") == 200, "the good scope")
        said = {one["scope_id"]: one.get("error") for one in httpx.get(f"{ours.url}/scopes").json()}
        assert said["good"] is None
        assert all(said[name] for name in ("url", "junk"))
        assert 503 == served(ours, "url") == served(ours, "junk")
        assert ours.lines("scope.unusable")
        assert httpx.get(f"{ours.url}/healthcheck").json()["problems"]
