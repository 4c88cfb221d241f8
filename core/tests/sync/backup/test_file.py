"""The file of a backup: whole after any crash, only its owner's, and never trusted blindly."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabochon.documents.json_patch import PatchOperation
from cabochon.documents.path import ROOT, DocumentPath
from cabochon.errors import StoreRejectedError
from cabochon.sync.backup.file import BackupFile, BackupState, UnusableBackupError, moved_aside
from cabochon.sync.backup.rows import end_of, key_of, path_from
from cabochon.sync.desired.journal import ChangeJournal
from cabochon.sync.desired.state import DesiredState
from cabochon.transactions.changes import Change, DeleteData, PatchData, SetData

SEGMENTS = st.sampled_from(["a", "b", "a0", "a/", "~", "", "ü", "\0", "\U0001f600"])
PATHS = st.lists(SEGMENTS, max_size=3).map(DocumentPath)
VALUES = st.sampled_from([b"null", b"1", b'{"x": {"y": 1.10}, "a": {}}', b'{"a": {"b": [1]}}', b'"text"'])
PATCHES = st.lists(
    st.builds(PatchOperation, st.sampled_from(["add", "replace"]), PATHS.filter(len), VALUES), min_size=1, max_size=2
)
CHANGES = st.one_of(
    st.builds(SetData, PATHS.filter(len), VALUES),
    st.builds(SetData, PATHS.filter(len), VALUES),
    st.builds(DeleteData, PATHS),
    st.builds(PatchData, PATHS.filter(len), PATCHES.map(tuple)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.lists(CHANGES, max_size=4)),
        st.tuples(st.just("refused"), st.lists(CHANGES, max_size=4)),
        st.tuples(st.just("policies"), st.lists(st.sampled_from(["p", "q", "r"]), unique=True)),
        st.tuples(st.just("fold"), st.just([])),
        st.tuples(st.just("save"), st.just([])),
        st.tuples(st.just("disk full"), st.just([])),
        st.tuples(st.just("restart"), st.just([])),
    ),
    max_size=30,
)


STATE = BackupState(store="MOCK", saved_at=1.0)


def contents(agent: _Agent) -> tuple[dict[DocumentPath, bytes | None], list[tuple[str, str]]]:
    desired = agent.desired
    documents = {path: desired.read(path) for path in desired.owned() if desired.read(path) is not None}
    return documents, list(agent.policies.items())


class _Agent:
    """A desired state, its journal and the file, as an agent has them."""

    def __init__(self, path: Path, *, facts: bool) -> None:
        self.facts = facts
        self.path = path
        self.start()

    def start(self) -> None:
        self.file = BackupFile.open(self.path)
        self.desired = DesiredState(owned_facts=self.facts)
        self.policies: dict[str, str] = {}
        try:
            loaded = self.file.load()
        except UnusableBackupError:
            self.file.close()
            raise
        if loaded is not None:
            for change in loaded.changes:
                self.desired.apply(change)
            self.desired.settle()
            self.policies = loaded.policies
        self.journal = self.desired.journal = ChangeJournal()

    def crash(self) -> None:
        self.file.close()

    def commit(self, changes: list[Change], *, refused: bool) -> None:
        for change in changes:
            with contextlib.suppress(StoreRejectedError):
                self.desired.apply(change)
        if refused:
            self.desired.rollback()
        else:
            self.desired.settle()

    def fold(self) -> None:
        for path in list(self.desired.owned()):
            document, value = self.desired.document(path), self.desired.read(path)
            if document is not None and value is not None:
                self.desired.replace_document(path, document, value)

    def save(self) -> None:
        self.file.save(STATE, self.journal.take(), self.policies)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(STEPS, st.booleans())
def test_backup_is_always_the_last_saved_state(steps: list[tuple[str, list[Any]]], facts: bool) -> None:  # noqa: FBT001 - hypothesis
    """
    Whatever is committed, refused, folded, saved, saved in vain or lost in a crash: what is loaded is what was saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        agent = _Agent(Path(folder) / "backup.db", facts=facts)
        saved = contents(agent)
        for number, (what, given_values) in enumerate(steps):
            if what in {"commit", "refused"}:
                agent.commit(given_values, refused=what == "refused")
            elif what == "policies":
                agent.policies = {name: f"package {name}{number % 2}" for name in given_values}
            elif what == "fold":
                agent.fold()
            elif what == "disk full":
                agent.journal.put_back(agent.journal.take())
            elif what == "save":
                agent.save()
                saved = contents(agent)
            else:
                agent.crash()
                agent.start()
                assert saved == contents(agent)
        agent.save()
        saved = contents(agent)
        agent.crash()
        agent.start()
        assert saved == contents(agent)
        agent.crash()


@given(st.lists(PATHS, max_size=8), PATHS)
def test_keys_hold_a_subtree_together(paths: list[DocumentPath], top: DocumentPath) -> None:
    """
    A path can be read back from its key, and what lies below a path is one range of keys.
    """
    assert paths == [path_from(key_of(path)) for path in paths]
    if top:
        key = key_of(top)
        assert [top.covers(path) for path in paths] == [key <= key_of(path) < end_of(key) for path in paths]
    assert b"" == key_of(ROOT)


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    """
    An update inside a large document costs its own size, not the document's.
    """
    agent = _Agent(tmp_path / "backup.db", facts=False)
    agent.commit([SetData(DocumentPath(["big"]), b'{"a": "' + b"x" * 1_000_000 + b'"}')], refused=False)
    agent.save()
    agent.commit([SetData(DocumentPath(["big", "n"]), b"0")], refused=False)
    agent.save()
    sizes: list[int] = []
    for number in range(20):
        agent.commit([SetData(DocumentPath(["big", "n"]), b"%d" % number)], refused=False)
        sizes.append(agent.file.save(STATE, agent.journal.take(), {}))

    assert max(sizes) <= 2
    agent.crash()
    agent.start()
    value = agent.desired.read(DocumentPath(["big", "n"]))
    agent.crash()
    assert b"19" == value


