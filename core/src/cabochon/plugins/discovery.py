"""Load one plugin at a time, so that the blame for each failure is exact and the others go on.

Pluggy is used for what it is good at: marking and validating hook implementations. Six of its habits would hurt here
and are guarded: it lets `async def` implementations pass; it does not see a generator fail; it stops at the first
implementation that raises; it lets load order choose; it ignores misspelt hooks; it stops at the first entry point that
fails to import.
"""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal, cast

import pluggy
import structlog

from cabochon.contract import hookspecs
from cabochon.plugins.kinds import KINDS, BadRegistrationError, OfferKind, R, Registration, accept

__all__ = ["Accepted", "Candidate", "InstalledPlugin", "PluginLoader"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plugin that could be loaded: `load` imports it."""

    name: str
    distribution: str
    version: str
    entry_point: str
    load: Callable[[], object]

    @classmethod
    def from_entry_point(cls, entry_point: EntryPoint) -> Candidate:
        """Take what the installed distribution says."""
        distribution = entry_point.dist
        return cls(
            name=entry_point.name,
            distribution=distribution.name if distribution else "unknown",
            version=distribution.version if distribution else "unknown",
            entry_point=entry_point.value,
            load=entry_point.load,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlugin:
    """A plugin as `cabochon plugins` shows it.

    Attributes:
        name: the entry point's key, as in `OPAL_PLUGINS_DISABLED`.
        distribution: what was installed.
        version: the distribution's.
        state: "loaded", "blocked" by the operator, or "failed".
        hooks: the hooks that it implements.
        reason: why it is blocked or failed.
        error: what it raised, if it did.
    """

    name: str
    distribution: str
    version: str
    state: Literal["loaded", "blocked", "failed"]
    hooks: tuple[str, ...] = ()
    reason: str = ""
    error: BaseException | None = None

    def __str__(self) -> str:
        """Name it as error messages do."""
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One registration, and the kind it is of."""

    kind: OfferKind[Any]
    registration: Registration


class _PluginFailedError(Exception):
    """Why a plugin is of no use; never leaves this module."""


class PluginLoader:
    """Loads candidates into a pluggy manager of its own."""

    def __init__(self, *, trace: bool = False) -> None:
        self._trace = trace
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)

    def load(self, candidate: Candidate) -> tuple[InstalledPlugin, list[Accepted]]:
        """Import a plugin and ask it what it offers: everything, or nothing if any of it fails."""
        installed = InstalledPlugin(
            name=candidate.name, distribution=candidate.distribution, version=candidate.version, state="loaded"
        )
        try:
            plugin = self._imported(candidate)
            hooks = self._registered(candidate, plugin)
            offers = [offer for kind in KINDS for offer in self._asked(candidate, kind, plugin)]
        except _PluginFailedError as failure:
            installed = replace(installed, state="failed", reason=str(failure), error=failure.__cause__)
            _warn(candidate, installed)
            return installed, []
        return replace(installed, hooks=hooks), offers

    def _imported(self, candidate: Candidate) -> object:
        try:
            return candidate.load()
        except (Exception, SystemExit) as err:  # the guarded edge: whatever a stranger's module does when imported
            raise _PluginFailedError(f"import of {candidate.entry_point} failed: {_cause(err)}") from err

    def _registered(self, candidate: Candidate, plugin: object) -> tuple[str, ...]:
        """Register the plugin's hook implementations and return their names, or refuse the plugin."""
        unique = f"{candidate.distribution}:{candidate.name}"
        try:
            hooks = self._implementations(plugin)
            self._manager.register(plugin, unique)
            self._manager.check_pending()
        except _PluginFailedError:
            raise
        except Exception as err:  # pluggy's own complaints, and attributes that raise when looked at
            if self._manager.has_plugin(unique):
                self._manager.unregister(name=unique)
            raise _PluginFailedError(_cause(err)) from err
        return hooks

    def _implementations(self, plugin: object) -> tuple[str, ...]:
        known = [kind.hook for kind in KINDS]
        hooks: list[str] = []
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            function = inspect.getattr_static(plugin, name, None)
            if options is None:
                if name in known and inspect.isfunction(function) and function.__module__ != hookspecs.__name__:
                    raise _PluginFailedError(f"{name} is not marked: write @hookimpl above it")
                continue
            hook = options.get("specname") or name
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise _PluginFailedError(f"{name} is async: hooks are plain functions, what they offer is opened later")
            if options.get("wrapper") or options.get("hookwrapper"):
                raise _PluginFailedError(f"{name} is a hook wrapper: plugins are asked one by one, nothing is wrapped")
            if hook not in known and not options.get("optionalhook"):
                near = get_close_matches(hook, known, n=1)
                meant = f"did you mean {near[0]}?" if near else f"hooks are: {', '.join(sorted(known))}"
                raise _PluginFailedError(f"unknown hook {hook}; {meant}")
            hooks.append(hook)
        return tuple(sorted(hooks))

    def _asked(self, candidate: Candidate, kind: OfferKind[R], plugin: object) -> Iterable[Accepted]:
        """Call the plugin's own implementation of one hook."""
        for implementation in getattr(self._manager.hook, kind.hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            began = time.perf_counter()
            try:
                found = [accept(kind, item) for item in _iterable(kind, implementation.function())]
            except BadRegistrationError as err:
                raise _PluginFailedError(f"{kind.hook} {err}") from err
            except (Exception, SystemExit) as err:  # the guarded edge: whatever a stranger's hook raises
                raise _PluginFailedError(f"{kind.hook} raised {_cause(err)}") from err
            if self._trace:
                log.info(
                    "plugin.hook_called",
                    hook=kind.hook,
                    plugin=candidate.name,
                    duration_s=round(time.perf_counter() - began, 6),
                    offered=len(found),
                )
            yield from (Accepted(kind, registration) for registration in found)


def _iterable(kind: OfferKind[Any], result: object) -> Iterable[object]:
    """Refuse the answers that would look like none or be misread; a generator is run by the caller's guard."""
    if inspect.iscoroutine(result):
        result.close()
        raise BadRegistrationError("returned a coroutine: hooks are plain functions")
    if isinstance(result, kind.type):
        raise BadRegistrationError(f"returned one {kind.type.__name__}: return a list of them, or yield it")
    if not isinstance(result, Iterable):
        raise BadRegistrationError(
            f"returned {type(result).__name__}: return a list of {kind.type.__name__}, or yield them"
        )
    return cast("Iterable[object]", result)


def _cause(err: BaseException) -> str:
    """Say in one line what was raised, and where."""
    frames = [frame for frame in traceback.extract_tb(err.__traceback__) if not frame.filename.startswith("<frozen")]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(err).__name__}: {' '.join(str(err).split())}{where}"


def _warn(candidate: Candidate, installed: InstalledPlugin) -> None:
    log.warning(
        "plugin.load_failed",
        plugin=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        entry_point=candidate.entry_point,
        cause=installed.reason,
    )
    log.debug("plugin.load_failed_at", plugin=candidate.name, exc_info=installed.error)
