"""The types of the contract, as plugin authors meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SNIPPETS = [HERE / "accepted.py", HERE / "rejected.py"]


def test_snippets_check_as_they_are_marked() -> None:
    """
    What is right checks; what is wrong has an error where a comment ignores it, of just that rule, and no other. Both
    snippets ask pyright to report a comment that ignores nothing, so `make typecheck` holds the same.
    """
    pyright = str(Path(sys.executable).with_name("pyright"))
    done = subprocess.run([pyright, "--outputjson", *map(str, SNIPPETS)], capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)

    assert len(SNIPPETS) == said["summary"]["filesAnalyzed"]
    assert [] == [
        f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}"
        for one in said["generalDiagnostics"]
    ]


def test_snippets_ask_for_comments_that_ignore_nothing() -> None:
    """
    Without that a mistake that pyright no longer sees would stay unnoticed; nor may a comment ignore whatever comes.
    """
    for snippet in SNIPPETS:
        text = snippet.read_text("utf-8")

        assert text.startswith("# pyright: strict, reportUnnecessaryTypeIgnoreComment=true\n")
        assert text.count("# pyright: ignore") == text.count("# pyright: ignore[")
    assert "pyright: ignore" not in SNIPPETS[0].read_text("utf-8")
