"""Topics and directories: what to subscribe to, and what of that which comes is meant for this agent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["DEFAULT_SCOPE", "Subscription", "below", "entry_topics", "local_topic", "outermost"]

DEFAULT_SCOPE = "default"

_TENANT_SEPARATOR = "::"


def outermost(directories: Iterable[object]) -> tuple[str, ...]:
    """Leave out directories that lie below another one; each is normalised, order is kept.

    Example:
        >>> outermost(["app/rbac/", "app", "lib", "./lib"])
        ('app', 'lib')
    """
    paths = list(dict.fromkeys(PurePosixPath(str(directory)) for directory in directories))
    return tuple(str(path) for path in paths if not any(parent in paths for parent in path.parents))


def below(directory: str, roots: Sequence[str]) -> bool:
    """Tell whether a directory is one of `roots` or lies below one."""
    path = PurePosixPath(directory)
    return any(PurePosixPath(root) in (path, *path.parents) for root in roots)


def local_topic(topic: str) -> str:
    """Take the tenant off a topic: a server for several tenants notifies of `app::topic`."""
    return topic.split(_TENANT_SEPARATOR)[1] if _TENANT_SEPARATOR in topic else topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What one agent subscribes to.

    Attributes:
        data: topics of data updates as the server publishes them.
        policy: topics of policy updates.
        directories: the policy directories that are followed, with all below them.
    """

    data: tuple[str, ...]
    policy: tuple[str, ...]
    directories: tuple[str, ...]

    @classmethod
    def of(cls, *, data: Sequence[str], directories: Sequence[str], scope: str) -> Subscription:
        """Make the topics; a scope's carry its name, and its policies are one topic."""
        if scope == DEFAULT_SCOPE:
            policy = tuple(f"policy:{directory}" for directory in directories)
            return cls(data=tuple(data), policy=policy, directories=tuple(directories))
        return cls(
            data=tuple(f"{scope}:data:{topic}" for topic in data),
            policy=(f"{scope}:policy:.",) if directories else (),
            directories=tuple(directories),
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """All of it, as `subscribe` is told."""
        return tuple(dict.fromkeys((*self.data, *self.policy)))


def entry_topics(data: Sequence[str], scope: str) -> tuple[str, ...]:
    """Return the topics of entries that concern an agent.

    In a scope the server publishes an update on `<scope>:data:<topic>`, writes `data:<topic>` into its entries, and
    hands out base data with the topics that the scope was given, mostly bare ones. All that comes is the scope's.
    """
    if scope == DEFAULT_SCOPE:
        return tuple(data)
    return tuple(form for topic in data for form in (f"{scope}:data:{topic}", f"data:{topic}", topic))
