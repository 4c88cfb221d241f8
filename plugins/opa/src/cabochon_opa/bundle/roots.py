"""Which modules may travel in the bundle, and which paths the bundle then owns.

A bundle owns its roots. OPA refuses REST writes at, above and below them; worse, when it activates a bundle it erases
the documents and the modules that others keep below them. So a package that overlaps a document of ours goes by REST.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from cabochon.documents.path import DocumentPath

__all__ = ["Split", "overlapping", "package_of", "split_policies"]

_SYSTEM = "system"
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+\Z")
"""Segments that a root can hold as they are: roots are joined by slashes, and OPA decodes `%` in some places only."""

_BEFORE = re.compile(r"\ufeff?(?:\s+|#[^\n]*)*")
_PACKAGE = re.compile(
    r"package\s+([A-Za-z_]\w*)"  # the first part is a name
    r'((?:\.[A-Za-z_]\w*|\[[ \t]*(?:"(?:[^"\\\n]|\\.)*"|`[^`]*`)[ \t]*\])*)'
    r"[ \t]*(?=[\s;#]|\Z)",
    re.ASCII,
)
_PART = re.compile(r'\.(\w+)|\[[ \t]*(?:("(?:[^"\\\n]|\\.)*")|`([^`]*)`)[ \t]*\]', re.ASCII)


@dataclass(frozen=True, slots=True)
class Split:
    """A policy set, divided.

    Attributes:
        bundled: modules for the bundle, id to source.
        by_rest: modules that must go by REST, in their given order.
        roots: what the bundle owns; none of them overlaps another.
    """

    bundled: Mapping[str, str]
    by_rest: Mapping[str, str]
    roots: tuple[DocumentPath, ...]


def package_of(source: str) -> DocumentPath | None:
    """Return the package of a module without parsing the rest of it; v0 and v1 write it alike.

    Returns:
        `a/b/c-d` for `package a.b["c-d"]`, or None if there is none that OPA could read.
    """
    start = _BEFORE.match(source)
    found = _PACKAGE.match(source, start.end() if start else 0)
    if found is None:
        return None
    segments = [found[1]]
    for name, quoted, raw in _PART.findall(found[2]):
        try:
            segments.append(msgspec.json.decode(quoted, type=str) if quoted else name or raw)
        except msgspec.DecodeError:
            return None
    return DocumentPath(segments)


def split_policies(policies: Mapping[str, str], documents: Iterable[DocumentPath]) -> Split:
    """Divide `policies` (id to source) between bundle and REST.

    By REST go packages at or below `system`, packages that overlap one of `documents`, and names that no root can hold.
    A REST module below a root would be refused, so packages that overlap, as `a` and `a.b` do, stay together on one
    side; bundled they share the root `a`. A module without a package goes into the bundle, where OPA refuses it, and
    all of the bundle with it.
    """
    packages = {policy_id: package_of(source) for policy_id, source in policies.items()}
    tops = _tops(package for package in packages.values() if package is not None)
    for_bundle = frozenset(tops - overlapping(tops, documents) - {top for top in tops if not _can_be_root(top)})
    bundled: dict[str, str] = {}
    by_rest: dict[str, str] = {}
    for policy_id, source in policies.items():
        package = packages[policy_id]
        in_bundle = package is None or any(package[:depth] in for_bundle for depth in range(1, len(package) + 1))
        (bundled if in_bundle else by_rest)[policy_id] = source
    return Split(bundled, by_rest, tuple(sorted(for_bundle)))


def overlapping(roots: Iterable[DocumentPath], paths: Iterable[DocumentPath]) -> set[DocumentPath]:
    """Return those of `roots` that are at, above or below one of `paths`; roots must not overlap one another.

    Takes time by the number of both together, not by their product: there may be thousands of each.
    """
    whole = set(paths)
    above = {path[:depth] for path in whole for depth in range(len(path))}
    return {root for root in roots if root in above or any(root[:depth] in whole for depth in range(len(root) + 1))}


def _tops(packages: Iterable[DocumentPath]) -> set[DocumentPath]:
    """Return the packages that lie below no other."""
    known = set(packages)
    return {package for package in known if not any(package[:depth] in known for depth in range(1, len(package)))}


def _can_be_root(package: DocumentPath) -> bool:
    return package[0] != _SYSTEM and all(_PLAIN.match(segment) for segment in package)
