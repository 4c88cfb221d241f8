"""Archives that are no good bundle, each in its way."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable, Iterator

__all__ = ["GOOD", "archive", "bad_archives", "packed"]

GOOD = (("app/a.rego", b"package app.a\n"), ("app/b.rego", b"package app.b\n"))


def archive(files: Iterable[tuple[str, bytes]] = GOOD) -> bytes:
    """Make a tar archive that is not packed."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def packed(raw: bytes) -> bytes:
    """Pack it as bundles are."""
    return gzip.compress(raw, 1)


def bad_archives() -> Iterator[tuple[str, bytes]]:
    """Give archives by what is wrong with them."""
    good = archive()
    yield "xz, damaged", lzma.compress(good)[:-40] + b"\xff" * 40
    yield "xz, cut", lzma.compress(good)[:100]
    yield "gzip, damaged in the middle", packed(good)[:60] + b"\xff\xff" + packed(good)[62:]
    # The first member is whole, and what comes after it is gone.
    yield "tar, cut between members", packed(good[:1024])
    yield "tar, a damaged header in the middle", packed(good[:1024] + b"\xff" * 512 + good[1536:])
    yield "tar, no end", packed(good[:2048])
    yield "a name that is not UTF-8", packed(_raw_name(b"app/caf\xe9.rego"))
    yield "a pax header of another charset", packed(_pax(_record(b"hdrcharset=BINARY"), _record(b"path=app/\xe9.rego")))
    yield "a pax header that is none", packed(_pax(b"99999999999999999999 path=x\n" * 20))
    yield "a sparse file of 20 GiB", packed(_sparse())
    yield "a header of 8 GiB", packed(_header(b"x", b"x", 8 << 30) + bytes(4096))
    yield "30,000 members", packed(_many(30_000))
    yield "a folder in 500 others", packed(archive([("a/" * 500 + "m.rego", b"package m")]))
    yield "a manifest of 30,000 lines", packed(archive([(".manifest", b"x\n" * 30_000), *GOOD]))
    # Each piece is a whole gzip file of 64 MiB of zeros.
    zeros = gzip.compress(bytes(64 << 20), 9)
    yield "20 GiB of zeros", packed(_header(b"zeros.bin", b"0", (20 << 30) - 1)) + zeros * 320


def _header(name: bytes, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name.decode("latin-1"))
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT, "latin-1", "strict")


def _raw_name(name: bytes) -> bytes:
    content = b"package x"
    return _header(name, tarfile.REGTYPE, len(content)) + content.ljust(512, b"\0") + bytes(10240)


def _record(pair: bytes) -> bytes:
    return b"%d %s\n" % (len(pair) + 4, pair)


def _pax(*records: bytes) -> bytes:
    header = b"".join(records)
    return _header(b"pax", b"x", len(header)) + header.ljust(512, b"\0") + archive()


def _sparse() -> bytes:
    raw = bytearray(_header(b"big.rego", b"S", 512))
    raw[386:398], raw[398:410] = b"00000000000\0", b"00000001000\0"
    raw[483:495] = b"%011o\0" % (20 << 27)
    raw[148:156] = b"        "
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw) + b"package big".ljust(512, b"\0") + bytes(10240)


def _many(count: int) -> bytes:
    block = _header(b"a/b/empty.txt", tarfile.REGTYPE, 0)
    return block * count + bytes(10240)
