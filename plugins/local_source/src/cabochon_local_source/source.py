"""The `local` update source: updates as JSON lines, base data from a setting, policies from a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import structlog
from anyio import to_thread

from cabochon import ConfigurationError, Connected, DataUpdateReceived, SourceError, SourceEvent, UpdateSource
from cabochon.documents.json_values import JsonError, guarded
from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle
from cabochon_local_source.policies import read_bundle
from cabochon_local_source.settings import LocalSourceSettings

__all__ = ["LocalUpdateSource", "open_local_source"]

log = structlog.get_logger()

_CHUNK_BYTES = 262_144
_FOLLOW_EVERY_S = 0.1

_update = msgspec.json.Decoder(DataUpdate)


class LocalUpdateSource(UpdateSource):
    """Reads what the settings name; a line that is no data update is logged, counted and skipped."""

    def __init__(self, settings: LocalSourceSettings) -> None:
        self._settings = settings
        self.topics = settings.topics
        self.has_policies = settings.policies is not None
        self.bad_lines = 0

    async def events(self) -> AsyncIterator[SourceEvent]:
        """Yield `Connected`, then each line's update."""
        yield Connected()
        if self._settings.updates is None:
            return
        number = 0
        async with aclosing(self._batches(self._settings.updates)) as batches:
            async for lines in batches:
                for line in lines:
                    number += 1
                    event = self._event(line, number)
                    if event is not None:
                        yield event

    async def data_sources(self) -> DataSourceConfig:
        """Return the base data sources of the settings."""
        return self._settings.data_sources

    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Read the policies of the folder, all of them; None if they are as they were at `base_hash`."""
        del directories
        folder = self._settings.policies
        if folder is None:
            return None
        try:
            bundle = await to_thread.run_sync(read_bundle, folder)
        except (OSError, UnicodeDecodeError) as err:
            msg = f"OPAL_LOCAL_POLICIES={folder} can't be read: {err}"
            raise SourceError(msg) from err
        return None if bundle.hash == base_hash else bundle

    def _event(self, line: bytes, number: int) -> DataUpdateReceived | None:
        if not line.strip():
            return None
        try:
            return DataUpdateReceived(guarded(_update.decode, line), self.topics[0] if self.topics else "", number)
        except JsonError as err:
            self.bad_lines += 1
            log.warning("data_update.malformed", line=number, error=str(err))
            return None

    async def _batches(self, where: str) -> AsyncGenerator[list[bytes]]:
        """Read whole lines off the event loop; what follows the last line's end waits for more, or for the end."""
        file = sys.stdin.fileno() if where == "-" else await to_thread.run_sync(os.open, where, os.O_RDONLY)
        try:
            rest = bytearray()
            while True:
                # A thread that waits for standard input could not be woken, and would keep the process from ending.
                with suppress(PermissionError):  # a file: there is no waiting for it
                    await anyio.wait_readable(file)
                chunk = await to_thread.run_sync(os.read, file, _CHUNK_BYTES)
                if chunk:
                    rest += chunk
                    end = rest.rfind(b"\n", len(rest) - len(chunk)) + 1
                    if end:
                        lines, rest = bytes(rest[: end - 1]).split(b"\n"), rest[end:]
                        yield lines
                elif self._settings.follow:
                    await anyio.sleep(_FOLLOW_EVERY_S)
                else:
                    break
            yield [bytes(rest)]
        finally:
            if where != "-":
                os.close(file)


@asynccontextmanager
async def open_local_source(settings: LocalSourceSettings) -> AsyncGenerator[LocalUpdateSource]:
    """Check that what the settings name is there, and yield the source.

    Raises:
        ConfigurationError: a file or folder is not there.
    """
    _check(settings)
    yield LocalUpdateSource(settings)


def _check(settings: LocalSourceSettings) -> None:
    updates, policies = settings.updates, settings.policies
    if updates is not None and updates != "-" and not Path(updates).is_file():
        msg = f"OPAL_LOCAL_UPDATES={updates} should be a file of data updates, or - for standard input"
        raise ConfigurationError(msg)
    if policies is not None and not policies.is_dir():
        msg = f"OPAL_LOCAL_POLICIES={policies} should be a folder of policies"
        raise ConfigurationError(msg)
