"""A server of bundles: `bundle.tar.gz` below a URL, asked for with its ETag."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

import httpx
from anyio import to_thread

from cabochon import ConfigurationError
from cabochon.urls import masked_url
from cabochon_opal_server.policy.repository import PolicyRepository, RepositoryError
from cabochon_opal_server.policy.snapshot import BundleRules, Snapshot, parents

__all__ = ["BundleServer", "Credentials"]

_KEPT = 8
_TIMEOUT_S = 60.0
_LARGEST_DOWNLOAD = 256 * 1024 * 1024
_LARGEST_CONTENT = 1024 * 1024 * 1024


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

    def __init__(self, url: str, credentials: Credentials, rules: BundleRules) -> None:
        """Create it without asking; `url` is the folder of `bundle.tar.gz`."""
        self._url = f"{url.rstrip('/')}/bundle.tar.gz"
        self.place = masked_url(self._url)
        self._credentials = credentials
        self._rules = rules
        self._etag: str | None = None
        self._newest: Snapshot | None = None
        self._snapshots: dict[str, Snapshot] = {}

    async def newest(self) -> Snapshot:
        """Ask for the bundle, unless it is still the last one."""
        answer, etag = await self._download()
        if answer is None:
            if self._newest is None:
                raise RepositoryError("304 for a bundle that was never given")
            return self._newest
        try:
            found = await to_thread.run_sync(_unpacked, answer, self._rules)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as err:
            raise RepositoryError(f"what came is no bundle.tar.gz: {err}") from err
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
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > _LARGEST_DOWNLOAD:
                        raise RepositoryError(f"the bundle has more than {_LARGEST_DOWNLOAD} bytes")
                return bytes(content), response.headers.get("etag")
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise RepositoryError(f"no answer: {str(err) or type(err).__name__}") from err


def _unpacked(archive: bytes, rules: BundleRules) -> Snapshot:
    """Read an archive in memory: nothing is written, so no name in it can lead anywhere."""
    files: dict[str, bytes] = {}
    paths: set[str] = set()
    left = _LARGEST_CONTENT
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
        for member in tar:
            path = posixpath.normpath(member.name).lstrip("/")
            if not member.isfile() or ".." in PurePosixPath(path).parts:
                continue
            paths.update((path, *parents([path])))
            if rules.needs(path):
                left -= member.size
                if left < 0:
                    raise tarfile.TarError(f"it unpacks to more than {_LARGEST_CONTENT} bytes")
                content = tar.extractfile(member)
                files[path] = b"" if content is None else content.read()
    return Snapshot(hash=_hash(files), files=files, paths=frozenset(paths - {"."}), rules=rules)


def _hash(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{len(path)} {path} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


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
