"""The order that the manifests of a repository give to its files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import structlog

from cabochon_opal_server.policy.bundle_rules import MANIFEST, BundleRules
from cabochon_opal_server.policy.reading import Reading

__all__ = ["manifest_order"]

log = structlog.get_logger()

_LONGEST_LINE = 1024
_SHOWN = 20


class _Open(NamedTuple):
    """A manifest that is being read: where it is, and the lines that are left of it."""

    folder: PurePosixPath
    name: str
    lines: Iterator[str]


def manifest_order(
    files: Mapping[str, bytes], paths: Collection[str], rules: BundleRules, reading: Reading
) -> dict[str, int]:
    """Give the place of each file that a manifest names; for a folder, those that its own manifest names.

    Args:
        files: content by path.
        paths: all that exists.
        rules: which manifest comes first, and what is to be left out.
        reading: counts the lines.

    Raises:
        UnfitError: there are too many of them.
    """
    named: dict[str, None] = {}
    visited: set[str] = set()
    ignored = 0

    def opened(folder: PurePosixPath, name: str) -> _Open:
        lines = files.get(str(folder / name), b"").decode(errors="replace").splitlines()
        reading.count(len(lines))
        return _Open(folder, name, iter(lines))

    root = rules.manifest.strip("/") or "."
    first = PurePosixPath(root)
    stack = [opened(first.parent, first.name) if root in files else opened(first, MANIFEST)]
    while stack:
        folder, manifest, lines = stack[-1]
        line = next(lines, None)
        if line is None:
            stack.pop()
            continue
        entry = folder / line.strip()[:_LONGEST_LINE]
        path = str(entry)
        if not line.strip() or ".." in entry.parts or entry.is_absolute() or path in visited:
            continue
        if path == str(folder) or not (path == "." or path in paths) or rules.ignores(path):
            ignored += 1
            if ignored <= _SHOWN:
                log.warning("policy_repo.manifest_entry_ignored", manifest=str(folder / manifest), entry=line[:200])
            continue
        visited.add(path)
        if path in files:
            named[path] = None
        else:
            stack.append(opened(entry, MANIFEST))
    if ignored > _SHOWN:
        log.warning("policy_repo.manifest_entries_ignored", entries=ignored, shown=_SHOWN)
    return {path: place for place, path in enumerate(named)}
