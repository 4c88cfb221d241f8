"""A git repository, fetched into a bare clone and read from there: no work tree, no merging."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from dulwich.client import GitClient, HTTPProxyUnauthorized, HTTPUnauthorized
from dulwich.errors import ChecksumMismatch, GitProtocolError, NotGitRepository, ObjectFormatException
from dulwich.objects import ObjectID, valid_hexsha
from dulwich.refs import Ref
from dulwich.repo import Repo

from cabochon.urls import masked_url
from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.git_transport import git_client, ssh_command, write_key
from cabochon_opal_server.policy.git_tree import read_commit
from cabochon_opal_server.policy.own_thread import in_own_thread
from cabochon_opal_server.policy.reading import Reading, ReadLimits, UnfitError
from cabochon_opal_server.policy.repository import PolicyRepository, RepositoryError
from cabochon_opal_server.policy.snapshot import Snapshot

__all__ = ["GitRepository", "clone_folder"]

log = structlog.get_logger()

T = TypeVar("T")

_KEPT = 4
_BROKEN = (KeyError, ObjectFormatException, ChecksumMismatch, zlib.error)
_NAMED_BRANCHES = 5
_CLONE = re.compile(r"clone-\d+")
_ASKED_IN_VAIN_AT_MOST = 32
_LONGEST_QUESTION_S = 5.0
_GIVEN_UP_AT_MOST = 4


class GitRepository(PolicyRepository):
    """A branch of a git repository.

    Only the newest commit is fetched each time; what was fetched before is kept, and an earlier commit that was not is
    fetched when somebody asks for the difference to it. A history that was rewritten is followed like any other: the
    branch's head counts, wherever it is.
    """

    def __init__(
        self,
        url: str,
        branch: str,
        folder: Path,
        rules: BundleRules,
        *,
        ssh_key: str | None,
        timeout_s: float,
        limits: ReadLimits | None = None,
    ) -> None:
        """Create the repository without reading it.

        Args:
            url: where it is.
            branch: the one to follow.
            folder: of its own, for the clone; made if it is not there.
            rules: what is needed of it.
            ssh_key: text of a private key.
            timeout_s: the longest that one look may take, in seconds; `math.inf` for no limit.
            limits: how much of a commit is read.
        """
        self.place = masked_url(url)
        self._url = url
        self._branch = branch
        self._folder = folder
        self._clone = folder / "clone-0"
        self._rules = rules
        self._ssh_key = ssh_key
        self._timeout_s = timeout_s
        self._limits = limits or ReadLimits()
        self._unfit: tuple[str, UnfitError] | None = None
        self._at_work: set[Reading] = set()
        self._lock = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}
        self._asking = anyio.Lock()
        self._questions = _Questions()

    async def newest(self) -> Snapshot:
        """Fetch the branch's head, and read it."""
        if len(self._at_work) >= _GIVEN_UP_AT_MOST:
            raise RepositoryError(f"{len(self._at_work)} looks that were given up still hang: no other is begun")
        reading = Reading(self._limits)
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._asking:
                    # The thread of a hung remote is left to itself: it ends with its connection.
                    found = await in_own_thread(partial(self._newest, reading), reading.give_up)
        except TimeoutError as err:
            raise RepositoryError(
                f"no answer within OPAL_POLICY_REPO_CLONE_TIMEOUT={self._timeout_s:g} seconds"
            ) from err
        self._questions.begin(found.hash)
        return found

    async def last(self) -> Snapshot | None:
        """Read the head that was fetched last, by this server or by an earlier one on the same folder."""
        try:
            reading = Reading(self._limits)
            return await in_own_thread(partial(_told, self._url, partial(self._last, reading)), reading.give_up)
        except RepositoryError as err:
            log.warning("policy_repo.clone_unreadable", repository=self.place, error=str(err))
            return None

    async def snapshot(self, point: str) -> Snapshot | None:
        """Read a commit that was fetched at some time, or that the remote still has."""
        point = point.lower()
        if not valid_hexsha(point.encode()):
            return None
        found = self._snapshots.get(point) or await self._read(point)
        if found is None:
            with anyio.move_on_after(min(self._timeout_s, _LONGEST_QUESTION_S)):
                async with self._asking:
                    found = await self._asked_for(point)
        return found

    async def _asked_for(self, point: str) -> Snapshot | None:
        """Fetch an earlier commit; whoever makes commits up has the remote asked only so often."""
        found = await self._read(point)
        if found is not None or not self._questions.may_ask(point):
            return found
        reading = Reading(self._limits)
        found = await in_own_thread(partial(self._earlier, point, reading), reading.give_up)
        if found is not None:
            self._questions.answered(point)
        return found

    async def _read(self, point: str) -> Snapshot | None:
        """Read a commit of the clone; who can't be told the difference to it is told all."""
        reading = Reading(self._limits)
        try:
            return await in_own_thread(partial(_told, self._url, partial(self._known, point, reading)), reading.give_up)
        except RepositoryError as err:
            log.debug("policy_repo.commit_not_there", repository=self.place, commit=point, error=str(err))
            return None

    # ------------------------------------------------------------------------------------------------- in a thread

    def _newest(self, reading: Reading) -> Snapshot:
        self._at_work.add(reading)
        try:
            return self._looked(reading)
        finally:
            self._at_work.discard(reading)

    def _looked(self, reading: Reading) -> Snapshot:
        head = _told(self._url, self._fetched)
        if self._unfit is not None and self._unfit[0] == head:
            # It can't become fit: a commit never changes.
            raise self._unfit[1]
        try:
            found = _told(self._url, partial(self._known, head, reading))
        except UnfitError as err:
            unfit = UnfitError(f"commit {head}: {err}")
            self._unfit = head, unfit
            raise unfit from err
        if found is None:
            shutil.rmtree(self._clone, ignore_errors=True)
            raise RepositoryError(f"the clone in {self._clone} was damaged; it is made anew")
        if found.hash != self._questions.head:
            _told(self._url, partial(self._note, head))
        return found

    @property
    def _noted(self) -> Path:
        """The file that says which clone has the branch's head, and which that is."""
        return self._folder / f"head-{hashlib.sha256(self._branch.encode()).hexdigest()[:16]}"

    def _note(self, head: str) -> None:
        beside = self._noted.with_suffix(".new")
        beside.write_text(f"{self._clone.name} {head}\n")
        beside.replace(self._noted)

    def _last(self, reading: Reading) -> Snapshot | None:
        if not self._noted.exists():
            return None
        clone, _, head = self._noted.read_text().strip().partition(" ")
        if not (_CLONE.fullmatch(clone) and valid_hexsha(head.encode()) and (self._folder / clone).is_dir()):
            return None
        self._clone = self._folder / clone
        return self._known(head, reading)

    def _earlier(self, point: str, reading: Reading) -> Snapshot | None:
        try:
            return _told(self._url, partial(self._fetched_earlier, point, reading))
        except RepositoryError as err:
            log.debug("policy_repo.commit_not_there", repository=self.place, commit=point, error=str(err))
            return None

    def _fetched_earlier(self, point: str, reading: Reading) -> Snapshot:
        """Fetch a commit by its id alone; most servers give any that they have."""
        wanted = ObjectID(point.encode())
        with self._remote() as (client, path, _, clone):
            client.fetch(path, clone, determine_wants=lambda refs, depth=None: [wanted], depth=1)  # noqa: ARG005 - dulwich's names
            found = read_commit(clone, point, self._rules, reading)
        with self._lock:
            return self._kept(found)

    def _fetched(self) -> str:
        """Fetch the branch's head, and return its id."""
        with self._remote() as (client, path, folder, clone):

            def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
                del depth
                head = refs.get(self._ref)
                return [] if head is None or head in clone.object_store else [head]

            try:
                refs = client.fetch(path, clone, determine_wants=wanted, depth=1).refs
            except GitProtocolError as err:
                if "shallow" not in str(err):
                    raise
                refs = client.fetch(path, clone, determine_wants=wanted).refs
            head = refs.get(self._ref)
            if head is None:
                raise RepositoryError(self._no_branch(refs))
            self._clone = folder
            return head.decode()

    @contextmanager
    def _remote(self) -> Generator[tuple[GitClient, str, Path, Repo]]:
        """Give a client for the remote, the path there, and a clone's folder and the clone itself to fetch into."""
        self._folder.mkdir(parents=True, exist_ok=True)
        key = write_key(self._folder, self._ssh_key) if self._ssh_key is not None else None
        ssh = ssh_command(key, os.environ)
        with (
            git_client(self._url, ssh=ssh) as (client, path),
            self._claimed() as folder,
            _opened(folder) as clone,
        ):
            yield client, path, folder, clone

    @contextmanager
    def _claimed(self) -> Generator[Path]:
        """Give the first clone that nobody else writes to.

        A look that was given up may still be writing to one, and so may another server that shares the folder. The
        claim ends with its process, so what a killed one left locked is free again.
        """
        for number in itertools.count():
            folder = self._folder / f"clone-{number}"
            with folder.with_suffix(".claim").open("wb") as claim:
                try:
                    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                for left_behind in folder.rglob("*.lock"):
                    left_behind.unlink(missing_ok=True)
                yield folder
                return

    @property
    def _ref(self) -> Ref:
        return Ref(f"refs/heads/{self._branch}".encode())

    def _no_branch(self, refs: dict[Ref, ObjectID | None]) -> str:
        heads = sorted(ref.decode().removeprefix("refs/heads/") for ref in refs if ref.startswith(b"refs/heads/"))
        there = ", ".join(heads[:_NAMED_BRANCHES]) or "none yet"
        return f"there is no branch OPAL_POLICY_REPO_MAIN_BRANCH={self._branch}; branches there: {there}"

    def _known(self, point: str, reading: Reading) -> Snapshot | None:
        with self._lock:
            if point in self._snapshots:
                return self._snapshots[point]
            try:
                with _opened(self._clone) as clone:
                    found = read_commit(clone, point, self._rules, reading)
            except _BROKEN:
                return None
            return self._kept(found)

    def _kept(self, found: Snapshot) -> Snapshot:
        self._snapshots[found.hash] = found
        while len(self._snapshots) > _KEPT:
            del self._snapshots[next(iter(self._snapshots))]
        return found


