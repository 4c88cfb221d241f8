"""Settings by what people want to set: for help texts, and for `cabochon config --topic`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
from pydantic_settings import BaseSettings

from cabochon.cli.plugins import installed_plugins
from cabochon.errors import ConfigurationError
from cabochon.plugins.installed import PluginOffer, Plugins
from cabochon.settings.core import CoreSettings
from cabochon.settings.model import PREFIX, variables_of

__all__ = ["TOPICS", "GroupWithTopics", "Topic", "WithTopics", "topics_of"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of settings.

    Attributes:
        name: what `cabochon config --topic` calls it.
        about: what is set there.
        pattern: finds the names that belong to it whoever reads them; the prefix is left out.
    """

    name: str
    about: str
    pattern: str = "^$"


_ENGINE = Topic("engine", "which policy store, where, how it knows us", r"^POLICY_STORE|^INLINE|^COMMIT")
_SOURCE = Topic("source", "where updates and policies come from", r"^UPDATE_SOURCE|UPDATER_ENABLED")
_FETCHING = Topic("fetching", "how documents are fetched", r"FETCH|SELF_SIGNED|SSL|^DATA_UPDATER_CONN")
_CALLBACKS = Topic("callbacks", "who is told how each update went", r"UPDATE_CALLBACK|REPORT")
_HEALTH = Topic("health", "what shows health, and how an engine's loss is noticed", r"HEALTH|PROBE")
_HTTP = Topic("http", "the agent's own HTTP face", r"^CLIENT_API|^ALLOWED_|^AUTH_|METRICS|^EXCLUDE")
_OFFLINE = Topic("offline", "what is kept for a start without the source", r"OFFLINE|BACKUP|CONNECTIVITY")
_LOGS = Topic("logs", "what is logged or traced, in which form, where", r"^LOG_|TRACING|OTEL")
_OTHER = Topic("other", "limits, and which plugins take part")

TOPICS: Final = (_ENGINE, _SOURCE, _FETCHING, _CALLBACKS, _HEALTH, _HTTP, _OFFLINE, _LOGS, _OTHER)
"""In the order in which people ask."""

# The narrower ones first: the store's probe is health, the fetchers' callback timeout is fetching.
_BY_NAME: Final = (_LOGS, _OFFLINE, _HEALTH, _HTTP, _FETCHING, _CALLBACKS, _ENGINE, _SOURCE)


def topics_of(plugins: Plugins) -> dict[str, Topic]:
    """Return the topic of every variable of the core and of plugins: by its name, else by what it is a setting of."""
    found: dict[str, Topic] = {}
    for model, topic in _models(plugins):
        for name in (variables[0] for variables in variables_of(model).values()):
            plain = name.removeprefix(PREFIX)
            found.setdefault(name, next((one for one in _BY_NAME if re.search(one.pattern, plain)), topic))
    return found


def _models(plugins: Plugins) -> Iterator[tuple[type[BaseSettings], Topic]]:
    yield CoreSettings, _OTHER
    offers: list[tuple[PluginOffer[Any], Topic]] = [
        *((one, _ENGINE) for one in plugins.policy_stores.values()),
        *((one, _ENGINE if one.registration.stores else _OTHER) for one in plugins.services.values()),
        *((one, _SOURCE) for one in plugins.update_sources.values()),
        *((one, _FETCHING) for one in plugins.fetchers.values()),
        *((one, _CALLBACKS) for one in plugins.callback_reporters.values()),
        *((one, _HEALTH) for one in plugins.transaction_listeners.values()),
        *((one, _HTTP) for one in plugins.http_routes.values()),
    ]
    yield from ((one.registration.settings, topic) for one, topic in offers if one.registration.settings is not None)
    yield from ((model, _OTHER) for _, model in plugins.settings_models())


class GroupWithTopics(click.Group):
    """A group of commands whose help ends with the topics of settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List what can be set, without names."""
        with formatter.section("Settings by topic, for `cabochon config --topic NAME`"):
            formatter.write_dl([(topic.name, topic.about) for topic in TOPICS])


class WithTopics(click.Command):
    """A command whose help ends with the settings of what is installed, by topic."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the variables of each topic; what each of them means is `cabochon config`'s to say."""
        topics = topics_of(_installed())
        rows = [(topic, sorted(name for name, one in topics.items() if one is topic)) for topic in TOPICS]
        with formatter.section("Settings by topic; `cabochon config --topic NAME` says what each means"):
            formatter.write_dl([(topic.name, f"{topic.about}: {', '.join(names)}") for topic, names in rows if names])


def _installed() -> Plugins:
    try:
        return installed_plugins()
    except ConfigurationError:
        return Plugins.load(strict=False)  # help is there whatever is wrong
