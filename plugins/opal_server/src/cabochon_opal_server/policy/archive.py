"""A bundle's archive, read within limits, in memory: nothing is written, so no name in it can lead anywhere.

Blocking: it belongs into a thread.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import posixpath
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Any, cast

from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.reading import Reading, RepositoryError, UnfitError
from cabochon_opal_server.policy.snapshot import Snapshot, parents

__all__ = ["read_archive"]

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"
_CHUNK = 64 * 1024
_END = bytes(tarfile.BLOCKSIZE)
_LARGEST_HEADER = 1024 * 1024
_SLACK = 4
"""What is not needed may take so many times more than what is."""


class _Unpacking(io.RawIOBase):
    """What an archive unpacks to, as far as it may be; it goes forward only."""

    def __init__(self, archive: bytes, reading: Reading) -> None:
        super().__init__()
        self._source = _unpacked(archive)
        self._reading = reading
        self._at = 0
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise UnfitError(f"it has a header of {size} bytes")
        self.last = self._source.read(size)
        self._moved(len(self.last))
        return self.last

    def seek(self, to: int, _whence: int = io.SEEK_SET, /) -> int:
        if to < self._at:
            raise tarfile.ReadError("it points backwards")
        while self._at < to:
            skipped = len(self._source.read(min(_CHUNK, to - self._at)))
            if not skipped:
                break
            self._moved(skipped)
        return self._at

    def tell(self) -> int:
        return self._at

    def finish(self) -> None:
        """Read to the end, where checksums are."""
        while self.read(_CHUNK):
            pass

    def _moved(self, by: int) -> None:
        self._at += by
        self._reading.look_up()
        most = _SLACK * self._reading.limits.size
        if self._at > most:
            raise UnfitError(f"it unpacks to more than {most} bytes, {_SLACK} times OPAL_POLICY_MAX_BYTES")


def _unpacked(archive: bytes) -> IO[bytes]:
    raw = io.BytesIO(archive)
    for magic, opened in ((_GZIP, _gunzip), (_BZIP2, bz2.BZ2File), (_XZ, lzma.LZMAFile)):
        if archive.startswith(magic):
            return cast("IO[bytes]", opened(raw))
    return raw


def _gunzip(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


def read_archive(archive: bytes, rules: BundleRules, reading: Reading) -> Snapshot:
    """Read what is needed of a tar archive, packed by gzip, bzip2, xz or not at all.

    Raises:
        UnfitError: it has too much, is damaged or not whole, or a file that is needed has no name that can be told.
        RepositoryError: it took too long, or nobody waits for it any more.
    """
    try:
        return _read(archive, rules, reading).prepared(reading)
    except RepositoryError:
        raise
    except Exception as err:  # what reads archives raises what it likes, and none of it may end the server
        reason = " ".join(str(err).split())[:200] or type(err).__name__
        raise UnfitError(f"what came is no bundle.tar.gz: {ascii(reason)[1:-1]}") from err


def _read(archive: bytes, rules: BundleRules, reading: Reading) -> Snapshot:
    files: dict[str, bytes] = {}
    paths: set[str] = set()
    unpacking = _Unpacking(archive, reading)
    with tarfile.open(fileobj=cast("IO[bytes]", unpacking), mode="r:") as tar:
        while (member := tar.next()) is not None:
            # It would remember them all.
            cast("Any", tar).members.clear()
            path = posixpath.normpath(reading.path(member.name.encode(errors="surrogateescape"))).lstrip("/")
            if not member.isfile() or ".." in PurePosixPath(path).parts:
                continue
            if member.issparse():
                raise UnfitError(f"{path!a} is a sparse file: make the archive without them")
            paths.update((path, *parents([path])))
            reading.count(path.count("/"))
            if rules.needs(path):
                reading.content(path, member.size)
                files[path] = _content(tar, member)
        if unpacking.last != _END:
            # The library takes a header that it can't read, and the end of the file, for the end of the archive.
            raise tarfile.ReadError("its end is missing: it was cut short, or is damaged")
        unpacking.finish()
    return Snapshot(hash=_hash(files), files=files, paths=frozenset(paths - {"."}), rules=rules)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = tar.extractfile(member)
    pieces: list[bytes] = []
    while source is not None and (piece := source.read(_CHUNK)):
        pieces.append(piece)
    return b"".join(pieces)


def _hash(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{len(path)} {path} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()
