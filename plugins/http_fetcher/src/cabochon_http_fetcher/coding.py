"""Content codings: gzip and deflate, unpacked piece by piece so that no piece is larger than asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["CodingError", "Unpacker", "unpackers"]

_PIECE = 1 << 20
_MOST_CODINGS = 2  # no one packs twice, except to harm
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class CodingError(ValueError):
    """The body is not coded as it says."""


class Unpacker:
    """Takes one coding off."""

    def __init__(self, coding: str) -> None:
        self._window = _GZIP if coding == "gzip" else _ZLIB
        self._stream = zlib.decompressobj(self._window)
        self._started = False

    def unpack(self, packed: bytes) -> Iterator[bytes]:
        """Unpack what follows, in pieces of a megabyte at most.

        Raises:
            CodingError: it can't be unpacked.
        """
        try:
            while packed:
                if self._stream.eof:
                    # Several gzip members in a row are one body (RFC 1952, section 2.2).
                    self._stream = zlib.decompressobj(self._window)
                yield self._piece(packed)
                packed = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as err:
            raise CodingError(str(err)) from err

    def _piece(self, packed: bytes) -> bytes:
        try:
            piece = self._stream.decompress(packed, _PIECE)
        except zlib.error:
            if self._started or self._window != _ZLIB:
                raise
            # Some send deflate without the frame that the standard asks for (RFC 9110, section 8.4.1.2).
            self._window = _RAW
            self._stream = zlib.decompressobj(_RAW)
            piece = self._stream.decompress(packed, _PIECE)
        self._started = True
        return piece

    def end(self) -> None:
        """Say that there is no more.

        Raises:
            CodingError: there should be.
        """
        if self._started and not self._stream.eof:
            raise CodingError("it ends early")


def unpackers(content_encoding: str) -> list[Unpacker]:
    """Make what takes off the codings that a header lists, in the order of taking.

    Raises:
        CodingError: one of them is unknown here.
    """
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    taken = [coding.removeprefix("x-") for coding in reversed(codings) if coding not in {"", "identity"}]
    unknown = [coding for coding in taken if coding not in {"gzip", "deflate"}]
    if unknown or len(taken) > _MOST_CODINGS:
        raise CodingError("only gzip and deflate were asked for")
    return [Unpacker(coding) for coding in taken]
