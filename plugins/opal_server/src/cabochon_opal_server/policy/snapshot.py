"""The files of the policies at one point of their history."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import structlog

__all__ = ["MANIFEST", "BundleRules", "Snapshot", "package_of", "parents"]

log = structlog.get_logger()

MANIFEST = ".manifest"
_DATA_FILE = "data.json"
_EVERYTHING = ("/", "/**")

# A package clause is a line of its own; a `#` before it would make it a comment.
_PACKAGE = re.compile(r'^[ \t]*package[ \t]+([A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\["[^"\n]*"\])*)', re.MULTILINE)


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
        return PurePosixPath(path).suffix in self.extensions and not self.ignores(path)

    def ignores(self, path: str) -> bool:
        """Tell whether a path is to be left out."""
        return any(_matches(path, pattern) for pattern in self.ignored)

    def needs(self, path: str) -> bool:
        """Tell whether a file's content is needed to make bundles."""
        return self.tracks(path) or PurePosixPath(path).name == MANIFEST or path == self.manifest.strip("/")

    def is_policy(self, path: str) -> bool:
        """Tell whether a file that counts is a policy."""
        return not self.is_data(path) and PurePosixPath(path).suffix in self.policy_extensions

    @staticmethod
    def is_data(path: str) -> bool:
        """Tell whether a file is data of its folder."""
        return PurePosixPath(path).name == _DATA_FILE


def _matches(path: str, pattern: str) -> bool:
    if pattern in _EVERYTHING:
        return True
    if pattern.endswith("/**"):
        return f"{path}/".startswith(pattern[:-2])
    return PurePosixPath(path).match(pattern)


def parents(paths: Collection[str]) -> list[str]:
    """List all folders that the paths are in, "." among them, sorted.

    Example:
        >>> parents(["a/b/c.rego", "d.rego"])
        ['.', 'a', 'a/b']
    """
    return sorted({str(folder) for path in paths for folder in PurePosixPath(path).parents})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A repository at one point of its history.

    Attributes:
        hash: the name of that point: a commit's id, or a hash of the content.
        files: content by path, of the files that the rules need.
        paths: all that exists there, files and folders.
        rules: those it was read by.
    """

    hash: str
    files: Mapping[str, bytes]
    paths: Collection[str]
    rules: BundleRules

    @cached_property
    def modules(self) -> Mapping[str, str]:
        """Text by path, of what goes into bundles; a file that is no text is left out, and the log says so."""
        modules: dict[str, str] = {}
        for path, content in self.files.items():
            if self.rules.tracks(path) and (self.rules.is_data(path) or self.rules.is_policy(path)):
                try:
                    modules[path] = content.decode()
                except UnicodeDecodeError as err:
                    log.warning("policy_repo.file_unreadable", path=path, commit=self.hash, error=str(err))
        return modules

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each file that a manifest names."""
        root = self.rules.manifest.strip("/") or "."
        named: dict[str, None] = {}
        if root in self.files:
            self._add(named, PurePosixPath(root).parent, PurePosixPath(root).name, set())
        else:
            self._add(named, PurePosixPath(root), MANIFEST, set())
        return {path: place for place, path in enumerate(named)}

    def has(self, path: str) -> bool:
        """Tell whether there is a file or a folder with this path."""
        return path == "." or path in self.paths

    def _add(self, named: dict[str, None], folder: PurePosixPath, manifest: str, visited: set[str]) -> None:
        """Add what a manifest names, and what the manifests of the folders that it names do."""
        content = self.files.get(str(folder / manifest), b"")
        for line in content.decode(errors="replace").splitlines():
            entry = folder / line.strip()
            path = str(entry)
            if not line.strip() or ".." in entry.parts or entry.is_absolute() or path in visited:
                continue
            if path == str(folder) or not self.has(path) or self.rules.ignores(path):
                log.warning("policy_repo.manifest_entry_ignored", manifest=str(folder / manifest), entry=line[:200])
                continue
            visited.add(path)
            if path in self.files:
                named[path] = None
            else:
                self._add(named, entry, MANIFEST, visited)


def package_of(source: str) -> str:
    r"""Return the package of a module as it is written there, "" if there is none.

    Example:
        >>> package_of('# mine\npackage a_b["c-d"] # of us\n')
        'a_b["c-d"]'
    """
    found = _PACKAGE.search(source)
    return found[1] if found is not None else ""
