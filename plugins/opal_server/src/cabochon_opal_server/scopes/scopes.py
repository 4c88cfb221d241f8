"""All scopes: kept in the backbone, each with its policies followed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import structlog
from msgspec.structs import replace

from cabochon import Backbone, BackboneError, LogRecord, NewRecord
from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.policies import Policies
from cabochon_opal_server.policy.reading import ReadLimits
from cabochon_opal_server.policy.turns import Turns
from cabochon_opal_server.scopes.scope import Scope

__all__ = ["Scopes"]

log = structlog.get_logger()

_PREFIX = "scope "
_RETRY_S = 5.0
_FAULTS_AGAIN_S = 60.0
_UNREADABLE = "its record can't be read"
_UNFIT = re.compile(r"[^\w.-]", re.ASCII)
_LONGEST_NAME = 80


class _Change(msgspec.Struct):
    """What a record of the kind `scope` says."""

    scope_id: str | None = None


class _Followed:
    """A scope whose repository is followed."""

    def __init__(self, scope: Scope, policies: Policies) -> None:
        self.scope = scope
        self.policies = policies
        self.following = anyio.CancelScope()


class Scopes:
    """The scopes of all servers that share a backbone.

    A change is written there, and told to the other servers by a record of the kind `scope` in the log.
    """

    def __init__(
        self,
        backbone: Backbone,
        publish: Callable[[NewRecord], Awaitable[int]],
        clones: Path,
        *,
        interval_s: float,
        timeout_s: float,
        limits: ReadLimits,
        kept_bytes: int,
    ) -> None:
        """Create it; `run` reads what there is.

        Args:
            backbone: where scopes are kept.
            publish: puts a record into the log.
            clones: folder for the clones of repositories.
            interval_s: seconds between two looks at a repository that is to be polled; 0 for none.
            timeout_s: the longest that one look may take; `math.inf` for no limit.
            limits: how much of a repository is read.
            kept_bytes: of the bundles of each that were made last.
        """
        self._backbone = backbone
        self._publish = publish
        self._clones = clones
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._limits = limits
        self._kept_bytes = kept_bytes
        self._turns = Turns()
        self._faults: dict[str, str] = {}
        self._followed: dict[str, _Followed] = {}
        self._changed = anyio.Event()
        self._reading = anyio.Lock()

    # ------------------------------------------------------------------------------------------------------- scopes

    async def all(self) -> list[Scope]:
        """Return every scope that can be read, sorted by name; `trouble` says of the others that they can't.

        Raises:
            BackboneError: they can't be read now.
        """
        kept = await self._backbone.documents()
        scopes: list[Scope] = []
        unreadable: set[str] = set()
        for name in kept:
            if not name.startswith(_PREFIX):
                continue
            scope_id = name.removeprefix(_PREFIX)
            try:
                # A record under another's name would be followed as that one.
                scope = replace(msgspec.json.decode(kept[name], type=Scope), scope_id=scope_id)
            except (ValueError, RecursionError) as err:
                unreadable.add(scope_id)
                self._note(scope_id, f"{_UNREADABLE}: {err}")
            else:
                scopes.append(scope)
        self._forget(lambda name, fault: fault.startswith(_UNREADABLE) and name not in unreadable)
        return sorted(scopes, key=lambda scope: scope.scope_id)

    def trouble(self) -> dict[str, str]:
        """Say by name which scopes can't be read, or followed, or have a repository that can't be read, and why."""
        found = {name: one.policies.trouble for name, one in self._followed.items()}
        return {name: why for name, why in {**found, **self._faults}.items() if why is not None}

    async def get(self, scope_id: str) -> Scope | None:
        """Return one scope."""
        return next((scope for scope in await self.all() if scope.scope_id == scope_id), None)

    async def put(self, scope: Scope) -> None:
        """Keep a scope, in place of the one with its name."""
        await self._backbone.save_documents({_PREFIX + scope.scope_id: msgspec.json.encode(scope)})
        log.info("scope.saved", scope=scope.scope_id)
        await self.refresh(scope.scope_id)

    async def delete(self, scope_id: str) -> None:
        """Forget a scope."""
        await self._backbone.forget_documents([_PREFIX + scope_id])
        log.info("scope.deleted", scope=scope_id)
        await self.refresh(scope_id)

    async def refresh(self, scope_id: str | None) -> None:
        """Have every server look at a scope and its repository, or at all of them."""
        await self._publish(NewRecord(kind="scope", topics=(), body=msgspec.json.encode({"scope_id": scope_id})))

    async def policies(self, scope_id: str) -> tuple[Scope, Policies] | None:
        """Return what is followed for a scope, and where there is no such scope for the one called `default`."""
        for name in (scope_id, "default"):
            if name not in self._followed:
                await self._read()
            found = self._followed.get(name)
            if found is not None:
                return found.scope, found.policies
        return None

    # ---------------------------------------------------------------------------------------------------- following

    def passed_on(self, record: LogRecord) -> None:
        """Take note of a record of the log."""
        if record.kind == "scope":
            named = _named_by(record.body)
            for name, followed in self._followed.items():
                if named in (None, name):
                    followed.policies.look()
            self._changed.set()
        else:
            for followed in self._followed.values():
                followed.policies.passed_on(record)

    async def run(self) -> None:
        """Follow the repositories of all scopes, until cancelled."""
        running: dict[str, _Followed] = {}
        async with anyio.create_task_group() as tasks:
            while True:
                self._changed = anyio.Event()
                try:
                    await self._read()
                except BackboneError as err:
                    log.warning("scopes.not_read", error=str(err))
                    with anyio.move_on_after(_RETRY_S):
                        await self._changed.wait()
                    continue
                for name, followed in running.items():
                    if self._followed.get(name) is not followed:
                        followed.following.cancel()
                for name, followed in self._followed.items():
                    if running.get(name) is not followed:
                        tasks.start_soon(self._follow, followed)
                running = dict(self._followed)
                with anyio.move_on_after(_FAULTS_AGAIN_S if self._faults else math.inf):
                    await self._changed.wait()

    async def _read(self) -> None:
        """Take over what the backbone has; a scope that is as it was goes on."""
        async with self._reading:
            now = {scope.scope_id: scope for scope in await self.all()}
            # What was good of a scope whose record can't be read any more stays.
            for name in self._followed.keys() - now.keys() - self._faults.keys():
                del self._followed[name]
            for name, scope in now.items():
                if name not in self._followed or self._followed[name].scope != scope:
                    try:
                        policies = self._policies_of(scope)
                    except Exception as err:  # noqa: BLE001 - a guarded edge: one scope must not end the others
                        self._note(name, f"it can't be followed: {err}")
                        continue
                    self._followed[name] = _Followed(scope, policies)
                    self._changed.set()
                self._faults.pop(name, None)
            self._forget(lambda name, fault: not fault.startswith(_UNREADABLE) and name not in now)

    def _note(self, scope_id: str, fault: str) -> None:
        """Say what is wrong with a scope, once as long as it stays the same."""
        if self._faults.get(scope_id) != fault:
            self._faults[scope_id] = fault
            log.error("scope.unusable", scope=scope_id, error=fault[:300])

    def _forget(self, is_over: Callable[[str, str], bool]) -> None:
        self._faults = {name: fault for name, fault in self._faults.items() if not is_over(name, fault)}

    async def _follow(self, followed: _Followed) -> None:
        with followed.following:
            await followed.policies.run()

    def _policies_of(self, scope: Scope) -> Policies:
        from cabochon_opal_server.policy.git_repository import GitRepository, clone_folder  # noqa: PLC0415 - large

        source = scope.policy
        rules = BundleRules(
            extensions=frozenset(source.extensions), ignored=source.bundle_ignore or (), manifest=source.manifest
        )
        repository = GitRepository(
            source.full_url,
            source.branch,
            clone_folder(self._clones, _folder_name(scope.scope_id), source.url),
            rules,
            ssh_key=source.ssh_key,
            timeout_s=self._timeout_s or math.inf,
            limits=self._limits,
        )
        interval_s = self._interval_s if source.poll_updates else 0.0
        return Policies(
            repository,
            self._publish,
            interval_s=interval_s,
            scope=scope.scope_id,
            kept_bytes=self._kept_bytes,
            turns=self._turns,
        )


def _named_by(body: bytes) -> str | None:
    """Name the scope that a record is about; None for all, and where it does not say so."""
    try:
        return msgspec.json.decode(body, type=_Change).scope_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _folder_name(scope_id: str) -> str:
    """Make a name for a file of a scope's, and not of another's."""
    plain = _UNFIT.sub("_", scope_id)[:_LONGEST_NAME]
    return plain if plain == scope_id else f"{plain}-{hashlib.sha256(scope_id.encode()).hexdigest()[:16]}"
