"""All scopes: kept in the backbone, each with its policies followed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import structlog

from cabochon import Backbone, BackboneError, LogRecord, NewRecord
from cabochon_opal_server.policy.policies import Policies
from cabochon_opal_server.policy.snapshot import BundleRules
from cabochon_opal_server.scopes.scope import Scope

__all__ = ["Scopes"]

log = structlog.get_logger()

_PREFIX = "scope "
_RETRY_S = 5.0


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
    ) -> None:
        """Create it; `run` reads what there is.

        Args:
            backbone: where scopes are kept.
            publish: puts a record into the log.
            clones: folder for the clones of repositories.
            interval_s: seconds between two looks at a repository that is to be polled; 0 for none.
            timeout_s: the longest that one look may take; `math.inf` for no limit.
        """
        self._backbone = backbone
        self._publish = publish
        self._clones = clones
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._followed: dict[str, _Followed] = {}
        self._changed = anyio.Event()
        self._reading = anyio.Lock()

    # ------------------------------------------------------------------------------------------------------- scopes

    async def all(self) -> list[Scope]:
        """Return every scope, sorted by name.

        Raises:
            BackboneError: they can't be read now.
        """
        kept = await self._backbone.documents()
        scopes = [msgspec.json.decode(kept[name], type=Scope) for name in kept if name.startswith(_PREFIX)]
        return sorted(scopes, key=lambda scope: scope.scope_id)

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
            named = msgspec.json.decode(record.body)["scope_id"]
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
                await self._changed.wait()

    async def _read(self) -> None:
        """Take over what the backbone has; a scope that is as it was goes on."""
        async with self._reading:
            now = {scope.scope_id: scope for scope in await self.all()}
            for name in self._followed.keys() - now.keys():
                del self._followed[name]
            for name, scope in now.items():
                if name not in self._followed or self._followed[name].scope != scope:
                    self._followed[name] = _Followed(scope, self._policies_of(scope))
                    self._changed.set()

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
            clone_folder(self._clones, scope.scope_id.replace("/", "_"), source.url),
            rules,
            ssh_key=source.ssh_key,
            timeout_s=self._timeout_s or math.inf,
        )
        interval_s = self._interval_s if source.poll_updates else 0.0
        return Policies(repository, self._publish, interval_s=interval_s, scope=scope.scope_id)
