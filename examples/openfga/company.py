"""A company whose documents OpenFGA guards: model from git, tuples from an HTTP service, updates as they come.

    python company.py

It starts a Git repository, an HTTP service, a server and an agent, which runs OpenFGA; asks OpenFGA before and after
each change; and ends all of them. `openfga` has to be on PATH, and so have `git` and `cabochon`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
PATIENCE_S = 60.0

ANN, BOB, EVE = "user:ann", "user:bob", "user:eve"
ROADMAP = "document:roadmap"
QUESTIONS = [
    (ANN, "owner", ROADMAP, 12),
    (BOB, "viewer", ROADMAP, 12),
    (BOB, "editor", ROADMAP, 12),
    (BOB, "editor", ROADMAP, 22),
    (EVE, "viewer", ROADMAP, 12),
]

Answers = list[bool]


class Company:
    """All that runs, and how to ask and to change it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._http = stack.enter_context(httpx.Client(trust_env=False, timeout=10))
        self._data, self._server, self._agent, self._openfga = (f"http://127.0.0.1:{port}" for port in _free_ports(4))
        self._repository = folder / "model"
        shutil.copytree(HERE / "model", self._repository)
        self._git("init", "--quiet", "--initial-branch=master")
        self.commit_model("the first model")
        shutil.copytree(HERE / "data", folder / "data")

    def start(self) -> None:
        """Start the service with the data, the server, and the agent with its OpenFGA; return when it is ready."""
        port = self._data.rpartition(":")[2]
        service = ["-m", "http.server", port, "--bind", "127.0.0.1", "--directory", str(self._folder / "data")]
        self._run([sys.executable, *service], {})
        sources = [
            {"url": f"{self._data}/{name}.json", "dst_path": f"/{name}", "topics": ["policy_data"]}
            for name in ("groups", "documents")
        ]
        server = {
            "OPAL_BASE_DIR": str(self._folder / "server"),
            "OPAL_SERVER_BIND_PORT": self._server.rpartition(":")[2],
            "OPAL_POLICY_REPO_URL": str(self._repository),
            "OPAL_POLICY_REPO_POLLING_INTERVAL": "1",
            "OPAL_FILTER_FILE_EXTENSIONS": ".fga,.mod",
            "OPAL_POLICY_REPO_POLICY_EXTENSIONS": ".fga,.mod",
            "OPAL_DATA_CONFIG_SOURCES": json.dumps({"config": {"entries": sources}}),
        }
        self._run(["cabochon", "server", "run"], server)
        _wait(lambda: self._answers(f"{self._server}/healthcheck"))
        agent = {
            "OPAL_POLICY_STORE_TYPE": "OPENFGA",
            "OPAL_POLICY_STORE_URL": self._openfga,
            "OPAL_OPENFGA_INLINE_ENABLED": "true",
            "OPAL_UPDATE_SOURCE": "opal",
            "OPAL_SERVER_URL": self._server,
            "OPAL_CLIENT_API_SERVER_PORT": self._agent.rpartition(":")[2],
        }
        self._run(["cabochon", "agent", "run"], agent)
        _wait(lambda: self._answers(f"{self._agent}/ready"))

    # ---------------------------------------------------------------------------------------------- asking

    def ask(self) -> Answers:
        """Put all questions to OpenFGA, as an application would."""
        store = self._store()
        return [self.check(store, *question) for question in QUESTIONS]

    def check(self, store: str, user: str, relation: str, what: str, hour: int) -> bool:
        """Put one question."""
        key = {"user": user, "relation": relation, "object": what}
        answer = self._http.post(f"{store}/check", json={"tuple_key": key, "context": {"hour": hour}})
        return answer.is_success and answer.json()["allowed"]

    def becomes(self, wanted: Answers) -> Answers:
        """Wait until these are the answers."""
        _wait(lambda: self.ask() == wanted)
        return self.ask()

    def health(self) -> dict[str, Any]:
        """Read what the agent says of itself, where OPA would have it."""
        return self._http.get(f"{self._agent}/v1/data/system/opal").json()["result"]

    def model_becomes(self, relation: str) -> None:
        """Wait until documents have this relation."""

        def has_it() -> bool:
            model = self._http.get(f"{self._store()}/authorization-models").json()["authorization_models"][0]
            return any(relation in kind["relations"] for kind in model["type_definitions"])

        _wait(has_it)

    def _store(self) -> str:
        (store,) = self._http.get(f"{self._openfga}/stores").json()["stores"]
        return f"{self._openfga}/stores/{store['id']}"

    def _answers(self, url: str) -> bool:
        try:
            return self._http.get(url).is_success
        except httpx.TransportError:
            return False

    # -------------------------------------------------------------------------------------------- changing

    def publish(self, *entries: Mapping[str, Any]) -> None:
        """Publish a data update to all agents."""
        update = {"entries": [{"topics": ["policy_data"], "url": "", **entry} for entry in entries]}
        self._http.post(f"{self._server}/data/config", json=update).raise_for_status()

    def publish_document(self, name: str) -> None:
        """Publish an update whose tuples the agent fetches."""
        self.publish({"url": f"{self._data}/{name}.json", "dst_path": f"/{name}"})

    def edit_model(self, file: str, old: str, new: str) -> None:
        """Change the model in the working copy."""
        path = self._repository / file
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    def commit_model(self, why: str) -> None:
        """Commit the model, as somebody pushes it."""
        self._git("add", "--all")
        self._git("-c", "user.name=company", "-c", "user.email=company@localhost", "commit", "--quiet", "-m", why)

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self._repository, check=True)

    def _run(self, command: list[str], variables: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
        log = self._stack.enter_context((self._folder / f"{command[1].strip('-')}.log").open("wb"))
        process = subprocess.Popen(
            command, env={**kept, **variables}, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not wanted():
        if time.monotonic() > deadline:
            raise TimeoutError("it does not come to that; see the logs")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def tell(title: str, answers: Answers) -> None:
    """Show what OpenFGA answers."""
    print(f"\n{title}")
    for (user, relation, what, hour), answer in zip(QUESTIONS, answers, strict=True):
        print(f"  {'yes' if answer else 'no ':3}  {user} {relation} of {what} at {hour} o'clock")


def main() -> None:
    """Play it through; raises if an answer is not what it should be."""
    with ExitStack() as stack:
        company = Company(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="company-"))), stack)
        company.start()
        tell(
            "In the beginning: the model from git, the tuples from the service",
            company.becomes([True, True, False, False, False]),
        )

        company.publish_document("editors")
        tell("Bob edits the roadmap in office hours", company.becomes([True, True, True, False, False]))

        public = [{"object": "folder:plans", "relation": "viewer", "user": "user:*"}]
        company.publish({"dst_path": "/public", "data": public})
        tell("Plans are public", company.becomes([True, True, True, False, True]))

        company.publish({"dst_path": "/public", "data": []}, {"dst_path": "/editors", "data": []})
        company.publish({"dst_path": "/groups", "data": {"group:staff": {"member": [ANN]}}})
        tell("Nothing is public, contractors are gone", company.becomes([True, False, False, False, False]))

        company.edit_model(
            "documents.fga", "    define owner: [user]\n    define editor", "    define owner [user]\n    define editor"
        )
        company.commit_model("a mistake")
        _wait(lambda: not company.health()["healthy"])
        print(f"\nA model with a mistake is refused:\n  {company.health()['last_failed_policy_transaction']['error']}")
        company.becomes([True, False, False, False, False])

        company.edit_model("documents.fga", "define owner [user]", "define auditor: [user]\n    define owner: [user]")
        company.commit_model("auditors")
        company.model_becomes("auditor")
        _wait(lambda: company.health()["healthy"])
        company.becomes([True, False, False, False, False])
        print("\nThe next one is in force, and all is well again")


if __name__ == "__main__":
    main()