class _Questions:
    """For which commits the remote was asked in vain since its head changed: whoever makes some up gets so many."""

    def __init__(self) -> None:
        self.head: str | None = None
        self._in_vain: set[str] = set()

    def begin(self, head: str) -> None:
        if head != self.head:
            self.head = head
            self._in_vain.clear()

    def may_ask(self, point: str) -> bool:
        if point in self._in_vain or len(self._in_vain) >= _ASKED_IN_VAIN_AT_MOST:
            return False
        self._in_vain.add(point)
        return True

    def answered(self, point: str) -> None:
        self._in_vain.discard(point)


def clone_folder(base: Path, prefix: str, url: str) -> Path:
    """Return the folder for the clone of a repository: the same after a restart, another for another URL."""
    return base / f"{prefix}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _opened(folder: Path) -> Repo:
    try:
        return Repo(str(folder))
    except NotGitRepository:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Repo.init_bare(str(folder))


def _told(url: str, read: Callable[[], T]) -> T:
    """Read, and say what went wrong in one way: the libraries below have many."""
    try:
        return read()
    except NotGitRepository as err:
        raise RepositoryError("there is no git repository, or it is not ours to read") from err
    except (HTTPUnauthorized, HTTPProxyUnauthorized) as err:
        raise RepositoryError("OPAL_POLICY_REPO_URL has no credentials that are let in") from err
    except RepositoryError:
        raise
    except Exception as err:  # the libraries of git raise what they like, and none of it may end the server
        raise RepositoryError(_reason(err).replace(url, masked_url(url))) from err


def _reason(err: Exception) -> str:
    return " ".join(str(err).split())[:300] or type(err).__name__
