"""A git repository: what it holds is served, whatever happens to it."""

from __future__ import annotations

import fcntl
import gc
import math
import shutil
import socket
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.git_repository import GitRepository, clone_folder
from cabochon_opal_server.policy.git_transport import ssh_command, write_key
from cabochon_opal_server.policy.repository import RepositoryError

from .commits import Commits
from .http_git import serving


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path / "policies")


def follow(commits: Commits, tmp_path: Path, *, url: str | None = None, branch: str = "main") -> GitRepository:
    url = url or str(commits.folder)
    return GitRepository(url, branch, tmp_path / "clone", BundleRules(), ssh_key=None, timeout_s=math.inf)


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_branch_is_followed(commits: Commits, tmp_path: Path, scheme: str) -> None:
    repository = follow(commits, tmp_path, url=f"{scheme}{commits.folder}")
    first = commits.commit({"a/m.rego": "package a", "README.md": "read me"})
    found = await repository.newest()
    assert (first, {"a/m.rego": b"package a"}) == (found.hash, dict(found.files))
    assert found.has("README.md")
    assert found.has("a")
    assert not found.has("b")
    second = commits.commit({"a/m.rego": None, "b/n.rego": "package b"})
    assert {"b/n.rego"} == (await repository.newest()).files.keys()
    assert second == (await repository.newest()).hash
    old = await repository.snapshot(first)
    assert old is not None
    assert {"a/m.rego"} == old.files.keys()


@pytest.mark.parametrize("url", ["file://{}/a b%c", "file://{}/a%20b%25c", "file://localhost{}/a b%25c", "{}/a b%c"])
async def test_folder_may_have_any_name(tmp_path: Path, url: str) -> None:
    head = Commits(tmp_path / "a b%c").commit({"m.rego": "package a"})
    repository = follow(Commits(tmp_path / "other"), tmp_path, url=url.format(tmp_path))
    assert head == (await repository.newest()).hash


async def test_what_was_fetched_is_known_after_a_restart(commits: Commits, tmp_path: Path) -> None:
    first = commits.commit({"m.rego": "package a"})
    await follow(commits, tmp_path).newest()
    commits.commit({"m.rego": "package b"})
    again = follow(commits, tmp_path)
    await again.newest()
    old = await again.snapshot(first)
    assert old is not None
    assert {"m.rego": b"package a"} == dict(old.files)


async def test_head_that_was_fetched_is_there_after_a_restart(commits: Commits, tmp_path: Path) -> None:
    assert await follow(commits, tmp_path).last() is None
    head = commits.commit({"m.rego": "package a"})
    await follow(commits, tmp_path).newest()
    shutil.rmtree(commits.folder)
    again = follow(commits, tmp_path)
    found = await again.last()
    assert found is not None
    assert (head, {"m.rego": b"package a"}) == (found.hash, dict(found.files))
    assert await follow(commits, tmp_path, branch="other").last() is None, "it is another branch's"


@pytest.mark.parametrize("damage", ["clone gone", "objects gone", "note cut", "note of another folder", "note is none"])
async def test_head_that_is_damaged_is_none(commits: Commits, tmp_path: Path, damage: str) -> None:
    head = commits.commit({"m.rego": "package a"})
    await follow(commits, tmp_path).newest()
    (note,) = (tmp_path / "clone").glob("head-*")
    if damage == "clone gone":
        shutil.rmtree(tmp_path / "clone" / "clone-0")
    elif damage == "objects gone":
        shutil.rmtree(tmp_path / "clone" / "clone-0" / "objects")
    else:
        said = {"note cut": "clone-0 " + head[:9], "note of another folder": f"../clone {head}"}
        note.write_bytes(said.get(damage, "").encode() or b"\xff\xfe")
    repository = follow(commits, tmp_path)
    assert await repository.last() is None
    with suppress(RepositoryError):
        await repository.newest()
    assert head == (await repository.newest()).hash


async def test_rewritten_history_is_followed(commits: Commits, tmp_path: Path) -> None:
    repository = follow(commits, tmp_path)
    commits.commit({"keep.rego": "package keep"})
    wrong = commits.commit({"wrong.rego": "package wrong"})
    await repository.newest()
    commits.git("reset", "-q", "--hard", "HEAD~1")
    right = commits.commit({"right.rego": "package right"})
    found = await repository.newest()
    assert (right, {"keep.rego", "right.rego"}) == (found.hash, found.files.keys())
    commits.git("reset", "-q", "--hard", "HEAD~1")
    assert {"keep.rego"} == (await repository.newest()).files.keys(), "a branch may go back"
    assert await repository.snapshot(wrong) is not None


