"""The example does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cabochon_openfga.testing import ENGINE


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_company_is_guarded_by_openfga() -> None:
    """
    Model from git, tuples from an HTTP service, live updates: the script checks each answer, before and after.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), str(ENGINE.or_skip().parent), os.environ["PATH"]])
    script = Path(__file__).with_name("company.py")
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert "documents.fga:12: syntax error: missing ':'" in done.stdout
    assert "all is well again" in done.stdout
