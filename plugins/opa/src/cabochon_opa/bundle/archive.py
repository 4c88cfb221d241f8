"""The bundle itself: a tar.gz of modules and a manifest, the same bytes for the same policies.

Only snapshots are made. OPA's delta bundles patch data and can't change a policy, and our documents do not travel in
the bundle: a delta makes OPA compile every module again (0.8 s with 1,500 of them), a patch by REST does not (2 ms).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread
import msgspec

from cabochon.documents.path import DocumentPath
from cabochon.errors import StoreRejectedError

__all__ = ["Archive", "archive_path", "build", "build_archive"]

_OFF_LOOP_BYTES = 1_000_000
_EACH_BYTES = 1_000
"""A module's headers take as long as so many bytes more."""

_SUFFIX = ".rego"
_LEVEL = 1
"""Of gzip: it goes to an OPA beside us, and higher levels cost more time than they save."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One snapshot.

    Attributes:
        revision: a hash of what is in it: the same policies have the same revision, in every life of the agent.
        roots: the paths that it owns.
        content: the tar.gz.
    """

    revision: str
    roots: tuple[DocumentPath, ...]
    content: bytes

    @property
    def etag(self) -> str:
        """What names it in HTTP."""
        return f'"{self.revision}"'


async def build_archive(modules: Mapping[str, str], roots: Sequence[DocumentPath]) -> Archive:
    """Build the archive, in a thread if that takes long.

    Raises:
        StoreRejectedError: see `build`.
    """
    if sum(map(len, modules.values())) + _EACH_BYTES * len(modules) > _OFF_LOOP_BYTES:
        return await anyio.to_thread.run_sync(build, modules, roots)
    return build(modules, roots)


def build(modules: Mapping[str, str], roots: Sequence[DocumentPath]) -> Archive:
    """Build the archive of `modules`, id to source.

    The manifest says nothing about the version of Rego, so that OPA reads modules as v0 or v1 by its own
    configuration, as it does those that come by REST.

    Raises:
        StoreRejectedError: an id is no path inside an archive, or two ids are the same file.
    """
    files = _files(modules)
    owned = ["/".join(root) for root in sorted(roots)]
    revision = _revision(files, owned)
    manifest = msgspec.json.encode({"revision": revision, "roots": owned})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in (("/.manifest", manifest), *files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return Archive(revision, tuple(sorted(roots)), gzip.compress(packed.getvalue(), _LEVEL, mtime=0))


def archive_path(policy_id: str) -> str:
    """Return where a module lies in the archive: at its path in the repository, with the suffix that OPA looks for.

    Raises:
        StoreRejectedError: the id is absolute, leads out of the archive, or is no path.
    """
    parts = policy_id.split("/")
    sound = "\0" not in policy_id and policy_id.isprintable()
    if not sound or any(part in {"", ".", ".."} for part in parts):
        msg = f"{policy_id!r} can't be the path of a module in a bundle: it should be relative, without . and .."
        raise StoreRejectedError(msg, path=policy_id)
    return "/" + (policy_id if policy_id.endswith(_SUFFIX) else policy_id + _SUFFIX)


def _files(modules: Mapping[str, str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for policy_id in sorted(modules):
        path = archive_path(policy_id)
        if path in files:
            msg = f"{policy_id!r}: another module of the set has the same path {path} in the bundle"
            raise StoreRejectedError(msg, path=policy_id)
        files[path] = modules[policy_id].encode("utf-8", "surrogatepass")
    return files


def _revision(files: Mapping[str, bytes], roots: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for root in roots:
        digest.update(b"root %d " % len(root.encode()) + root.encode())
    for path, content in files.items():
        named = path.encode()
        digest.update(b"file %d %d " % (len(named), len(content)) + named + content)
    return digest.hexdigest()[:40]
