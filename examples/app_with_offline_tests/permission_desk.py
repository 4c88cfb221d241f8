"""A small application: it changes who may do what, and knows when a change is in force at the policy engines.

It publishes data updates for Cabochon's agents to fetch and write, and reads policy data back from an engine. It does
not depend on Cabochon: in production it talks HTTP to the server and to OPA, in its tests to an agent on a mock engine.
"""

import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.request import Request, urlopen

Publish = Callable[[dict[str, Any]], object]
"""Publishes one data update."""

Read = Callable[[str], Any]
"""Reads one document of the policy data, None if there is none."""

CALLBACK = "https://desk.example/reports"


class PermissionDesk:
    """Grants and revokes roles in projects: `/projects/<project>/members/<user>` holds a user's roles."""

    def __init__(self, publish: Publish, read: Read) -> None:
        self._publish = publish
        self._read = read
        self._unconfirmed: set[str] = set()

    def grant(self, user: str, role: str, *, project: str) -> str:
        """Add a role; return the update's id."""
        return self._change({_member(project, user): sorted({*self.roles(user, project=project), role})})

    def revoke(self, user: str, *, projects: Iterable[str]) -> str:
        """Take all of a user's roles in some projects, in all of them at once; return the update's id."""
        return self._change({_member(project, user): [] for project in projects})

    def import_members(self, project: str, url: str) -> str:
        """Let the agents fetch a project's members from somewhere else; return the update's id."""
        return self._send([{"url": url, "dst_path": f"/projects/{project}/members"}])

    def roles(self, user: str, *, project: str) -> list[str]:
        """Return a user's roles in a project, as the policy engine knows them."""
        return self._read(_member(project, user)) or []

    def in_force(self, update_id: str) -> bool:
        """Tell whether an agent has confirmed a change."""
        return update_id not in self._unconfirmed

    def on_report(self, report: dict[str, Any]) -> None:
        """Take what an agent posts to `CALLBACK`; a failure is followed by another report, once it is mended."""
        if all(entry["saved"] for entry in report["reports"]):
            self._unconfirmed.discard(report["update_id"])

    def _change(self, documents: dict[str, Any]) -> str:
        return self._send([{"url": "", "dst_path": path, "data": data} for path, data in documents.items()])

    def _send(self, entries: list[dict[str, Any]]) -> str:
        update_id = uuid.uuid4().hex
        self._unconfirmed.add(update_id)
        self._publish({"id": update_id, "entries": entries, "callback": {"callbacks": [CALLBACK]}})
        return update_id


def _member(project: str, user: str) -> str:
    return f"/projects/{project}/members/{user}"


def publish_to_server(server: str, token: str) -> Publish:
    """Publish to a server as in production."""

    def publish(update: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = Request(f"{server}/data/config", json.dumps(update).encode(), headers)  # noqa: S310 - our server
        with urlopen(request, timeout=5):  # noqa: S310
            pass

    return publish


def read_from_opa(opa: str) -> Read:
    """Read from OPA as in production."""

    def read(path: str) -> Any:  # noqa: ANN401 - any JSON
        with urlopen(f"{opa}/v1/data{path}", timeout=5) as answer:  # noqa: S310
            return json.load(answer).get("result")

    return read
