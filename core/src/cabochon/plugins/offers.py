"""What loaded plugins offer, by name, and what more than one of them claims."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from pydantic_settings import BaseSettings

from cabochon.plugins.discovery import Accepted, InstalledPlugin
from cabochon.plugins.kinds import R, claims
from cabochon.settings.model import load_settings

__all__ = ["ByName", "PluginOffer", "find_conflicts", "offer_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOffer(Generic[R]):
    """A registration and where it comes from.

    Attributes:
        registration: what the hook returned.
        plugin: the short name of its plugin.
        distribution: the distribution that the plugin came in.
        version: the distribution's.
    """

    registration: R
    plugin: str
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """The registration's own name."""
        return self.registration.name

    def load_settings(self, environ: Mapping[str, str] | None = None) -> BaseSettings | None:
        """Read its settings from the environment, for its `open`; None if it has none.

        Raises:
            ConfigurationError: a variable is wrong.
        """
        model = self.registration.settings
        return None if model is None else load_settings(model, environ)

    def __str__(self) -> str:
        """Name the plugin as error messages do."""
        return f"{self.plugin} ({self.distribution} {self.version})"


class ByName(Mapping[str, PluginOffer[R]]):
    """What plugins offer of one kind, by name: looked up without case, listed as spelled, sorted."""

    def __init__(self, offered: Iterable[PluginOffer[R]]) -> None:
        self._offered = {one.name.casefold(): one for one in sorted(offered, key=lambda one: one.name.casefold())}

    def __getitem__(self, name: str) -> PluginOffer[R]:
        return self._offered[name.casefold()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.casefold() in self._offered

    def __iter__(self) -> Iterator[str]:
        return (one.name for one in self._offered.values())

    def __len__(self) -> int:
        return len(self._offered)


def offer_of(offer: Accepted, plugin: InstalledPlugin) -> PluginOffer[Any]:
    """Note where an offer comes from."""
    return PluginOffer(
        registration=offer.registration,
        plugin=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
    )


def find_conflicts(
    installed: Iterable[InstalledPlugin],
    offers: Iterable[tuple[Accepted, InstalledPlugin]],
    reserved: Iterable[tuple[str, str]] = (),
) -> tuple[tuple[str, ...], list[Accepted]]:
    """Find what is claimed more than once, or reserved: a line for each, and everything that takes part in it."""
    owners: defaultdict[tuple[str, str], list[tuple[InstalledPlugin, Accepted | None]]] = defaultdict(list)
    for plugin in installed:
        owners["plugin name", plugin.name.casefold()].append((plugin, None))
    for offer, plugin in offers:
        for claim in claims(offer.kind, offer.registration):
            owners[claim].append((plugin, offer))
    ours = set(reserved)
    lines: list[str] = []
    contested: list[Accepted] = []
    for (what, name), claimants in sorted(owners.items(), key=lambda item: item[0]):
        if len(claimants) + ((what, name) in ours) > 1:
            who = " and ".join([str(plugin) for plugin, _offer in claimants] + ["the core"] * ((what, name) in ours))
            way_out = "" if what == "plugin name" else ", or name one plugin in OPAL_PLUGINS_DISABLED"
            lines.append(f"{what} {name!r} is claimed twice, by {who}: uninstall one{way_out}")
            contested += [offer for _plugin, offer in claimants if offer is not None]
    return tuple(lines), contested
