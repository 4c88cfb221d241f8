"""The contract of what policies are read from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cabochon_opal_server.policy.reading import RepositoryError
from cabochon_opal_server.policy.snapshot import Snapshot

__all__ = ["PolicyRepository", "RepositoryError"]


class PolicyRepository(ABC):
    """A git repository, or a server of bundles."""

    place: str
    """Where it is, without credentials."""

    @abstractmethod
    async def newest(self) -> Snapshot:
        """Look there, and return what is the newest now. One call at a time.

        Raises:
            RepositoryError: it can't be read.
        """

    async def last(self) -> Snapshot | None:
        """Return what was the newest when an earlier life of this server looked; None if that is not known.

        It asks nobody, so it is there at once, and while the repository can't be reached.
        """
        return None

    @abstractmethod
    async def snapshot(self, point: str) -> Snapshot | None:
        """Return what was at an earlier point, None if that is not known here (any more)."""
