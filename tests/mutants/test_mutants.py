"""The mutants themselves run with `make mutants`; here is what keeps them fit to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_mutant_fits_the_code() -> None:
    """The text that a mutant replaces is in the code exactly once."""
    run = Path(__file__).parent / "run.py"
    done = subprocess.run([sys.executable, str(run), "--fit"], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout)
