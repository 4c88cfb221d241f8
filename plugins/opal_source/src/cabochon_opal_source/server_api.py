"""What the server answers over HTTP: the list of base data sources, policy bundles, whether it has room for us."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TypeVar

import anyio
import httpx
import msgspec
import structlog

from cabochon import SourceError
from cabochon.backoff import Backoff
from cabochon.documents.json_values import JsonError, guarded
from cabochon.documents.off_loop import off_loop
from cabochon.kit.http.failures import network_failure
from cabochon.kit.http.semantics import may_succeed_later
from cabochon.schemas import DataSourceConfig, PolicyBundle
from cabochon.urls import masked_url
from cabochon_opal_source.settings import OpalSourceSettings

__all__ = ["ServerApi"]

log = structlog.get_logger()

T = TypeVar("T")

_TIMEOUT_S = 30.0
_OLD_HASH_STATUSES = frozenset({404, 500})
_LONGEST_LOAD_WAIT_S = 10.0

_data_sources = msgspec.json.Decoder(DataSourceConfig)
_bundle = msgspec.json.Decoder(PolicyBundle)


class _StatusError(SourceError):
    """The server answered with something else than 200."""

    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class ServerApi:
    """Asks the server over HTTP, with one pool of connections."""

    def __init__(self, settings: OpalSourceSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: OpalSourceSettings, headers: Mapping[str, str], context: ssl.SSLContext
    ) -> AsyncGenerator[ServerApi]:
        """Open the pool; leaving closes it.

        The client takes proxies from the environment and leaves `Authorization` behind where a redirect leads to
        another origin.
        """
        async with httpx.AsyncClient(
            headers=dict(headers), verify=context, timeout=_TIMEOUT_S, follow_redirects=True
        ) as client:
            yield cls(settings, client)

    async def data_sources(self) -> DataSourceConfig:
        """Ask for the base data sources.

        Raises:
            SourceError: there is no answer, or it is none.
        """
        url = self._settings.data_sources_url
        return await self._read(await self._get(url, {}), _read_data_sources, url)

    async def policy_bundle(self, base_hash: str | None, directories: tuple[str, ...]) -> PolicyBundle:
        """Ask for the policies of these directories, as a difference to `base_hash` if the server still knows it.

        What may pass is tried again as `OPAL_POLICY_UPDATER_CONN_RETRY` says.

        Raises:
            SourceError: there is no answer, or it is none.
        """
        retry = self._settings.policy_retry
        backoff = Backoff(first_s=retry.wait_time.total_seconds(), longest_s=retry.longest_wait.total_seconds())
        tries = 1
        while True:
            try:
                return await self._policy_bundle(base_hash, directories)
            except SourceError as err:
                passing = not isinstance(err, _StatusError) or may_succeed_later(err.status_code)
                if not passing or tries >= retry.attempts:
                    raise
                wait = backoff.wait_s(tries)
                log.info("policy_bundle.fetch_retried", attempt=tries, wait_s=round(wait, 3), error=str(err))
            await anyio.sleep(wait)
            tries += 1

    async def _policy_bundle(self, base_hash: str | None, directories: tuple[str, ...]) -> PolicyBundle:
        url = self._settings.policy_url
        wanted: dict[str, str | list[str]] = {"path": list(directories)}
        if base_hash is not None:
            try:
                body = await self._get(url, {**wanted, "base_hash": base_hash})
            except _StatusError as err:
                # The peer's answers to a commit that is gone from its repository, such as after a forced push.
                if err.status_code not in _OLD_HASH_STATUSES:
                    raise
                body = await self._get(url, wanted)
        else:
            body = await self._get(url, wanted)
        return await self._read(body, _read_bundle, url)

    async def wait_for_room(self) -> None:
        """Ask whether the server has room for one more agent until it says so (`OPAL_WAIT_ON_SERVER_LOAD`)."""
        backoff = Backoff(longest_s=_LONGEST_LOAD_WAIT_S)
        tries = 0
        while True:
            tries += 1
            try:
                await self._get(f"{self._settings.server_url}/loadlimit", {})
            except SourceError as err:
                wait = backoff.wait_s(tries)
                log.warning("server_load.waited_for", attempt=tries, wait_s=round(wait, 3), error=str(err))
            else:
                return
            await anyio.sleep(wait)

    async def _get(self, url: str, query: Mapping[str, str | list[str]]) -> bytes:
        shown = masked_url(url)
        try:
            async with self._client.stream("GET", url, params=query or None) as response:
                if response.status_code != HTTPStatus.OK:
                    shown = masked_url(str(response.url.copy_with(query=None)))
                    raise _StatusError(_refusal(shown, response.status_code), response.status_code)
                return await self._body(response, shown)
        except httpx.TimeoutException as err:
            raise SourceError(f"{shown} gave no answer within {_TIMEOUT_S:g} s") from err
        except (httpx.NetworkError, OSError) as err:
            raise SourceError(f"{shown} can't be reached: {network_failure(err)}") from err
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            # The words of a protocol error may repeat what was received.
            raise SourceError(f"{shown} broke off, or did not answer in HTTP ({type(err).__name__})") from None

    async def _body(self, response: httpx.Response, shown: str) -> bytes:
        limit = self._settings.max_message_bytes
        pieces: list[bytes] = []
        received = response.aiter_bytes()
        async for piece in received:
            pieces.append(piece)
            limit -= len(piece)
            if limit < 0:
                break
        else:
            return b"".join(pieces)
        # Reads on after closing: that ends the client's chain of generators, which trio would report as left behind.
        await response.aclose()
        with suppress(httpx.HTTPError, httpx.StreamError):
            async for _ in received:
                pass
        most = self._settings.max_message_bytes
        raise SourceError(f"{shown} answered with more than {most} bytes (OPAL_SOURCE_MAX_MESSAGE_BYTES)")

    async def _read(self, body: bytes, read: Callable[[bytes], T], url: str) -> T:
        try:
            return await off_loop(read, body)
        except JsonError as err:
            raise SourceError(f"{masked_url(url)} answered with something else: {err}") from err


def _read_data_sources(body: bytes) -> DataSourceConfig:
    return guarded(_data_sources.decode, body)


def _read_bundle(body: bytes) -> PolicyBundle:
    return guarded(_bundle.decode, body)


def _refusal(shown: str, status: int) -> str:
    hint = {
        401: ": OPAL_CLIENT_TOKEN is refused",
        403: ": OPAL_CLIENT_TOKEN does not allow it",
        404: ": there is no such thing on the server",
        503: ": the server is not ready, or its policy repository is not",
    }.get(status, "")
    return f"{shown} answered with {status}{hint}"
