"""A server of bundles: `bundle.tar.gz` below a URL, asked for with its ETag."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib import import_module
from typing import Any

import anyio
import httpx

from cabochon import ConfigurationError
from cabochon.urls import masked_url
from cabochon_opal_server.policy.archive import read_archive
from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.own_thread import in_own_thread
from cabochon_opal_server.policy.reading import Reading, ReadLimits, UnfitError
from cabochon_opal_server.policy.repository import PolicyRepository, RepositoryError
from cabochon_opal_server.policy.snapshot import Snapshot

__all__ = ["BundleServer", "Credentials"]

_KEPT = 4
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How a server of bundles knows us: by a bearer token, or with `region` by S3's signature (version 4)."""

    token: str | None = None
    token_id: str | None = None
    region: str | None = None

    def headers(self, url: str) -> dict[str, str]:
        """Make the headers of a GET.

        Raises:
            ConfigurationError: botocore, which makes signatures, is not installed.
        """
        if self.token is None:
            return {}
        if self.region is None:
            return {"Authorization": f"Bearer {self.token}"}
        return _signed(url, self.token_id or "", self.token, self.region)


class BundleServer(PolicyRepository):
    """The newest bundle of a server; a bundle's hash is one of its content, so equal bundles are equal everywhere."""

    def __init__(
        self, url: str, credentials: Credentials, rules: BundleRules, limits: ReadLimits | None = None
    ) -> None:
        """Create it without asking; `url` is the folder of `bundle.tar.gz`."""
        self._url = f"{url.rstrip('/')}/bundle.tar.gz"
        self.place = masked_url(self._url)
        self._credentials = credentials
        self._rules = rules
        self._limits = limits or ReadLimits()
        self._unfit: tuple[bytes, UnfitError] | None = None
        self._etag: str | None = None
        self._newest: Snapshot | None = None
        self._snapshots: dict[str, Snapshot] = {}

    async def newest(self) -> Snapshot:
        """Ask for the bundle; what is unchanged, or known to be unfit, is not read again."""
        answer, etag = await self._download()
        if answer is None:
            if self._newest is None:
                raise RepositoryError("304 for a bundle that was never given")
            return self._newest
        digest = await in_own_thread(lambda: hashlib.sha256(answer).digest())
        if self._unfit is not None and self._unfit[0] == digest:
            # Nothing else came since: reading it once more would lead to the same.
            raise self._unfit[1]
        reading = Reading(self._limits)
        try:
            found = await in_own_thread(partial(read_archive, answer, self._rules, reading), reading.give_up)
        except UnfitError as err:
            self._unfit = digest, err
            raise
        self._etag, self._newest = etag, found
        self._snapshots.pop(found.hash, None)
        self._snapshots[found.hash] = found
        while len(self._snapshots) > _KEPT:
            del self._snapshots[next(iter(self._snapshots))]
        return found

    async def snapshot(self, point: str) -> Snapshot | None:
        """Return one of the last bundles."""
        return self._snapshots.get(point)

    async def _download(self) -> tuple[bytes | None, str | None]:
        headers = self._credentials.headers(self._url)
        if self._etag is not None:
            headers["If-None-Match"] = self._etag
        content = bytearray()
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True) as http,
                http.stream("GET", self._url, headers=headers) as response,
            ):
                if response.status_code == HTTPStatus.NOT_MODIFIED:
                    return None, self._etag
                if response.status_code != HTTPStatus.OK:
                    raise RepositoryError(f"the server of bundles answers {response.status_code}")
                with anyio.fail_after(self._limits.seconds):
                    async for chunk in response.aiter_raw():
                        content += chunk
                        if len(content) > self._limits.size:
                            raise UnfitError(f"it has more bytes than OPAL_POLICY_MAX_BYTES={self._limits.size}")
                return bytes(content), response.headers.get("etag")
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise RepositoryError(f"no answer: {str(err) or type(err).__name__}") from err
        except TimeoutError as err:
            raise RepositoryError(f"no whole answer within {self._limits.seconds:g} seconds") from err


def _signed(url: str, key_id: str, secret: str, region: str) -> dict[str, str]:
    try:
        # Large, for S3 alone, and without types.
        auth: Any = import_module("botocore.auth")
        requests: Any = import_module("botocore.awsrequest")
        credentials: Any = import_module("botocore.credentials")
    except ImportError as err:
        raise ConfigurationError(
            "OPAL_POLICY_BUNDLE_SERVER_TYPE=AWS-S3 needs botocore: pip install 'cabochon-opal-server[s3]'"
        ) from err
    request = requests.AWSRequest(method="GET", url=url)
    auth.S3SigV4Auth(credentials.Credentials(key_id, secret), "s3", region).add_auth(request)
    return dict(request.headers.items())
