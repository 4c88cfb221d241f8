"""Git repositories, made object by object where git itself would refuse."""

from __future__ import annotations

from pathlib import Path

from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo

__all__ = ["HostileRepository"]

_FOLDER, _FILE = 0o040000, 0o100644


class HostileRepository:
    """A repository whose branch `main` is one commit after another, each of a tree made here."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.repo = Repo.init(str(folder), default_branch=b"main")
        self._commits = 0

    def blob(self, content: bytes) -> ObjectID:
        """Keep a file's content."""
        blob = Blob.from_string(content)
        self.repo.object_store.add_object(blob)
        return blob.id

    def tree(self, *entries: tuple[bytes, int, ObjectID]) -> ObjectID:
        """Keep a folder."""
        tree = Tree()
        for name, mode, sha in entries:
            tree.add(name, mode, sha)
        self.repo.object_store.add_object(tree)
        return tree.id

    def commit(self, tree: ObjectID) -> str:
        """Make a commit the head of the branch."""
        self._commits += 1
        commit = Commit()
        commit.tree = tree
        commit.author = commit.committer = b"a <a@b.c>"
        commit.commit_time = commit.author_time = 1_700_000_000 + self._commits
        commit.commit_timezone = commit.author_timezone = 0
        commit.message = b"change"
        self.repo.object_store.add_object(commit)
        self.repo.refs[b"refs/heads/main"] = commit.id  # type: ignore[index]
        return commit.id.decode()

    def good(self, text: str) -> str:
        """Commit one policy."""
        return self.commit(self.tree((b"a.rego", _FILE, self.blob(f"package {text}\n".encode()))))

    def latin1_folder(self) -> str:
        """Commit a policy in a folder whose name is not UTF-8."""
        inner = self.tree((b"x.rego", _FILE, self.blob(b"package x\n")))
        return self.commit(self.tree((b"caf\xe9", _FOLDER, inner)))

    def nested_trees(self) -> str:
        """Commit some dozens of objects that are 16 ** 24 files."""
        tree = self.tree((b"x.rego", _FILE, self.blob(b"package x\n")))
        for _level in range(24):
            tree = self.tree(*((b"%02d" % number, _FOLDER, tree) for number in range(16)))
        return self.commit(tree)

    def nested_manifests(self, depth: int) -> str:
        """Commit a manifest in a folder in a folder, and so on."""
        tree = self.tree((b"x.rego", _FILE, self.blob(b"package x\n")))
        manifest = self.blob(b"d\n")
        for _level in range(depth):
            tree = self.tree((b".manifest", _FILE, manifest), (b"d", _FOLDER, tree))
        return self.commit(tree)