@pytest.mark.parametrize("scheme", ["", "file://", "http"])
async def test_earlier_commit_is_fetched_when_it_is_asked_for(commits: Commits, tmp_path: Path, scheme: str) -> None:
    first = commits.commit({"a.rego": "package a", "gone.rego": "package gone"})
    second = commits.commit({"gone.rego": None})
    head = commits.commit({"a.rego": "package b"})
    with serving(commits.folder.parent) as (port, _):
        over_http = f"http://me:pass%2Fword@127.0.0.1:{port}/policies/.git"
        repository = follow(commits, tmp_path, url=over_http if scheme == "http" else f"{scheme}{commits.folder}")
        assert head == (await repository.newest()).hash
        old, between = await repository.snapshot(first.upper()), await repository.snapshot(second)
    assert old is not None
    assert between is not None
    assert (first, {"a.rego": b"package a", "gone.rego": b"package gone"}) == (old.hash, dict(old.files))
    assert {"a.rego": b"package a"} == dict(between.files)
    assert await follow(commits, tmp_path).snapshot(first) is not None, "and stays"


@pytest.mark.parametrize("made_up", [0, 40])
async def test_commit_that_is_not_there_is_asked_for_again_after_a_change(
    commits: Commits, tmp_path: Path, made_up: int
) -> None:
    first = commits.commit({"m.rego": "package a"})
    commits.commit({"m.rego": "package b"})
    repository = follow(commits, tmp_path)
    await repository.newest()
    away = commits.folder.rename(tmp_path / "away")
    for number in range(made_up):
        assert await repository.snapshot(f"{number:040x}") is None
    assert await repository.snapshot(first) is None
    away.rename(commits.folder)
    await repository.newest()
    assert await repository.snapshot(first) is None, "once is enough"
    commits.commit({"m.rego": "package c"})
    await repository.newest()
    assert await repository.snapshot(first) is not None


@pytest.mark.parametrize("point", ["0" * 40, "deadbeef" * 5, "HEAD", "", "x" * 10_000, "../../etc"])
async def test_unknown_point_is_none(commits: Commits, tmp_path: Path, point: str) -> None:
    commits.commit({"m.rego": "package a"})
    repository = follow(commits, tmp_path)
    await repository.newest()
    assert await repository.snapshot(point) is None


async def test_missing_and_vanished_branches_are_named_and_come_back(commits: Commits, tmp_path: Path) -> None:
    repository = follow(commits, tmp_path)
    with pytest.raises(RepositoryError, match="OPAL_POLICY_REPO_MAIN_BRANCH=main; branches there: none yet"):
        await repository.newest()
    head = commits.commit({"m.rego": "package a"})
    await repository.newest()
    commits.git("checkout", "-q", "-b", "other")
    commits.git("branch", "-D", "main")
    with pytest.raises(RepositoryError, match="branches there: other"):
        await repository.newest()
    commits.git("checkout", "-q", "-b", "main")
    assert head == (await repository.newest()).hash


async def test_repository_that_is_not_there_is_told_and_may_come(commits: Commits, tmp_path: Path) -> None:
    head = commits.commit({"m.rego": "package a"})
    away = tmp_path / "away"
    commits.folder.rename(away)
    repository = follow(commits, tmp_path)
    with pytest.raises(RepositoryError):
        await repository.newest()
    away.rename(commits.folder)
    assert head == (await repository.newest()).hash


async def test_nobody_listening_is_told(commits: Commits, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="refused"):
        await follow(commits, tmp_path, url="http://127.0.0.1:9/x.git").newest()


ENDS = """
import sys
from pathlib import Path
import anyio
from cabochon_opal_server.policy.git_repository import GitRepository
from cabochon_opal_server.policy.repository import RepositoryError
from cabochon_opal_server.policy.bundle_rules import BundleRules

async def main():
    repository = GitRepository(sys.argv[1], "main", Path(sys.argv[2]), BundleRules(), ssh_key=None, timeout_s=0.1)
    try:
        await repository.newest()
    except RepositoryError as err:
        assert "no answer within" in str(err), err
        with anyio.move_on_after(0.1):
            await repository.snapshot("a" * 40)
        print("done", flush=True)

anyio.run(main)
"""


