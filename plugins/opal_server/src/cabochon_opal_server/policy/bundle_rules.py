"""Which files of a repository go into bundles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["MANIFEST", "BundleRules"]

MANIFEST = ".manifest"
_DATA_FILE = "data.json"
_EVERYTHING = ("/", "/**")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRules:
    """Which files of a repository go into bundles, and in which order.

    Attributes:
        extensions: those of the files that may.
        policy_extensions: those of policies.
        ignored: patterns of paths that may not: `folder/**` for all below a folder, else `PurePath.match`'s.
        manifest: path of a manifest, or of the folder of one; "" for the root.
    """

    extensions: Collection[str] = (".rego", ".json")
    policy_extensions: Collection[str] = (".rego",)
    ignored: Collection[str] = ()
    manifest: str = ""

    def tracks(self, path: str) -> bool:
        """Tell whether a file counts: a change of it is announced."""
        return _suffix(path) in self.extensions and not self.ignores(path)

    def ignores(self, path: str) -> bool:
        """Tell whether a path is to be left out."""
        return any(_matches(path, pattern) for pattern in self.ignored)

    def needs(self, path: str) -> bool:
        """Tell whether a file's content is needed to make bundles."""
        return self.tracks(path) or _name(path) == MANIFEST or path == self.manifest.strip("/")

    def is_policy(self, path: str) -> bool:
        """Tell whether a file that counts is a policy."""
        return not self.is_data(path) and _suffix(path) in self.policy_extensions

    @staticmethod
    def is_data(path: str) -> bool:
        """Tell whether a file is data of its folder."""
        return _name(path) == _DATA_FILE


def _matches(path: str, pattern: str) -> bool:
    if pattern in _EVERYTHING:
        return True
    if pattern.endswith("/**"):
        return f"{path}/".startswith(pattern[:-2])
    return PurePosixPath(path).match(pattern)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _suffix(path: str) -> str:
    """Return what `PurePath.suffix` does, in a tenth of the time."""
    name = _name(path)
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""
