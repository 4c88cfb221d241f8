"""Bundles made of snapshots: all policies, or what changed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from cabochon.schemas import DataModule, DeletedFiles, PolicyBundle, PolicyUpdateMessage, RegoModule
from cabochon_opal_server.policy.snapshot import Snapshot, package_of, parents

__all__ = ["change_message", "delta_bundle", "full_bundle"]


def full_bundle(snapshot: Snapshot, folders: Collection[str]) -> PolicyBundle:
    """Make the bundle of all that is below `folders`; "." is everything."""
    return _bundle(snapshot, _below(snapshot.modules, folders))


def delta_bundle(old: Snapshot, new: Snapshot, folders: Collection[str]) -> PolicyBundle:
    """Make the bundle that leads from `old` to `new` below `folders`.

    A file that was renamed is deleted under its old name and comes under its new one.
    """
    before, after = _below(old.modules, folders), _below(new.modules, folders)
    changed = {path: text for path, text in after.items() if before.get(path) != text}
    gone = before.keys() - after.keys()
    policies = _ordered(new, (path for path in gone if new.rules.is_policy(path)))
    deleted = DeletedFiles(
        data_modules=tuple(sorted(_folder(path) for path in gone if new.rules.is_data(path))),
        # What others build on goes last.
        policy_modules=tuple(reversed(policies)),
    )
    return _bundle(new, changed, old_hash=old.hash, deleted=deleted if gone else None)


def change_message(old: Snapshot, new: Snapshot) -> PolicyUpdateMessage | None:
    """Say in which folders files changed that count, None if in none; equal snapshots stand for all folders."""
    tracks = new.rules.tracks
    if old.hash == new.hash:
        changed = [path for path in new.files if tracks(path)]
    else:
        both = old.files.keys() | new.files.keys()
        changed = [path for path in both if tracks(path) and old.files.get(path) != new.files.get(path)]
    if not changed:
        return None
    return PolicyUpdateMessage(
        old_policy_hash=old.hash, new_policy_hash=new.hash, changed_directories=tuple(parents(changed))
    )


def _bundle(
    snapshot: Snapshot, modules: Mapping[str, str], *, old_hash: str | None = None, deleted: DeletedFiles | None = None
) -> PolicyBundle:
    manifest = _ordered(snapshot, modules)
    rules = snapshot.rules
    return PolicyBundle(
        manifest=tuple(manifest),
        hash=snapshot.hash,
        old_hash=old_hash,
        data_modules=tuple(
            DataModule(path=_folder(path), data=modules[path]) for path in manifest if rules.is_data(path)
        ),
        policy_modules=tuple(
            RegoModule(path=path, package_name=package_of(modules[path]), rego=modules[path])
            for path in manifest
            if rules.is_policy(path)
        ),
        deleted_files=deleted,
    )


def _below(modules: Mapping[str, str], folders: Collection[str]) -> dict[str, str]:
    wanted = set(folders)
    if "." in wanted:
        return dict(modules)
    return {
        path: text
        for path, text in modules.items()
        if any(str(folder) in wanted for folder in PurePosixPath(path).parents)
    }


def _ordered(snapshot: Snapshot, paths: Iterable[str]) -> list[str]:
    """Sort paths: those that the manifest names come first, in its order, then the others as a walk meets them."""
    last = len(snapshot.order)
    return sorted(paths, key=lambda path: (snapshot.order.get(path, last), _walked(path)))


def _walked(path: str) -> list[tuple[bool, str]]:
    """Sort a folder's own files before those of its subfolders, by name as git has them: the peer's order.

    Example:
        >>> sorted(["a/m.rego", "a-b/m.rego", "z.rego", "a/b/m.rego"], key=_walked)
        ['z.rego', 'a-b/m.rego', 'a/m.rego', 'a/b/m.rego']
    """
    *folders, name = path.split("/")
    return [*((True, f"{folder}/") for folder in folders), (False, name)]


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)
