"""What an update source is to Cabochon: where updates, base data sources and policies come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from cabochon.schemas import DataSourceConfig, DataUpdate, PolicyBundle, UpdateCallback

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

__all__ = [
    "Connected",
    "DataUpdateReceived",
    "Disconnected",
    "PolicyChanged",
    "SourceEvent",
    "UpdateSource",
    "UpdateSourceType",
]


class Connected(Struct, frozen=True):
    """The source is connected and subscribed: everything published from now on will be yielded.

    Attributes:
        resumed: nothing was missed since the last connection, what was published meanwhile is yielded next. False
            makes the core fetch the base data again.
    """

    resumed: bool = False


class Disconnected(Struct, frozen=True):
    """The connection is lost; the source goes on trying by itself."""

    reason: str = ""


class DataUpdateReceived(Struct, frozen=True, gc=False):
    """A data update arrived on one of the agent's topics.

    Attributes:
        update: as it was published.
        topic: the topic it came on; a copy on another topic is recognised by it.
        position: opaque to the core, handed to `ended` when this update has ended, and to `acknowledge` when all
            before it have ended too.
    """

    update: DataUpdate
    topic: str = ""
    position: Any = None


class PolicyChanged(Struct, frozen=True):
    """Policies changed: the core asks for a bundle. `directories` are those that changed, empty for all."""

    new_hash: str = ""
    directories: tuple[str, ...] = ()


SourceEvent: TypeAlias = Connected | Disconnected | DataUpdateReceived | PolicyChanged


class UpdateSource(ABC):
    """An open update source. The core iterates `events` from one task, and anew if it has raised or was closed.

    It is closed while an operator has cut the agent off (`SourceSwitch`), and when the agent stops.
    """

    topics: Sequence[str] = ()
    """The agent's data topics: entries of other topics are skipped. Empty means that every entry is for this agent."""

    has_policies: bool = True
    """Whether it ever gives policies; False leaves the policy half out of `ready` and `healthy`."""

    callbacks: UpdateCallback = UpdateCallback()
    """Who gets every report unless `OPAL_DEFAULT_UPDATE_CALLBACKS` says otherwise, such as the server followed."""

    @abstractmethod
    def events(self) -> AsyncIterator[SourceEvent]:
        """Yield what happens, in order, reconnecting by itself; end only if nothing will ever come again.

        The core takes the next event when it has room for it, so a source must not buffer without bound. An update
        that can't be parsed is logged and counted by the source, and skipped.
        """

    @abstractmethod
    async def data_sources(self) -> DataSourceConfig:
        """Return the base data sources for this agent.

        Raises:
            SourceError: they can't be had now; the core asks again.
        """

    @abstractmethod
    async def policy_bundle(self, base_hash: str | None, directories: Sequence[str]) -> PolicyBundle | None:
        """Return the policies, as a difference to `base_hash` where the source can; None if there are none.

        Raises:
            SourceError: they can't be had now; the core asks again.
        """

    async def acknowledge(self, position: object) -> None:
        """Take note that every update up to `position` has ended. Not for sources that can't replay."""

    def ended(self, position: object, error: str | None) -> None:
        """Take note that the update with this position has ended, in whatever order they end. Return at once.

        Args:
            position: as it was yielded; updates without one are not told.
            error: why the update, or part of it, is not in force; None if it is. It is called once more, with None,
                for an update that had failed and is in force, or superseded by a newer one, after all.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateSourceType:
    """Offer an update source.

    Attributes:
        name: what the operator writes in `OPAL_UPDATE_SOURCE`; unique, compared without case.
        summary: one line for `cabochon plugins`.
        open: takes an instance of `settings` (or None) and gives an async context manager that yields a source.
            Do not wait for a connection in it.
        settings: the source's settings model.
        for_tests: never chosen unless it is named.
        usual: chosen if none is named, whatever else is installed; for what OPAL would take with the same variables.
    """

    name: str
    summary: str
    open: Callable[[Any], AbstractAsyncContextManager[UpdateSource]]
    settings: type[BaseSettings] | None = None
    for_tests: bool = False
    usual: bool = False
