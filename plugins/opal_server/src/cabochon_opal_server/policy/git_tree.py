"""One commit of a clone, read within limits. Blocking: it belongs into a thread."""

from __future__ import annotations

from collections.abc import Iterator

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo

from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.reading import Reading
from cabochon_opal_server.policy.snapshot import Snapshot

__all__ = ["read_commit"]

_REGULAR_FILES = (0o100644, 0o100755, 0o100664)
_FOLDER = 0o040000
_REMEMBERED = 1000

_Entry = tuple[bytes, int, ObjectID]


def read_commit(clone: Repo, point: str, rules: BundleRules, reading: Reading) -> Snapshot:
    """Read what is needed of a commit.

    Raises:
        KeyError: it is not in the clone.
        UnfitError: it has too much, or a file that is needed and has no name that can be told.
        RepositoryError: it took too long, or nobody waits for it any more.
    """
    commit = clone[point.encode()]
    if not isinstance(commit, Commit):
        raise KeyError(point)
    files: dict[str, bytes] = {}
    paths: set[str] = set()
    # Equal files are one, in the repository and here.
    contents: dict[ObjectID, bytes] = {}
    for raw, mode, sha in _walked(clone, commit.tree):
        path = reading.path(raw)
        paths.add(path)
        if mode != _FOLDER and rules.needs(path):
            if sha not in contents:
                blob = clone[sha]
                contents[sha] = blob.data if isinstance(blob, Blob) else b""
            reading.content(path, len(contents[sha]))
            files[path] = contents[sha]
    return Snapshot(hash=point, files=files, paths=frozenset(paths), rules=rules).prepared(reading)


def _walked(clone: Repo, root: ObjectID) -> Iterator[_Entry]:
    """Give the path, mode and id of all folders and regular files; a folder that is there many times is parsed once."""
    parsed: dict[ObjectID, list[_Entry]] = {}

    def entries(sha: ObjectID) -> list[_Entry]:
        found = parsed.get(sha)
        if found is None:
            tree = clone[sha]
            found = []
            if isinstance(tree, Tree):
                found = [(entry.path, entry.mode, entry.sha) for entry in tree.iteritems(name_order=True)]
            if len(parsed) >= _REMEMBERED:
                parsed.clear()
            parsed[sha] = found
        return found

    stack = [(b"", iter(entries(root)))]
    while stack:
        above, left = stack[-1]
        entry = next(left, None)
        if entry is None:
            stack.pop()
            continue
        name, mode, sha = entry
        path = above + name
        if mode == _FOLDER:
            yield path, mode, sha
            # Whoever takes paths has not refused this one: it is not too deep.
            stack.append((path + b"/", iter(entries(sha))))
        elif mode in _REGULAR_FILES:
            yield path, mode, sha
