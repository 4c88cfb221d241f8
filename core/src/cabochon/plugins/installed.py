"""Which plugins are installed, what they offer, and which of it is meant.

A `Plugins` is an ordinary object that the application builds once and passes down:

    plugins = Plugins.load(disabled=settings.plugins_disabled, trace=settings.plugins_trace)
    store = plugins.choose_policy_store(settings.policy_store_type)
    async with store.registration.open(store.load_settings()) as policy_store:
        ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from typing import Any, TypeVar

import structlog
from pydantic_settings import BaseSettings

from cabochon.contract.backbone import BackboneType
from cabochon.contract.callback_reporter import CallbackReporterType
from cabochon.contract.command import RESERVED_COMMANDS, CommandType
from cabochon.contract.fetcher import FetcherType
from cabochon.contract.hookspecs import PROJECT
from cabochon.contract.http_routes import HttpRoutesType
from cabochon.contract.policy_store import PolicyStoreType
from cabochon.contract.service import ServiceType
from cabochon.contract.transaction_listener import TransactionListenerType
from cabochon.contract.update_source import UpdateSourceType
from cabochon.errors import ConfigurationError, PluginConflictError, PluginLoadError, PluginNotFoundError
from cabochon.plugins import kinds
from cabochon.plugins.discovery import Accepted, Candidate, InstalledPlugin, PluginLoader
from cabochon.plugins.kinds import KINDS, OfferKind, R
from cabochon.plugins.offers import ByName, PluginOffer, find_conflicts, offer_of

__all__ = ["ByName", "InstalledPlugin", "PluginOffer", "Plugins"]

log = structlog.get_logger()

_Choice = TypeVar("_Choice", PolicyStoreType, UpdateSourceType)
_OfStores = TypeVar("_OfStores", TransactionListenerType, ServiceType, HttpRoutesType)


class Plugins:
    """Every installed plugin, loaded or not, and what those that are loaded offer."""

    def __init__(
        self, candidates: Iterable[Candidate], *, disabled: Iterable[str] = (), trace: bool = False, strict: bool = True
    ) -> None:
        loader = PluginLoader(trace=trace)
        blocked = {name.casefold(): name for name in disabled}
        installed: list[InstalledPlugin] = []
        offers: list[tuple[Accepted, InstalledPlugin]] = []
        # Sorted, so that nothing depends on the order in which distributions happen to be found.
        for candidate in sorted(candidates, key=lambda one: (one.name.casefold(), one.distribution)):
            if candidate.name.casefold() in blocked:
                plugin, found = _blocked(candidate), list[Accepted]()
            else:
                plugin, found = loader.load(candidate)
            installed.append(plugin)
            offers += [(offer, plugin) for offer in found]
        self.installed: tuple[InstalledPlugin, ...] = tuple(installed)
        """All plugins, sorted by name."""
        self.conflicts, contested = find_conflicts(
            installed, offers, reserved=[(kinds.COMMANDS.word, name) for name in RESERVED_COMMANDS]
        )
        """What is claimed more than once, one line each; none of the claimants can be used."""
        self._offered: dict[str, ByName[Any]] = {
            kind.hook: ByName(
                offer_of(offer, plugin) for offer, plugin in offers if offer.kind is kind and offer not in contested
            )
            for kind in KINDS
        }
        _warn_of_unknown(blocked, installed)
        if strict:
            self.check()

    @classmethod
    def load(
        cls,
        *,
        disabled: Iterable[str] = (),
        trace: bool = False,
        strict: bool = True,
        found: Iterable[EntryPoint] | None = None,
    ) -> Plugins:
        """Load every installed plugin.

        A plugin that fails is logged and listed in `installed`; the others go on.

        Args:
            disabled: short names of plugins to leave out; those are not even imported.
            trace: log each hook call with plugin and duration.
            strict: raise conflicts; otherwise list them in `conflicts`, and nothing that is contested can be used.
            found: entry points to load instead of the installed ones.

        Raises:
            PluginConflictError: two plugins claim one name.
        """
        found = entry_points(group=PROJECT) if found is None else found
        return cls(map(Candidate.from_entry_point, found), disabled=disabled, trace=trace, strict=strict)

    @classmethod
    def of(
        cls, *plugins: tuple[str, object], disabled: Iterable[str] = (), trace: bool = False, strict: bool = True
    ) -> Plugins:
        """Load plugins that are at hand: `(short name, module or object)`, as tests do.

        Raises:
            PluginConflictError: two of them claim one name.
        """
        given = [
            Candidate(name=name, distribution=name, version="0", entry_point=name, load=_returning(plugin))
            for name, plugin in plugins
        ]
        return cls(given, disabled=disabled, trace=trace, strict=strict)

    # ------------------------------------------------------------------------------------------ what is offered

    @property
    def policy_stores(self) -> ByName[PolicyStoreType]:
        """Policy stores by name."""
        return self._of(kinds.POLICY_STORES)

    @property
    def fetchers(self) -> ByName[FetcherType]:
        """Fetchers by name; `fetcher_for` knows aliases and schemes too."""
        return self._of(kinds.FETCHERS)

    @property
    def update_sources(self) -> ByName[UpdateSourceType]:
        """Update sources by name."""
        return self._of(kinds.UPDATE_SOURCES)

    @property
    def transaction_listeners(self) -> ByName[TransactionListenerType]:
        """Transaction listeners by name."""
        return self._of(kinds.TRANSACTION_LISTENERS)

    @property
    def callback_reporters(self) -> ByName[CallbackReporterType]:
        """Callback reporters by name."""
        return self._of(kinds.CALLBACK_REPORTERS)

    @property
    def services(self) -> ByName[ServiceType]:
        """Services by name."""
        return self._of(kinds.SERVICES)

    @property
    def http_routes(self) -> ByName[HttpRoutesType]:
        """HTTP routes by name."""
        return self._of(kinds.HTTP_ROUTES)

    @property
    def commands(self) -> ByName[CommandType]:
        """Commands by name."""
        return self._of(kinds.COMMANDS)

    def offered_by(self, plugin: InstalledPlugin) -> dict[str, tuple[str, ...]]:
        """Return the names that a plugin provides, by what they are."""
        origin = (plugin.name, plugin.distribution)
        names = {
            kind.word: tuple(one.name for one in self._of(kind).values() if (one.plugin, one.distribution) == origin)
            for kind in KINDS
        }
        return {word: found for word, found in names.items() if found}

    def settings_models(self) -> list[tuple[str, type[BaseSettings]]]:
        """Return every settings model with the short name of its plugin, each once."""
        found = {
            (one.plugin, one.registration.settings): None
            for kind in KINDS
            for one in self._of(kind).values()
            if one.registration.settings is not None
        }
        return [(plugin, model) for plugin, model in found if model is not None]

    def _of(self, kind: OfferKind[R]) -> ByName[R]:
        return self._offered[kind.hook]

    # --------------------------------------------------------------------------------------------- what is meant

    def check(self) -> None:
        """Make sure that no name is claimed twice.

        Raises:
            PluginConflictError: one is; the message names both distributions.
        """
        if self.conflicts:
            raise PluginConflictError("\n".join(self.conflicts))

    def choose_policy_store(self, name: str | None) -> PluginOffer[PolicyStoreType]:
        """Return the policy store called `name`; if None, the usual one, else the only one that is not for tests.

        Raises:
            PluginLoadError: there is none, and a plugin failed that may have it.
            PluginNotFoundError: there is none; the message lists what is installed and how to get it.
            ConfigurationError: there are several to choose from, or only some for tests.
        """
        return self._choose(kinds.POLICY_STORES, name, "OPAL_POLICY_STORE_TYPE")

    def choose_update_source(self, name: str | None) -> PluginOffer[UpdateSourceType]:
        """Return the update source called `name`; if None, the usual one, else the only one that is not for tests.

        Raises:
            PluginLoadError: there is none, and a plugin failed that may have it.
            PluginNotFoundError: there is none; the message lists what is installed and how to get it.
            ConfigurationError: there are several to choose from, or only some for tests.
        """
        return self._choose(kinds.UPDATE_SOURCES, name, "OPAL_UPDATE_SOURCE")

    def fetcher_for(self, name: str | None, url: str) -> PluginOffer[FetcherType]:
        """Return the fetcher with this name or alias; if None, the one that claims the URL's scheme.

        Raises:
            PluginLoadError: there is none, and a plugin failed that may have it.
            PluginNotFoundError: there is none; the message lists what is installed.
        """
        if name is None:
            return self._by_scheme(kinds.FETCHERS, url)
        for one in self.fetchers.values():
            if name.casefold() in {alias.casefold() for alias in (one.name, *one.registration.aliases)}:
                return one
        raise self._missing(kinds.FETCHERS, name, self.fetchers)

    def backbone_for(self, url: str) -> PluginOffer[BackboneType]:
        """Return the backbone that claims the URL's scheme.

        Raises:
            PluginLoadError: there is none, and a plugin failed that may have it.
            PluginNotFoundError: there is none; the message lists the schemes that are claimed.
        """
        return self._by_scheme(kinds.BACKBONES, url)

    def transaction_listeners_for(self, store: str) -> list[PluginOffer[TransactionListenerType]]:
        """Return the transaction listeners that work with the policy store called `store`, sorted by name."""
        return _going_with(store, self.transaction_listeners)

    def services_for(self, store: str) -> list[PluginOffer[ServiceType]]:
        """Return the services that go with the policy store called `store`, sorted by name."""
        return _going_with(store, self.services)

    def http_routes_for(self, store: str) -> list[PluginOffer[HttpRoutesType]]:
        """Return the HTTP routes that go with the policy store called `store`, sorted by name."""
        return _going_with(store, self.http_routes)

    def _choose(self, kind: OfferKind[_Choice], name: str | None, variable: str) -> PluginOffer[_Choice]:
        offered = self._of(kind)
        if name:
            if name in offered:
                return offered[name]
            raise self._missing(kind, name, offered, variable)
        real = [one for one in offered.values() if not one.registration.for_tests]
        real = [one for one in real if one.registration.usual] or real
        if len(real) == 1:
            return real[0]
        if real:
            names = ", ".join(one.name for one in real)
            raise ConfigurationError(f"several {kind.word}s are installed: set {variable} to one of {names}")
        if offered:
            names = ", ".join(offered)
            raise ConfigurationError(
                f"every {kind.word} that is installed is for tests ({names}): install another, or set {variable} to it"
            )
        raise self._missing(kind, "", offered, variable)

    def _by_scheme(self, kind: OfferKind[Any], url: str) -> PluginOffer[Any]:
        scheme = url.partition(":")[0].casefold()
        by_scheme = {scheme.casefold(): one for one in self._of(kind).values() for scheme in one.registration.schemes}
        if scheme in by_scheme:
            return by_scheme[scheme]
        raise self._missing(kind, scheme, by_scheme, what=f"scheme for a {kind.word}")

    def _missing(
        self, kind: OfferKind[Any], name: str, known: Iterable[str], variable: str = "", *, what: str = ""
    ) -> PluginLoadError | PluginNotFoundError:
        """Say what is missing, what there is, how to get it, and whose failure may be the reason."""
        known = sorted(known, key=str.casefold)
        what = what or kind.word
        message = f"{variable}: " if variable else ""
        message += f"unknown {what} {name!r}" if name else f"no {what} is installed"
        if name:
            message += f"; installed: {', '.join(known) or 'none'}"
        blocked = [str(plugin) for plugin in self.installed if plugin.state == "blocked"]
        if blocked:
            message += f"; left out by OPAL_PLUGINS_DISABLED: {', '.join(blocked)}"
        failed = [plugin for plugin in self.installed if plugin.state == "failed"]
        if failed:
            reasons = "; ".join(f"{plugin}: {plugin.reason}" for plugin in failed)
            error = PluginLoadError(f"{message}; plugins that failed to load: {reasons}", plugin=failed[0].name)
            error.__cause__ = failed[0].error
            return error
        return PluginNotFoundError(message + _how_to_get(kind, name, known), name=name, known=known)


def _going_with(store: str, offered: ByName[_OfStores]) -> list[PluginOffer[_OfStores]]:
    return [
        one
        for one in offered.values()
        if not one.registration.stores or store.casefold() in map(str.casefold, one.registration.stores)
    ]


def _how_to_get(kind: OfferKind[Any], name: str, known: Sequence[str]) -> str:
    """Say which of our own distributions, as our extras list them, brings this name, or which name was meant.

    Never a distribution that we do not know: on a mistyped name anybody could have put one onto an index.
    """
    ours = _our_distributions()
    asked = re.sub(r"[-_.]+", "-", name).casefold()
    for word in (f"{asked}-{kind.word.split()[-1]}", asked):
        if word in ours:
            return f". To get it: pip install {ours[word]}"
    names = {one.casefold(): one for one in known}
    near = next(iter(get_close_matches(asked, [*names, *ours], n=1, cutoff=0.7)), None)
    if near in names:
        return f". Did you mean {names[near]}?"
    if near is not None:
        return f". Did you mean {near}? To get it: pip install {ours[near]}"
    return ". `cabochon plugins` lists what is installed, the README of Cabochon what there is"


def _our_distributions() -> dict[str, str]:
    """Return the distributions that our extras list, by their names without the project's."""
    try:
        listed = {re.split(r"[^A-Za-z0-9-]", requirement, maxsplit=1)[0] for requirement in requires(PROJECT) or ()}
    except PackageNotFoundError:  # pragma: no cover # a frozen application has no metadata
        listed = set[str]()
    return {one.removeprefix(f"{PROJECT}-"): one for one in sorted(listed) if one.startswith(f"{PROJECT}-")}


def _returning(plugin: object) -> Callable[[], object]:
    return lambda: plugin


def _blocked(candidate: Candidate) -> InstalledPlugin:
    return InstalledPlugin(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        state="blocked",
        reason="left out by OPAL_PLUGINS_DISABLED",
    )


def _warn_of_unknown(blocked: Mapping[str, str], installed: Iterable[InstalledPlugin]) -> None:
    known = {plugin.name.casefold() for plugin in installed}
    for name in sorted(spelled for folded, spelled in blocked.items() if folded not in known):
        log.warning("plugin.disabled_unknown", plugin=name, installed=sorted(known))
