"""The files of the policies at one point of their history."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import structlog

from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.manifests import manifest_order
from cabochon_opal_server.policy.reading import Reading, ReadLimits

__all__ = ["Snapshot", "package_of", "parents"]

log = structlog.get_logger()

# A package clause is a line of its own; a `#` before it would make it a comment.
_PACKAGE = re.compile(r'^[ \t]*package[ \t]+([A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\["[^"\n]*"\])*)', re.MULTILINE)


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
        return manifest_order(self.files, self.paths, self.rules, Reading(ReadLimits()))

    def prepared(self, reading: Reading) -> Snapshot:
        """Work out here, off the event loop, what bundles are made of, and return the snapshot.

        Raises:
            UnfitError: its manifests are too much.
        """
        # Where `cached_property` looks first.
        self.__dict__["order"] = manifest_order(self.files, self.paths, self.rules, reading)
        _ = self.modules
        return self

    def has(self, path: str) -> bool:
        """Tell whether there is a file or a folder with this path."""
        return path == "." or path in self.paths


def package_of(source: str) -> str:
    r"""Return the package of a module as it is written there, "" if there is none.

    Example:
        >>> package_of('# mine\npackage a_b["c-d"] # of us\n')
        'a_b["c-d"]'
    """
    found = _PACKAGE.search(source)
    return found[1] if found is not None else ""