def test_process_ends_although_a_remote_hangs(tmp_path: Path) -> None:
    """A look that was given up holds nobody up: the remote itself is given up after a minute only."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"http://127.0.0.1:{hung.getsockname()[1]}/x.git"
        command = [sys.executable, "-c", ENDS, url, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            # Counted from when it has nothing left to do: its start is another matter.
            assert any(line == "done\n" for line in process.stdout)
            assert 0 == process.wait(timeout=30)


@pytest.mark.parametrize("damage", ["objects gone", "pack cut", "no clone"])
async def test_damaged_clone_is_made_anew(commits: Commits, tmp_path: Path, damage: str) -> None:
    head = commits.commit({"m.rego": "package a"})
    await follow(commits, tmp_path).newest()
    clone = tmp_path / "clone" / "clone-0"
    if damage == "no clone":
        shutil.rmtree(clone)
    for pack in (clone / "objects").rglob("*.pack"):
        if damage == "pack cut":
            pack.chmod(0o600)
            pack.write_bytes(pack.read_bytes()[:40])
        elif damage == "objects gone":
            pack.unlink()
    repository = follow(commits, tmp_path)
    found = None
    for _ in range(3):
        try:
            found = await repository.newest()
            break
        except RepositoryError:
            continue
    assert found is not None
    assert head == found.hash


async def test_lock_of_a_killed_server_is_in_nobodys_way(commits: Commits, tmp_path: Path) -> None:
    commits.commit({"a.rego": "package a"})
    await follow(commits, tmp_path).newest()
    (tmp_path / "clone" / "clone-0" / "shallow.lock").touch()
    second = commits.commit({"a.rego": "package b"})
    assert second == (await follow(commits, tmp_path).newest()).hash


async def test_clone_that_another_look_writes_to_is_left_alone(commits: Commits, tmp_path: Path) -> None:
    first = commits.commit({"a.rego": "package a"})
    await follow(commits, tmp_path).newest()
    second = commits.commit({"a.rego": "package b"})
    with (tmp_path / "clone" / "clone-0.claim").open("wb") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        lock = tmp_path / "clone" / "clone-0" / "shallow.lock"
        lock.touch()
        repository = follow(commits, tmp_path)
        assert second == (await repository.newest()).hash
        assert lock.exists()
        assert await repository.snapshot(first) is not None, "it was fetched anew"


async def test_links_and_submodules_are_left_out(commits: Commits, tmp_path: Path) -> None:
    commits.folder.joinpath("evil.rego").symlink_to("/etc/passwd")
    commits.commit({"m.rego": "package a"})
    assert {"m.rego"} == (await follow(commits, tmp_path).newest()).files.keys()


def test_clones_of_different_repositories_differ(tmp_path: Path) -> None:
    names = {clone_folder(tmp_path, "p", url).name for url in ("https://a/b", "https://a/c")}
    assert 2 == len(names)
    assert clone_folder(tmp_path, "p", "https://a/b") == clone_folder(tmp_path, "p", "https://a/b")


@pytest.mark.parametrize("text", ["-----BEGIN K-----_abc_-----END K-----", "-----BEGIN K-----\nabc\n-----END K-----\n"])
def test_ssh_key_is_for_its_owner_alone(tmp_path: Path, text: str) -> None:
    key = write_key(tmp_path, text)
    assert "-----BEGIN K-----\nabc\n-----END K-----\n" == key.read_text()
    assert 0o600 == key.stat().st_mode & 0o777
    assert f"-i {key}" in ssh_command(key, {})
    assert ssh_command(None, {"GIT_SSH_COMMAND": "my-ssh"}) == "my-ssh"


async def test_repository_over_http_wants_the_password_of_its_url(commits: Commits, tmp_path: Path) -> None:
    commits.commit({"m0.rego": "package m0"})
    commits.commit({"m1.rego": "package m1"})
    head = commits.commit({"m2.rego": "package m2"})
    with serving(commits.folder.parent) as (port, asked):
        repository = follow(commits, tmp_path, url=f"http://me:pass%2Fword@127.0.0.1:{port}/policies/.git")
        found = await repository.newest()
        assert (head, 3) == (found.hash, len(found.files))
        fetches = len(asked)
        assert head == (await repository.newest()).hash
        assert len(asked) < 2 * fetches, "what is there already is not fetched again"
        commits.git("reset", "-q", "--hard", "HEAD~2")
        new = commits.commit({"n.rego": "package n"})
        assert (new, {"m0.rego", "n.rego"}) == (
            (await repository.newest()).hash,
            (await repository.newest()).files.keys(),
        )
        with warnings.catch_warnings():
            # dulwich leaves the connection of an answer that it does not like to the collector of garbage.
            warnings.simplefilter("ignore", ResourceWarning)
            for wrong in ("", "me:wrong@"):
                url = f"http://{wrong}127.0.0.1:{port}/policies/.git"
                await refused(follow(commits, tmp_path / "other", url=url), "credentials")
            await refused(
                follow(commits, tmp_path / "third", url=f"http://me:pass%2Fword@127.0.0.1:{port}/none"), "no git"
            )
            gc.collect()


async def refused(repository: GitRepository, why: str) -> None:
    """See that it can't be read, and that no password is told."""
    with pytest.raises(RepositoryError, match=why) as error:
        await repository.newest()
    assert "wrong" not in str(error.value)
    assert "word" not in str(error.value)
