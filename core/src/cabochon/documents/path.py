"""DocumentPath: where in the engine's data a document lives, as a tuple of segments.

Two notations lead to it. A `dst_path` is the path part of OPA's data API (`/v1/data/<path>`): segments separated by
`/`, percent-encoded where a segment holds a `/` itself; leading, trailing and doubled slashes carry no meaning. A JSON
pointer (RFC 6901), as JSON patches use it, escapes `/` as `~1` and `~` as `~0` and may hold empty segments.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from cabochon.errors import DocumentPathError

__all__ = ["ROOT", "DocumentPath"]

_DEEPEST = 128
"""What it costs an engine to look at a path grows faster than its length: OPA takes seconds for a few hundred segments,
and for thousands of them it does not answer at all."""


class DocumentPath(tuple[str, ...]):
    """The segments of a path, compared by segment: `/users` and `/users2` have nothing in common.

    A plain tuple in all else: hashable, ordered, sliceable.

    Example:
        >>> DocumentPath.parse("users/bob%2Fsmith/").covers(DocumentPath.parse("/users/bob%2Fsmith/roles"))
        True
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> DocumentPath:
        """Read a `dst_path`: `""` and `/` are the root, `a/b`, `/a/b` and `/a//b/` are one path.

        A `%` that starts no escape stands for itself, so that a key such as `50%` needs no care.

        Raises:
            DocumentPathError: the text, or what is percent-encoded in it, can't be written as UTF-8, or it has more
                than 128 segments.
        """
        try:
            if not text.isascii():
                text.encode()
            if "%" in text:
                return _not_too_deep(cls([unquote(part, errors="strict") for part in text.split("/") if part]))
        except UnicodeEncodeError as err:
            msg = f"path {text!r} has half a surrogate pair, which no engine can hold"
            raise DocumentPathError(msg) from err
        except UnicodeDecodeError as err:
            msg = f"path {text!r} has percent-encoded bytes that are no UTF-8"
            raise DocumentPathError(msg) from err
        return _not_too_deep(cls([part for part in text.split("/") if part]))

    @classmethod
    def from_pointer(cls, pointer: str) -> DocumentPath:
        """Read a JSON pointer (RFC 6901); `""` is the whole document, and so is `/`, as OPA reads it.

        Raises:
            DocumentPathError: the text has a `~` that is neither `~0` nor `~1`, does not start with `/`, or has more
                than 128 segments.
        """
        if pointer in {"", "/"}:
            return ROOT
        if not pointer.startswith("/"):
            msg = f"JSON pointer {pointer!r} must be empty or start with '/' (RFC 6901)"
            raise DocumentPathError(msg)
        if "~" not in pointer:
            return _not_too_deep(cls(pointer[1:].split("/")))
        if pointer.count("~") != pointer.count("~0") + pointer.count("~1"):
            msg = f"JSON pointer {pointer!r} has a '~' that is neither '~0' nor '~1' (RFC 6901)"
            raise DocumentPathError(msg)
        return _not_too_deep(cls([part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]))

    def __truediv__(self, segment: str) -> DocumentPath:
        """Return the path of the member `segment` of this document."""
        return DocumentPath((*self, segment))

    def joined(self, below: tuple[str, ...]) -> DocumentPath:
        """Return the path `below` seen from this one."""
        return DocumentPath((*self, *below))

    @property
    def parent(self) -> DocumentPath:
        """The path one segment up; the root is its own parent."""
        return DocumentPath(self[:-1])

    def covers(self, other: tuple[str, ...]) -> bool:
        """Tell whether `other` is this path or lies below it."""
        return other[: len(self)] == self

    def overlaps(self, other: tuple[str, ...]) -> bool:
        """Tell whether one of the two covers the other."""
        shorter = min(len(self), len(other))
        return self[:shorter] == other[:shorter]

    def pointer(self) -> str:
        """Write it as a JSON pointer (RFC 6901)."""
        return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in self)

    def __str__(self) -> str:
        """Write it as a `dst_path`, percent-encoding what would be misread; the root is `/`."""
        return "/" + "/".join(quote(part, safe=" !$&'()*+,;=:@-._~") if not part.isalnum() else part for part in self)

    def __repr__(self) -> str:
        """Show the `dst_path`."""
        return f"DocumentPath({str(self)!r})"


def _not_too_deep(path: DocumentPath) -> DocumentPath:
    if len(path) > _DEEPEST:
        msg = f"a path of {len(path)} segments is too deep: {_DEEPEST} are the most"
        raise DocumentPathError(msg)
    return path


ROOT = DocumentPath()
"""The path of the whole data document."""
