"""Inline OPA with a real OPA: it is up, comes back, goes with the agent, and says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
import trustme
from structlog.testing import capture_logs

from cabochon import ConfigurationError
from cabochon_opa.testing import RealOpa, free_port

from .inline_agent import opened_agent, running_agent

PATIENCE_S = 20.0
LOOK_EVERY_S = 0.01

Events = list[MutableMapping[str, Any]]


class Inline:
    """An address for an inline OPA, and what it is told; the defaults leave nothing of this machine to chance."""

    def __init__(self, binary: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.binary = binary
        self.options: dict[str, Any] = {"addr": f"127.0.0.1:{self.port}"}

    def environ(self, **variables: str) -> dict[str, str]:
        return {
            "OPAL_INLINE_OPA_EXEC_PATH": str(self.binary),
            "OPAL_INLINE_OPA_CONFIG": json.dumps(self.options),
            "OPAL_POLICY_STORE_URL": self.url,
            **variables,
        }

    def get(self, path: str = "/health", **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=5, trust_env=False)

    def put_policy(self, source: str) -> httpx.Response:
        return httpx.put(f"{self.url}/v1/policies/a", content=source, trust_env=False)

    def query(self, query: str) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/query", json={"query": query}, trust_env=False)

    def answers(self) -> bool:
        try:
            return self.get().status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def inline(opa_path: Path) -> Inline:
    return Inline(opa_path)


@pytest.fixture
def events() -> Iterator[Events]:
    with capture_logs() as captured:
        yield captured


def named(events: Events, event: str) -> Events:
    return [one for one in events if one["event"] == event]


def pid_of(events: Events) -> int:
    return named(events, "inline_engine.started")[-1]["pid"]


def exists(pid: int) -> bool:
    """Whether the process is there, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], what: str = "it") -> None:
    with anyio.move_on_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await anyio.sleep(LOOK_EVERY_S)
        return
    pytest.fail(f"{what} did not happen within {PATIENCE_S} s")


def fake_opa(folder: Path, script: str) -> Path:
    """An executable that does something else than OPA."""
    path = folder / "fake-opa"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return path


# ---------------------------------------------------------------------------------------------------- while all is well


async def test_opa_answers_when_the_agent_starts_and_is_gone_when_it_ends(inline: Inline, events: Events) -> None:
    """
    Started before the store, stopped after it, by SIGTERM, and nothing stays.
    """
    async with running_agent(inline.environ()):
        assert inline.answers()
        pid = pid_of(events)
        assert exists(pid)
        assert b"opa\0run\0--server" in await anyio.Path(f"/proc/{pid}/cmdline").read_bytes()

    assert not exists(pid)
    assert not inline.answers()
    assert [0] == [one["code"] for one in named(events, "inline_engine.stopped")]
    assert [] == named(events, "inline_engine.exited")
    assert [] == [one for one in events if one["log_level"] == "error"]