def test_file_is_its_owners_alone(tmp_path: Path) -> None:
    """
    It holds what people may do: nobody else reads it, whatever the umask and whatever it was before.
    """
    path = tmp_path / "made" / "for it" / "backup.db"
    old = os.umask(0)
    try:
        BackupFile.open(path).close()
        assert 0o600 == path.stat().st_mode & 0o777
        assert 0o700 == path.parent.stat().st_mode & 0o777
        path.chmod(0o644)
        BackupFile.open(path).close()
    finally:
        os.umask(old)

    assert 0o600 == path.stat().st_mode & 0o777


def test_two_agents_can_not_share_a_file(tmp_path: Path) -> None:
    """
    The second one is told so, and the first one goes on.
    """
    first = BackupFile.open(tmp_path / "backup.db")
    with pytest.raises(BlockingIOError, match="another process"):
        BackupFile.open(tmp_path / "backup.db")
    first.save(STATE, {}, {"p": "package p"})
    first.close()

    second = BackupFile.open(tmp_path / "backup.db")
    loaded = second.load()
    second.close()
    assert loaded is not None
    assert {"p": "package p"} == loaded.policies


def _opals_own(path: Path) -> None:
    path.write_text('{"data": {}, "policies": {}}' * 50)


def _other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def _newer_version(path: Path) -> None:
    BackupFile.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(_newer_version, "version 99", id="newer"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    """
    What is no backup is never written to; it can be moved aside, and a new one begun.
    """
    path = tmp_path / "backup.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UnusableBackupError, match=why):
        BackupFile.open(path)

    assert before == path.read_bytes()
    aside = moved_aside(path)
    assert before == aside.read_bytes()
    BackupFile.open(path).close()


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"theirs")
    target.chmod(0o644)
    path.symlink_to(target)


@pytest.mark.parametrize("make", [_opals_own, _other_program, _link], ids=["opal", "database", "link"])
def test_what_is_not_ours_is_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """
    Neither its place, its content nor its mode changes: somebody may need it.
    """
    path = tmp_path / "backup.db"
    make(path)
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(OSError, match=r"something else|link"):
        BackupFile.open(path)

    assert before == path.read_bytes()
    assert 0o644 == path.stat().st_mode & 0o777


def test_any_changed_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """
    A damaged file never brings another state than the one that was saved.
    """
    path = tmp_path / "backup.db"
    agent = _Agent(path, facts=False)
    agent.commit([SetData(DocumentPath(["users"]), b'{"bob": "admin"}' * 1)], refused=False)
    agent.commit([SetData(DocumentPath(["users", "eve"]), b'"guest"')], refused=False)
    agent.policies = {"p": "package p"}
    agent.save()
    saved = contents(agent)
    agent.crash()
    whole = path.read_bytes()
    chance = Random(1)  # noqa: S311 - the same each time
    noticed = 0
    for _ in range(400):
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
        try:
            agent.start()
        except UnusableBackupError:
            noticed += 1
            continue
        assert contents(agent) in (saved, ({}, []))
        agent.crash()
    assert noticed


WRITER = """
import sys
from pathlib import Path
from cabochon.sync.desired.state import DesiredState
from cabochon.documents.path import DocumentPath
from cabochon.sync.backup.file import BackupFile, BackupState
from cabochon.sync.desired.journal import ChangeJournal
from cabochon.transactions.changes import SetData

file = BackupFile.open(Path(sys.argv[1]))
loaded = file.load()
desired = DesiredState()
number = 0
if loaded is not None:
    for change in loaded.changes:
        desired.apply(change)
    desired.settle()
    number = int(desired.read(DocumentPath(["left", "number"])))
desired.journal = ChangeJournal()
print("ready", flush=True)
while True:
    number += 1
    body = b'{"number": %d, "fill": "%s"}' % (number, b"x" * (number * 7919 % 300_000))
    if number % 3:
        desired.apply(SetData(DocumentPath(["left", "number"]), b"%d" % number))
        desired.apply(SetData(DocumentPath(["right", "number"]), b"%d" % number))
    else:
        desired.apply(SetData(DocumentPath(["left"]), body))
        desired.apply(SetData(DocumentPath(["right"]), body))
    desired.settle()
    policy = {"p": f"package p{number}"}
    file.save(BackupState(store="MOCK", saved_at=0.0, policy_hash=str(number)), desired.journal.take(), policy)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_is_whole(tmp_path: Path) -> None:
    """
    A process killed with -9 again and again while it writes: what is there is one whole backup, the last one or the
    one that was being written.
    """
    path = tmp_path / "backup.db"
    chance = Random(4)  # noqa: S311 - the same each time
    for _ in range(60):
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "ready" == process.stdout.readline().strip()
        time.sleep(chance.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        last = [int(line) for line in process.stdout.read().split() if line.isdigit()]
        process.stdout.close()
        process.wait()

        agent = _Agent(path, facts=False)
        loaded = [agent.desired.read(DocumentPath([side, "number"])) for side in ("left", "right")]
        policies, file_state = dict(agent.policies), agent.file.load()
        agent.crash()
        assert file_state is not None or not last
        if file_state is None:
            continue
        number = int(file_state.state.policy_hash or 0)
        assert [b"%d" % number] * 2 == loaded
        assert {"p": f"package p{number}"} == policies
        assert not last or number in {last[-1], last[-1] + 1}
