"""Which policies are none of ours, by `OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE`, read as the peer reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from cabochon.errors import ConfigurationError

__all__ = ["PathsToIgnore"]


class PathsToIgnore:
    """Tells which policy ids are others' to load: they are neither written nor deleted.

    A pattern is one of

    - `/` or `/**`: everything;
    - `dir/**`: `dir` and all below it, with nothing special before the `/**`;
    - anything else: a glob of `pathlib.PurePath.match`, compared from the end (`*.rego` is every id that ends so) or,
      with a leading slash, as a whole; a `*` stops at a slash;
    - any of these after a `!`: an exception, whatever the other patterns say.

    Raises:
        ConfigurationError: a pattern is empty, or a lone dot.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._ignored = tuple(pattern for pattern in patterns if not pattern.startswith("!"))
        self._excepted = tuple(pattern[1:] for pattern in patterns if pattern.startswith("!"))
        for pattern in self._ignored + self._excepted:
            try:
                _matches(pattern, "")
            except ValueError as err:
                raise ConfigurationError(
                    f"OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE has {pattern!r}, which matches nothing;"
                    " a pattern is like dir/**, dir/*.rego or !dir/mine.rego"
                ) from err

    def __bool__(self) -> bool:
        """Whether anything can be ignored."""
        return bool(self._ignored)

    def __contains__(self, policy_id: str) -> bool:
        """Whether this policy is ignored."""
        return not _any(self._excepted, policy_id) and _any(self._ignored, policy_id)


def _any(patterns: Sequence[str], policy_id: str) -> bool:
    return any(_matches(pattern, policy_id) for pattern in patterns)


def _matches(pattern: str, policy_id: str) -> bool:
    if pattern in {"/", "/**"}:
        return True
    if pattern.endswith("/**"):
        return f"{policy_id}/".startswith(pattern.removesuffix("**"))
    return PurePosixPath(policy_id).match(pattern)
