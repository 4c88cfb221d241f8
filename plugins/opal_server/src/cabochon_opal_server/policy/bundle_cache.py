"""The bundles that were made last, as JSON, within a limit in bytes; pure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BundleCache", "BundleKey"]


class BundleKey(NamedTuple):
    """Which bundle: the policies' hash, that of the earlier ones that it leads from ("" for none), the folders."""

    new: str
    old: str
    folders: tuple[str, ...]


class BundleCache:
    """Keeps the newest of them, one at least.

    Args:
        most_bytes: so many together.
    """

    def __init__(self, *, most_bytes: int, most: int = 64) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._bundles: dict[BundleKey, bytes] = {}
        self._bytes = 0

    def get(self, key: BundleKey) -> bytes | None:
        """Return a bundle that is kept."""
        return self._bundles.get(key)

    def put(self, key: BundleKey, bundle: bytes) -> None:
        """Keep a bundle; those of other policies go, and the oldest that are too much."""
        for other in [kept for kept in self._bundles if kept == key or kept.new != key.new]:
            self._drop(other)
        self._bundles[key] = bundle
        self._bytes += len(bundle)
        while len(self._bundles) > 1 and (self._bytes > self._most_bytes or len(self._bundles) > self._most):
            self._drop(next(iter(self._bundles)))

    def _drop(self, key: BundleKey) -> None:
        self._bytes -= len(self._bundles.pop(key))
