"""Settings by what people want to set: for help texts, and for `cabochon config --topic`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import click

from cabochon.errors import ConfigurationError
from cabochon.plugins import Plugins
from cabochon.plugins_cli import installed_plugins
from cabochon.settings import CoreSettings
from cabochon.settings_model import PREFIX, variables_of

__all__ = ["TOPICS", "GroupWithTopics", "Topic", "WithTopics", "by_topic", "topic_of"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of settings: those whose names, without the prefix, the pattern finds, and no topic before it."""

    name: str
    about: str
    pattern: str


# The order is that of matching; the last one takes what plugins of others may bring, too.
TOPICS: Final = (
    Topic("logs", "what is logged, in which form, where", r"^LOG_|TRACING|OTEL"),
    Topic("offline", "what is kept for a start without the source", r"OFFLINE|BACKUP|CONNECTIVITY"),
    Topic("health", "the healthcheck policy, and how an engine's loss is noticed", r"HEALTH|PROBE"),
    Topic("http", "the agent's own HTTP face", r"^CLIENT_API|^ALLOWED_|^AUTH_|METRICS|EXCLUDE_POLICY_STORE"),
    Topic("callbacks", "who is told how each update went", r"UPDATE_CALLBACK|REPORT|^CALLBACKS"),
    Topic("engine", "which policy store, where, how it knows us", r"^POLICY_STORE|^INLINE|^OPA_|^COMMIT|STORE|^SPLIT"),
    Topic("fetching", "how documents are fetched", r"FETCH|SELF_SIGNED|SSL|^DATA_UPDATER_CONN"),
    Topic(
        "source",
        "where updates and policies come from",
        r"SOURCE|^SERVER|^CLIENT_TOKEN|TOPICS|SCOPE|^LOCAL|SUBSCRIPTION|UPDATER|KEEP_ALIVE|STATISTICS|STAT_ID"
        r"|SERVER_LOAD",
    ),
    Topic("other", "limits, and which plugins take part", r""),
)


def topic_of(variable: str) -> Topic:
    """Return the topic that a variable belongs to."""
    name = variable.removeprefix(PREFIX)
    return next(topic for topic in TOPICS if re.search(topic.pattern, name))


def by_topic(variables: Iterable[str]) -> dict[Topic, list[str]]:
    """Sort variables into topics; those that have none are left out. The engine comes first."""
    found: dict[Topic, list[str]] = {topic: [] for topic in _as_read()}
    for variable in sorted(set(variables)):
        found[topic_of(variable)].append(variable)
    return {topic: names for topic, names in found.items() if names}


def _as_read() -> list[Topic]:
    order = ["engine", "source", "fetching", "callbacks", "health", "http", "offline", "logs", "other"]
    return sorted(TOPICS, key=lambda topic: order.index(topic.name))


class GroupWithTopics(click.Group):
    """A group of commands whose help ends with the topics of settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List what can be set, without names."""
        with formatter.section("Settings by topic, for `cabochon config --topic NAME`"):
            formatter.write_dl([(topic.name, topic.about) for topic in _as_read()])


class WithTopics(click.Command):
    """A command whose help ends with the settings of what is installed, by topic."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the variables of each topic; what each of them means is `cabochon config`'s to say."""
        with formatter.section("Settings by topic; `cabochon config --topic NAME` says what each means"):
            found = by_topic(_installed_variables()).items()
            formatter.write_dl([(topic.name, f"{topic.about}: {', '.join(names)}") for topic, names in found])


def _installed_variables() -> list[str]:
    try:
        plugins = installed_plugins()
    except ConfigurationError:
        plugins = Plugins.load(strict=False)  # help is there whatever is wrong
    models = [CoreSettings, *(model for _, model in plugins.settings_models())]
    return [names[0] for model in models for names in variables_of(model).values()]
