"""Commit a folder to a git repository that holds nothing else: what is new, what has changed, what is gone.

    python commit_policies.py policies policy-repo

The repository is made if it is not there. This takes no git program, only dulwich, which the server comes with.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.refs import HEADREF, Ref
from dulwich.repo import Repo

BRANCH = Ref(b"refs/heads/main")
AUTHOR = b"The example <example@example.invalid>"
A_FILE = 0o100644


def commit(folder: Path, repository: Repo) -> bytes | None:
    """Commit what the folder holds; return the commit's id, None if it is what was committed last."""
    files: list[tuple[bytes, ObjectID, int]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        blob = Blob.from_string(path.read_bytes())
        repository.object_store.add_object(blob)
        files.append((path.relative_to(folder).as_posix().encode(), blob.id, A_FILE))
    tree = commit_tree(repository.object_store, files)
    made = Commit()
    made.tree, made.parents = tree, []
    if BRANCH in repository.refs:
        made.parents = [repository.refs[BRANCH]]
        last = repository[BRANCH]
        if isinstance(last, Commit) and last.tree == tree:
            return None
    made.author = made.committer = AUTHOR
    made.author_time = made.commit_time = int(time.time())
    made.author_timezone = made.commit_timezone = 0
    made.message = b"Commit the folder of policies\n"
    repository.object_store.add_object(made)
    repository.refs[BRANCH] = made.id
    return made.id


def main() -> None:
    """Commit the folder that is named first to the repository that is named second."""
    folder, where = map(Path, sys.argv[1:])
    is_there = (where / "HEAD").is_file()
    with closing(Repo(str(where)) if is_there else Repo.init_bare(str(where), mkdir=not where.exists())) as repository:
        repository.refs.set_symbolic_ref(HEADREF, BRANCH)
        made = commit(folder, repository)
    print(f"committed {made.decode()}" if made else "nothing has changed")


if __name__ == "__main__":
    main()
