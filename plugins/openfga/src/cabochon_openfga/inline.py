"""An OpenFGA that the agent runs, for development: up before the first write, gone after the last."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
import msgspec
from pydantic import Field

from cabochon import AgentContext, ServiceType
from cabochon.errors import ConfigurationError
from cabochon.kit.process.inline_engine import InlineEngine, LogEvent, LogLevel, running
from cabochon_openfga.settings import OpenFgaStoreSettings

__all__ = ["InlineOpenFgaSettings", "inline_openfga_service", "open_inline_openfga"]

_LOOK_EVERY_S = 0.02
_OK = 200
_LEVELS: dict[str, LogLevel] = {"debug": "debug", "info": "info", "warn": "warning"}
_PANIC = b"runtime/panic.go:"
_HOW_TO_GET_IT = (
    "get it from https://openfga.dev, or with `go install github.com/openfga/openfga/cmd/openfga@latest`, and set"
    " OPAL_OPENFGA_INLINE_EXEC_PATH if it is not on PATH"
)


class InlineOpenFgaSettings(OpenFgaStoreSettings):
    """How OpenFGA is run beside the agent; it listens where `OPAL_POLICY_STORE_URL` leads."""

    inline_enabled: bool = Field(
        default=False,
        validation_alias="OPAL_OPENFGA_INLINE_ENABLED",
        description="Run OpenFGA ourselves, for development: started before the agent writes, started again when it"
        " dies, stopped last. It listens at OPAL_POLICY_STORE_URL, on this machine, and asks nobody for a key.",
    )
    exec_path: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_INLINE_EXEC_PATH",
        description="The openfga executable; by default the one on PATH.",
    )
    sqlite_path: str | None = Field(
        default=None,
        validation_alias="OPAL_OPENFGA_INLINE_SQLITE_PATH",
        description="SQLite file in which inline OpenFGA keeps everything; unset: it forgets everything when it ends.",
    )


def inline_openfga_service() -> ServiceType:
    """Offer inline OpenFGA, for the store `OPENFGA` alone."""
    return ServiceType(
        name="inline-openfga",
        summary="Runs OpenFGA beside the agent if OPAL_OPENFGA_INLINE_ENABLED says so",
        open=open_inline_openfga,
        phase="before_store",
        stores=("OPENFGA",),
        settings=InlineOpenFgaSettings,
    )


@asynccontextmanager
async def open_inline_openfga(settings: InlineOpenFgaSettings, context: AgentContext) -> AsyncGenerator[None]:
    """Run OpenFGA while this is open, if the settings say so; it is up, or slow and the log says so.

    Raises:
        ConfigurationError: there is no OpenFGA, somebody has its address, or its database can't be made.
    """
    if not settings.inline_enabled:
        yield
        return
    binary = str(await anyio.to_thread.run_sync(_find, settings.exec_path))
    host, port = await anyio.to_thread.run_sync(_free_address, settings.policy_store_url)
    database = _database(settings)
    if database and not await anyio.to_thread.run_sync(_is_there, settings.sqlite_path or ""):
        await _migrate([binary, "migrate", *database])
    command = [binary, "run", *_options(host, port), *(database or ["--datastore-engine=memory"])]
    url = f"http://{host}:{port}"
    engine = InlineEngine(
        "OpenFGA",
        command,
        url,
        partial(_wait_until_up, url),
        _Lines,
        context.metrics,
        options="OPAL_OPENFGA_INLINE_...",
    )
    async with running(engine):
        yield


def _find(exec_path: str | None) -> Path:
    wanted = "openfga" if exec_path is None else str(Path(exec_path).expanduser()) if "/" in exec_path else exec_path
    found = shutil.which(wanted)
    if found is None:
        where = "on PATH" if exec_path is None else f"at OPAL_OPENFGA_INLINE_EXEC_PATH={exec_path!r}"
        raise ConfigurationError(
            f"inline OpenFGA needs the openfga executable, and there is none {where}: {_HOW_TO_GET_IT}"
        )
    return Path(found)


def _free_address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    if parts.scheme != "http" or host not in {"localhost", "127.0.0.1"}:
        raise ConfigurationError(
            f"OPAL_POLICY_STORE_URL={url!r}: inline OpenFGA is for this machine, at http://localhost:port"
        )
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigurationError(
                f"OPAL_POLICY_STORE_URL: somebody listens at {url} already: end it, choose another port, or set"
                " OPAL_OPENFGA_INLINE_ENABLED=False if that is the OpenFGA to use"
            )
    return "127.0.0.1", port


def _options(host: str, port: int) -> list[str]:
    """Serve on this machine alone: by default OpenFGA has ports for all."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        grpc = probe.getsockname()[1]
    return [
        f"--http-addr={host}:{port}",
        f"--grpc-addr={host}:{grpc}",
        "--metrics-enabled=false",
        "--playground-enabled=false",
        "--profiler-enabled=false",
        "--log-format=json",
        "--log-level=warn",
    ]


def _database(settings: InlineOpenFgaSettings) -> list[str]:
    if settings.sqlite_path is None:
        return []
    return ["--datastore-engine=sqlite", f"--datastore-uri=file:{Path(settings.sqlite_path).expanduser()}"]


def _is_there(database: str) -> bool:
    """Tell whether there is a database; OpenFGA would try for a minute to make one where there is no folder for it."""
    file = Path(database).expanduser()
    if not file.parent.is_dir():
        raise ConfigurationError(f"OPAL_OPENFGA_INLINE_SQLITE_PATH={database!r}: there is no folder {file.parent}")
    return file.is_file()


async def _migrate(command: Sequence[str]) -> None:
    done = await anyio.run_process(command, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise ConfigurationError(f"OPAL_OPENFGA_INLINE_SQLITE_PATH: OpenFGA can't make its database: {said[-1]}")


async def _wait_until_up(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=1.0, trust_env=False) as http:
        while not await _is_up(http):  # noqa: ASYNC110 - another process has no event of ours to set
            await anyio.sleep(_LOOK_EVERY_S)


async def _is_up(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/healthz")).status_code == _OK
    except httpx.TransportError:
        return False


class _Lines:
    """Reads the log of one run: JSON on each line, or the text of an error before there is a log."""

    def __init__(self) -> None:
        self.first_error = ""
        self.panicked = False

    def read(self, line: bytes) -> LogEvent | None:
        """Return what a line says; usage and empty lines say nothing."""
        self.panicked = self.panicked or _PANIC in line
        try:
            decoded = cast("object", msgspec.json.decode(line))
        except msgspec.DecodeError:
            decoded = None
        event = _of_json(cast("dict[str, Any]", decoded)) if isinstance(decoded, dict) else _of_text(line)
        if event is not None and event.level == "error" and not self.first_error:
            self.first_error = ": ".join(filter(None, (event.message, str(event.fields.get("error", "")))))
        return event


def _of_json(line: dict[str, Any]) -> LogEvent:
    level = _LEVELS.get(str(line.get("level", "info")), "error")
    fields = {"error": line["error"]} if line.get("error") else {}
    return LogEvent(level=level, message=str(line.get("msg", "")), fields=fields)


def _of_text(line: bytes) -> LogEvent | None:
    text = line.decode("utf-8", "replace").strip().removeprefix("Error: ")
    return LogEvent(level="error", message=text) if text else None
