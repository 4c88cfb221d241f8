"""Topics: which ones an update goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

__all__ = ["expanded", "policy_topics", "topics_of"]


def topics_of(topic: str) -> list[str]:
    """List a topic and those above it, outermost first; only what follows the last colon has levels.

    The rule is the peer's (`opal_server.data.data_update_publisher`).

    Example:
        >>> topics_of("policy_data/users/keys")
        ['policy_data', 'policy_data/users', 'policy_data/users/keys']
        >>> topics_of("eu:data:users/keys")
        ['eu:data:users', 'eu:data:users/keys']
    """
    prefix, colon, name = topic.rpartition(":")
    levels = name.split("/")
    return [prefix + colon + "/".join(levels[: end + 1]) for end in range(len(levels))]


def expanded(topics: Iterable[str]) -> tuple[str, ...]:
    """List topics with all those above them, each once, in the order in which they come.

    Example:
        >>> expanded(["a/b", "a", "c"])
        ('a', 'a/b', 'c')
    """
    return tuple(dict.fromkeys(level for topic in topics for level in topics_of(topic)))


def policy_topics(directories: Sequence[str]) -> tuple[str, ...]:
    """List the topics of a change of policies in these directories: each of them and every one above it.

    Example:
        >>> policy_topics(["app/rbac"])
        ('policy:.', 'policy:app', 'policy:app/rbac')
    """
    above = {str(path) for name in directories for path in (PurePosixPath(name), *PurePosixPath(name).parents)}
    return tuple(f"policy:{name}" for name in sorted(above))
