"""Topics: which ones an update goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["TopicLimits", "expanded", "policy_topics", "topics_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLimits:
    """What a topic may be, and how many of them somebody may name.

    Attributes:
        length: characters of one.
        levels: parts of one, between slashes and colons: an update goes to all levels above its topics too.
        of_update: topics that an update goes to, with those above.
        of_client: topics that a client may be subscribed to.
    """

    length: int = 1024
    levels: int = 64
    of_update: int = 10_000
    of_client: int = 5_000

    def fault(self, topics: Iterable[str]) -> str | None:
        """Say what is wrong with the first topic that is too much, None if none is; in time that is linear."""
        for topic in topics:
            if len(topic) > self.length:
                return f"a topic has {len(topic)} characters: OPAL_TOPIC_MAX_LENGTH={self.length}"
            levels = 1 + topic.count("/") + topic.count(":")
            if levels > self.levels:
                return f"a topic has {levels} levels: OPAL_TOPIC_MAX_LEVELS={self.levels}"
        return None


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