async def test_opa_outlives_the_idle_worker_threads(
    inline: Inline, events: Events, anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Linux ties its life to the thread that forked it: that must not be a worker, which ends when it is idle.
    """
    if anyio_backend_name == "trio":
        monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.05)
    async with running_agent(inline.environ()):
        await anyio.to_thread.run_sync(time.sleep, 0.01)
        with anyio.move_on_after(1.0):
            await until(lambda: bool(named(events, "inline_engine.exited")))
        assert inline.answers()
    assert [] == named(events, "inline_engine.exited")


async def test_mock_store_never_starts_opa(inline: Inline, events: Events) -> None:
    """
    The service goes with the store OPA alone; with another, its settings are not even read.
    """
    async with running_agent(inline.environ(OPAL_INLINE_OPA_CONFIG="wrong"), store="MOCK"):
        assert not inline.answers()
    assert [] == [one for one in events if one["event"].startswith("inline_")]


async def test_disabled_inline_opa_needs_no_opa(inline: Inline, events: Events) -> None:
    """
    OPAL_INLINE_OPA_ENABLED=False: an OPA elsewhere is used.
    """
    inline.binary = Path("/no/such/opa")
    async with running_agent(inline.environ(OPAL_INLINE_OPA_ENABLED="False")):
        assert not inline.answers()
    assert [] == [one for one in events if one["event"].startswith("inline_")]


@pytest.mark.parametrize(("compatible", "status"), [("true", 200), ("false", 400)])
async def test_v0_module_loads_only_with_v0(inline: Inline, compatible: str, status: int) -> None:
    """
    OPAL_OPA_V0_COMPAT reaches OPA.
    """
    async with running_agent(inline.environ(OPAL_OPA_V0_COMPAT=compatible)):
        answer = inline.put_policy("package a\nallow { true }\n")
    assert status == answer.status_code


async def test_files_are_loaded_and_tokens_are_asked_for(inline: Inline, tmp_path: Path, events: Events) -> None:
    """
    An OPA that lets nobody ask for its health without a token counts as up.
    """
    policy = tmp_path / "authz.rego"
    policy.write_text('package system.authz\ndefault allow := false\nallow { input.identity == "s3cret" }\n', "utf-8")
    inline.options |= {"authentication": "token", "authorization": "basic", "files": [str(policy)]}
    async with running_agent(inline.environ()):
        assert 401 == inline.get("/v1/data").status_code
        assert 200 == inline.get("/v1/data", Authorization="Bearer s3cret").status_code
    assert [] == named(events, "inline_engine.slow")


async def test_operator_s_configuration_file_is_used_beside_ours(inline: Inline, tmp_path: Path) -> None:
    """
    With bundle delivery, OPA's own file keeps what it says about other things.
    """
    config = tmp_path / "opa.yaml"
    config.write_text("services: {other: {url: 'http://127.0.0.1:1'}}\nlabels: {region: eu}\n", "utf-8")
    inline.options["config_file"] = str(config)
    bundles = f"127.0.0.1:{free_port()}"
    environ = inline.environ(OPAL_OPA_POLICY_DELIVERY="bundle", OPAL_OPA_BUNDLE_SERVICE_ADDR=bundles)
    async with running_agent(environ):
        in_force = inline.get("/v1/config").json()["result"]

    assert f"http://{bundles}" == in_force["services"]["cabochon"]["url"]
    assert "http://127.0.0.1:1" == in_force["services"]["other"]["url"]
    assert "/bundles/cabochon.tar.gz" == in_force["bundles"]["cabochon"]["resource"]
    assert "cabochon" == in_force["status"]["service"]
    assert "eu" == in_force["labels"]["region"]


async def test_opa_sees_none_of_our_variables(inline: Inline, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever may query OPA reads its environment.
    """
    monkeypatch.setenv("OPAL_CLIENT_TOKEN", "s3cret")
    monkeypatch.setenv("FOR_POLICIES", "1")
    async with running_agent(inline.environ()):
        answer = inline.query("x = opa.runtime().env")
    seen = answer.json()["result"][0]["x"]

    assert "1" == seen["FOR_POLICIES"]
    assert [] == [name for name in seen if name.startswith("OPAL_")]


async def test_unix_socket(inline: Inline, tmp_path: Path, events: Events) -> None:
    """
    Listened at and asked there; one that an earlier OPA left is no hindrance, one that is served is.
    """
    path = tmp_path / "opa.sock"
    inline.options["addr"] = inline.url = f"unix://{path}"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    async with running_agent(inline.environ()):
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as http:
            assert 200 == (await http.get("http://opa/health")).status_code
        async with opened_agent(inline.environ()) as second:
            with pytest.raises(ConfigurationError, match="somebody listens at unix://"):
                await second.run()
    assert [] == named(events, "inline_opa.not_the_store")


@pytest.mark.parametrize("with_certificate", [True, False])
async def test_tls(inline: Inline, tmp_path: Path, events: Events, with_certificate: bool) -> None:  # noqa: FBT001 - a table
    """
    OPA is up when it speaks TLS, whether or not we have the certificate that it asks for.
    """
    authority = trustme.CA()
    issued, ours = authority.issue_cert("opa.internal"), authority.issue_cert("agent.internal")
    paths = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key", "ours")}
    authority.cert_pem.write_to_path(paths["ca"])
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    issued.private_key_pem.write_to_path(paths["key"])
    ours.private_key_and_cert_chain_pem.write_to_path(paths["ours"])
    inline.options |= {
        "authentication": "tls",
        "tls_ca_cert_file": paths["ca"],
        "tls_cert_file": paths["cert"],
        "tls_private_key_file": paths["key"],
    }
    environ = inline.environ(OPAL_POLICY_STORE_URL=f"https://127.0.0.1:{inline.port}")
    if with_certificate:
        environ |= {"OPAL_POLICY_STORE_AUTH_TYPE": "tls", "OPAL_POLICY_STORE_TLS_CLIENT_CERT": paths["ours"]}
    async with running_agent(environ):
        assert 1 == len(named(events, "inline_engine.started"))
    assert [] == named(events, "inline_engine.slow")


@pytest.mark.parametrize("log_format", ["none", "minimal", "http", "full"])
async def test_log_of_opa_goes_into_ours(inline: Inline, events: Events, log_format: str) -> None:
    """
    By format; with `none` only what goes wrong.
    """
    async with running_agent(inline.environ(OPAL_INLINE_OPA_LOG_FORMAT=log_format)):
        inline.get("/v1/data/users")
        answered = [one for one in named(events, "inline_engine.logged") if one.get("path") == "/v1/data/users"]
        if log_format == "http":
            await until(lambda: any(one.get("path") == "/v1/data/users" and one.get("status") for one in events))
            answered = [one for one in events if one.get("path") == "/v1/data/users" and one.get("status")]
            assert [("Sent response.", "GET", 200)] == [
                (one["message"], one["method"], one["status"]) for one in answered
            ]
        elif log_format == "full":
            await until(lambda: any(one.get("opa", {}).get("req_path") == "/v1/data/users" for one in events))
        elif log_format == "minimal":
            await until(lambda: any(one.get("message") == "Sent response." for one in events))
    logged = named(events, "inline_engine.logged")
    if log_format == "none":
        assert {"warning", "error"} >= {one["log_level"] for one in logged}
    if log_format == "minimal":
        assert all(one.keys() <= {"event", "log_level", "engine", "message", "error"} for one in logged)


# ------------------------------------------------------------------------------------------------------ when it dies


async def test_killed_opa_is_started_again(inline: Inline, events: Events) -> None:
    """
    Each time, with the signal in the log and a count in the metrics.
    """
    async with running_agent(inline.environ()) as agent:
        for lives in (1, 2):
            first = pid_of(events)
            os.kill(first, signal.SIGKILL)
            await until(lambda lives=lives: len(named(events, "inline_engine.started")) == lives + 1)
            assert first != pid_of(events)
            assert inline.answers()
            assert lives == agent.pipeline.metrics.snapshot()["inline_engine.exits"]
    assert ["SIGKILL", "SIGKILL"] == [one["signal"] for one in named(events, "inline_engine.exited")]


async def test_opa_that_panics_is_started_again(inline: Inline, events: Events, tmp_path: Path) -> None:
    """
    It may hold a lock for ever after: it is ended, and the trace is logged.
    """
    inline.binary = fake_opa(
        tmp_path,
        f"""
        if [ -e {tmp_path}/panicked ]; then exec {inline.binary} "$@"; fi
        touch {tmp_path}/panicked
        printf 'panic serving: boom\\n\\t/usr/local/go/src/runtime/panic.go:884 +0x212\\n' >&2
        exec sleep 600
        """,
    )
    async with running_agent(inline.environ()):
        assert inline.answers()
    assert ["SIGTERM"] == [one["signal"] for one in named(events, "inline_engine.exited")]
    assert ["panic serving: boom"] == [one["error"] for one in named(events, "inline_engine.exited")]
    assert 1 == len(named(events, "inline_engine.panicked"))


async def test_opa_that_ends_later_never_stops_the_agent(inline: Inline, events: Events, tmp_path: Path) -> None:
    """
    Its second start fails with a code, and it is tried again.
    """
    inline.binary = fake_opa(
        tmp_path,
        f"""
        echo >> {tmp_path}/starts
        if [ "$(wc -l < {tmp_path}/starts)" = 2 ]; then echo 'error: no disk'; exit 7; fi
        exec {inline.binary} "$@"
        """,
    )
    async with running_agent(inline.environ()):
        os.kill(pid_of(events), signal.SIGKILL)
        await until(lambda: len(named(events, "inline_engine.started")) == 2)
    assert [("SIGKILL", None), (None, 7)] == [
        (one.get("signal"), one.get("code")) for one in named(events, "inline_engine.exited")
    ]
    assert "no disk" == named(events, "inline_engine.exited")[1]["error"]


async def test_slow_opa_is_waited_for_in_the_background(
    inline: Inline, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The agent goes on, and even an OPA that then ends with an error does not stop it.
    """
    monkeypatch.setattr("cabochon.kit.process.inline_engine._UP_WITHIN_S", 0.2)
    inline.binary = fake_opa(
        tmp_path,
        f"""
        if [ -e {tmp_path}/tried ]; then exec {inline.binary} "$@"; fi
        touch {tmp_path}/tried
        while [ ! -e {tmp_path}/go ]; do sleep 0.02; done
        echo 'error: no disk'; exit 7
        """,
    )
    async with running_agent(inline.environ()):
        assert 1 == len(named(events, "inline_engine.slow"))
        await anyio.Path(tmp_path / "go").touch()
        await until(lambda: len(named(events, "inline_engine.started")) == 1)
    assert [7] == [one["code"] for one in named(events, "inline_engine.exited")]


async def test_opa_that_does_not_heed_sigterm_is_killed(inline: Inline, events: Events) -> None:
    """
    The agent ends in time all the same.
    """
    async with running_agent(inline.environ()):
        pid = pid_of(events)
        os.kill(pid, signal.SIGSTOP)
        began = anyio.current_time()
    assert anyio.current_time() - began < 8
    assert not exists(pid)
    assert ["SIGKILL"] == [one["signal"] for one in named(events, "inline_engine.stopped")]


async def test_cancelled_agent_leaves_no_opa(inline: Inline, events: Events) -> None:
    """
    However the agent ends, OPA ends with it.
    """
    async with opened_agent(inline.environ()) as agent, anyio.create_task_group() as tasks:
        await tasks.start(agent.run)
        assert exists(pid_of(events))
        tasks.cancel_scope.cancel()
    assert not exists(pid_of(events))


# ------------------------------------------------------------------------------------------------- what stops the start


async def refused(inline: Inline, **variables: str) -> str:
    async with opened_agent(inline.environ(**variables)) as agent:
        with pytest.raises(ConfigurationError) as raised:
            await agent.run()
    said = str(raised.value)
    assert 1 == len(said.splitlines())
    return said


async def test_taken_port_is_one_line(inline: Inline, opa: RealOpa) -> None:
    """
    Another OPA that answers there is not taken for ours.
    """
    address = opa.url.removeprefix("http://")
    inline.options["addr"] = f"0.0.0.0:{address.partition(':')[2]}"
    said = await refused(inline)

    assert "OPAL_INLINE_OPA_CONFIG: somebody listens at http://127.0.0.1:" in said
    assert "OPAL_INLINE_OPA_ENABLED=False" in said


async def test_port_that_has_just_been_left_is_free(inline: Inline) -> None:
    """
    A connection that OPA closed lingers at its address, and does not count.
    """
    for _ in range(2):
        async with httpx.AsyncClient(trust_env=False) as http, running_agent(inline.environ()):
            assert 200 == (await http.get(f"{inline.url}/health")).status_code


async def test_absent_opa_is_one_line(inline: Inline) -> None:
    """
    Without a binary the agent does not start.
    """
    inline.binary = Path("/no/such/opa")

    assert "OPAL_INLINE_OPA_EXEC_PATH='/no/such/opa' does not exist" in await refused(inline)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"config_file": "/no/such/file"}, "config error: open /no/such/file: no such file or directory"),
        ({"files": ["/no/such/file.rego"]}, "stat /no/such/file.rego: no such file or directory"),
        ({"tls_cert_refresh_period": "soon"}, 'invalid argument "soon" for "--tls-cert-refresh-period" flag'),
        ({"addr": "256.0.0.1:1"}, "256.0.0.1"),
    ],
    ids=["config file", "files", "option", "address"],
)
async def test_options_that_opa_refuses_are_one_line(inline: Inline, options: dict[str, Any], why: str) -> None:
    """
    In OPA's own words.
    """
    inline.options |= options
    said = await refused(inline)

    assert said.startswith("inline OPA ended with code 1 as it was started: ")
    assert why in said


async def test_file_that_is_no_program_is_one_line(inline: Inline, tmp_path: Path) -> None:
    """
    It is executable, and not for this machine.
    """
    inline.binary = tmp_path / "opa"
    inline.binary.write_bytes(b"\x7fELF not really")
    inline.binary.chmod(0o755)

    assert f"{inline.binary} can't be executed: Exec format error" in await refused(inline)


async def test_address_that_the_store_does_not_use_is_warned_of(inline: Inline, events: Events) -> None:
    """
    As is an option that nobody knows.
    """
    inline.options["adr"] = ":1"
    async with running_agent(inline.environ(OPAL_POLICY_STORE_URL="http://u:pw@localhost:1")):
        pass
    (warning,) = named(events, "inline_opa.not_the_store")
    assert f"port 1 is not port {inline.port}" in warning["why"]
    assert "pw" not in str(warning)
    assert ["adr"] == [one["option"] for one in named(events, "inline_opa.option_unknown")]


# ------------------------------------------------------------------------------------- when the agent itself is killed


@contextmanager
def agent_process(inline: Inline, backend: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Run an agent of its own; gives it, and the process id of its OPA."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPAL_")}
    command = [sys.executable, str(Path(__file__).with_name("inline_agent.py")), backend]
    with subprocess.Popen(
        command, env={**clean, **inline.environ()}, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "inline_engine.started":
                    yield process, event["pid"]
                    break
            else:
                pytest.fail("the agent ended without starting OPA")
        finally:
            process.kill()


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while exists(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda one: one.name)
def test_opa_does_not_outlive_the_agent(inline: Inline, backend: str, number: signal.Signals) -> None:
    """
    However the agent ends, and with no process in between.
    """
    with agent_process(inline, backend) as (process, pid):
        assert inline.answers()
        assert process.pid == int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
        process.send_signal(number)
        gone = gone_within(pid, 2.0 if number != signal.SIGTERM else 10.0)
        if not gone:
            os.kill(pid, signal.SIGKILL)

    assert gone


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_opa_is_not_started_for_an_agent_that_has_died_meanwhile(inline: Inline) -> None:
    """
    Between the fork and the request to Linux the agent may end: then OPA does not start at all.
    """
    script = Path(sys.modules["cabochon.kit.process.child"].__file__ or "").with_name("exec_child.py")
    someone_else = str(os.getppid())
    done = subprocess.run(
        [sys.executable, str(script), someone_else, str(inline.binary), "version"], check=False, capture_output=True
    )

    assert (1, b"") == (done.returncode, done.stdout)


def test_ctrl_c_reaches_the_agent_alone(inline: Inline) -> None:
    """
    A terminal sends it to the whole group: OPA has to be there for the agent's last commit.
    """
    with agent_process(inline, "asyncio") as (process, pid):
        assert os.getsid(pid) != os.getsid(process.pid)
