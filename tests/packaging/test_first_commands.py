"""The README's two commands in a fresh clone: the first thing that anybody sees of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What nobody should see at first sight: a traceback's head, a warning of Python's, pip's or pytest's.
TROUBLE = re.compile(r"Traceback|\bwarn(ing|ings|ed)?\b|No module named", re.IGNORECASE)

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900), pytest.mark.xdist_group("fresh-clone")]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as a clone has it: the files that git has or would take, nothing that was built."""
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make(clone: Path, *arguments: str) -> str:
    """What a make target says, on both streams; it has to succeed."""
    inherited = ("OPAL_", "PYTEST_", "PYTHON", "COV_", "MAKE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=environment | {"TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=800,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout


def test_readme_shows_these_two_commands() -> None:
    """
    The README opens with two commands, `make demo` and `make test`.
    """
    assert "$ make demo\n$ make test\n" in (ROOT / "README.md").read_text("utf-8")


def test_demo_in_a_fresh_clone_shows_no_trouble(clone: Path) -> None:
    """
    `make demo` sets up what it needs and shows the demo, without a traceback and without a warning.
    """
    said = make(clone, "demo", "ARGS=--plain")

    assert [] == [line for line in said.splitlines() if TROUBLE.search(line)]
    assert re.search(r"^All \d+ promises kept\.", said, re.MULTILINE)


def test_tests_in_a_fresh_clone_show_no_trouble(clone: Path) -> None:
    """
    `make test` sets up what it needs and runs tests, without a traceback and without a warning; here it runs a few of
    them in one process, so that it does not take the machine from the tests beside it, in `.ci/run` all.
    """
    said = make(clone, "test", "WORKERS=0", "ARGS=core/tests/documents/test_path.py")

    assert [] == [line for line in said.splitlines() if TROUBLE.search(line)]
    assert " passed" in said
