"""Names resolved to what may be connected to: what is checked here is what the connection is made to."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cabochon.kit.http.reach import OutOfReachError, Reach

__all__ = ["CheckedResolver"]


class CheckedResolver(AbstractResolver):
    """Resolves as the system does, and leaves out what is out of bounds.

    Args:
        reach: says what is.
        proxies: hosts and ports of the operator's proxies, which are his to choose.
    """

    def __init__(self, reach: Reach, proxies: frozenset[tuple[str, int]]) -> None:
        self._reach = reach
        self._proxies = proxies
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises:
            OutOfReachError: all that it leads to is out of bounds.
        """
        found = await self._system.resolve(host, port, family)
        if (host, port) in self._proxies:
            return found
        within: list[ResolveResult] = []
        fault: OutOfReachError | None = None
        for one in found:
            try:
                await self._reach.check(host, port, one["host"])
            except OutOfReachError as err:
                fault = err
            else:
                within.append(one)
        if fault is not None and not within:
            raise fault
        return within

    async def close(self) -> None:
        """Close it."""
        await self._system.close()
