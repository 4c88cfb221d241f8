"""Every error that Cabochon raises, as one tree.

CabochonError
    ConfigurationError
    PluginError
        PluginLoadError
        PluginConflictError
        PluginNotFoundError
    DocumentPathError
    FetchError
        FetchTimeoutError
        FetchStatusError
        FetchDecodeError
    PolicyStoreError
        StoreUnavailableError
        StateLostError
        AnswerLostError
        StoreRejectedError
            PathConflictError
            HeldOtherwiseError
            PatchFailedError
            UnsupportedOperationError
    SourceError
    TransactionError
    ReportError
    BackboneError
        LogTrimmedError
        LogReplacedError

Plugins translate what their libraries raise into these at their edge, with ``raise ... from err``: no exception of an
HTTP client or a database driver crosses into the core. Messages say what failed, for which entry, what was expected and
what to do; they never contain a header, a token or a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "AnswerLostError",
    "BackboneError",
    "CabochonError",
    "ConfigurationError",
    "DocumentPathError",
    "FetchDecodeError",
    "FetchError",
    "FetchStatusError",
    "FetchTimeoutError",
    "HeldOtherwiseError",
    "LogReplacedError",
    "LogTrimmedError",
    "PatchFailedError",
    "PathConflictError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PolicyStoreError",
    "ReportError",
    "SourceError",
    "StateLostError",
    "StoreRejectedError",
    "StoreUnavailableError",
    "TransactionError",
    "UnsupportedOperationError",
]


class CabochonError(Exception):
    """Anything that Cabochon itself can name."""


class ConfigurationError(CabochonError):
    """A setting is missing or wrong: the message names the variable, its value and what would be right."""


class PluginError(CabochonError):
    """A plugin can't do what it was installed for; `plugin` names it."""

    def __init__(self, message: str, *, plugin: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin


class PluginLoadError(PluginError):
    """A plugin failed to import or to register, and a setting asks for it."""


class PluginConflictError(PluginError):
    """Two installed plugins claim one name."""


class PluginNotFoundError(PluginError):
    """No installed plugin provides the name that was asked for; `known` lists what is installed."""

    def __init__(self, message: str, *, name: str, known: Iterable[str]) -> None:
        super().__init__(message)
        self.name = name
        self.known = tuple(sorted(known))


class DocumentPathError(CabochonError):
    """A text is no document path or JSON pointer."""


class FetchError(CabochonError):
    """A data source entry could not be fetched.

    Attributes:
        url: where from, without credentials.
        again: whether the same fetch may succeed later.
        retry_after_s: seconds the source asked us to wait, or None.
    """

    def __init__(self, message: str, *, url: str, again: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.again = again
        self.retry_after_s = retry_after_s


class FetchTimeoutError(FetchError):
    """The source did not answer within the deadline of its update."""


class FetchStatusError(FetchError):
    """The source answered with an error; `status_code` is its own (an HTTP status for an HTTP fetcher)."""

    def __init__(
        self, message: str, *, url: str, status_code: int, again: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, url=url, again=again, retry_after_s=retry_after_s)
        self.status_code = status_code


class FetchDecodeError(FetchError):
    """What came is not what the entry asks for: no JSON, too large, or no JSON patch."""


class PolicyStoreError(CabochonError):
    """A policy store could not do what it was asked."""


class StoreUnavailableError(PolicyStoreError):
    """The engine can't be reached or is not able to write now. Nothing of the commit has landed."""


class StateLostError(PolicyStoreError):
    """The guard of a commit failed: the engine does not hold the marker we left there. Nothing has landed."""


class AnswerLostError(PolicyStoreError):
    """A call to the engine may have landed, or do so in a moment: nobody knows.

    Stores that are built of parts raise it between them; a commit says `Unknown` instead, and one that raises it is
    taken to say so of everything in it.
    """


class StoreRejectedError(PolicyStoreError):
    """The engine understood the change and refuses it; the same change will be refused again.

    Attributes:
        path: the path or policy id that is to blame, "" if the engine does not say.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class PathConflictError(StoreRejectedError):
    """The path runs through a scalar, a missing parent, or something that others own."""


class HeldOtherwiseError(StoreRejectedError):
    """A fact can't be written because the engine holds it with another attribute, by somebody else's doing.

    Attributes:
        found: what the engine holds, attribute by fact.
    """

    def __init__(self, message: str, *, found: Mapping[Any, Any], path: str = "") -> None:
        super().__init__(message, path=path)
        self.found = found


class PatchFailedError(StoreRejectedError):
    """A JSON patch (RFC 6902) does not apply to the document as it is."""


class UnsupportedOperationError(StoreRejectedError):
    """The engine has no such power: the message names the path and the reason."""


class SourceError(CabochonError):
    """The update source could not answer or its connection was lost."""


class TransactionError(CabochonError):
    """A transaction was used after its end, or ended without success: the message holds the reason."""


class ReportError(CabochonError):
    """A report could not be delivered.

    Attributes:
        again: whether the same delivery may succeed later.
        retry_after_s: seconds the receiver asked us to wait, or None.
    """

    def __init__(self, message: str, *, again: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.again = again
        self.retry_after_s = retry_after_s


class BackboneError(CabochonError):
    """The log of a server can't be reached or can't be written now."""


class LogTrimmedError(BackboneError):
    """Retention has removed records that were asked for.

    Attributes:
        floor: the highest number that is gone.
    """

    def __init__(self, message: str, *, floor: int) -> None:
        super().__init__(message)
        self.floor = floor


class LogReplacedError(BackboneError):
    """The log was wiped or has lost its end, and has another identity: no number known before means anything now."""
