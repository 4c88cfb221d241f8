"""Break the code on purpose and see that the property tests notice: `make mutants`.

Every mutant of the catalogue must make at least one property fail; the unchanged code must make none. Arguments pick
mutants by a part of their name; `--fit` only sees whether all of them fit the code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from catalogue import MUTANTS, Mutant

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROPERTIES = ROOT / "tests" / "properties"
SIDE_BY_SIDE = 2
# By the clock, and only for what waits or never ends: `worker.py` sees to what computes.
WAITS_AT_MOST_S = 300
AT_MOST_S = 1_800

PASSED, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """`killed_by` is the first test that failed, "" if none did; `trouble` is why there is no verdict."""

    name: str
    killed_by: str
    seconds: float
    trouble: str = ""


def misfits() -> list[str]:
    """Name the mutants whose text is not in the code exactly once."""
    return [mutant.name for mutant in MUTANTS if _text(mutant.module).count(mutant.old) != 1]


def _text(module: str) -> str:
    package, _, name = module.partition(".")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: run make venv")
    return Path(spec.submodule_search_locations[0], f"{name.replace('.', '/')}.py").read_text()


def judge(mutant: Mutant | None) -> Verdict:
    """Run the tests that should notice, then all of them, until one fails."""
    name = "" if mutant is None else mutant.name
    began = time.monotonic()
    for chosen in [] if mutant is None else [" or ".join(mutant.tests)]:
        code, output = _run(name, "-k", chosen)
        if code != PASSED:
            return _verdict(name, code, output, began)
    code, output = _run(name)
    return _verdict(name, code, output, began)


def _run(name: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, str(HERE / "worker.py"), name, str(PROPERTIES), *arguments]
    command += ["-x", "-q", "--tb=no", "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "ignore"]
    command += [f"--timeout={WAITS_AT_MOST_S}"]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutants"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=AT_MOST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED, "FAILED ::(never ends)"
    return done.returncode, done.stdout + done.stderr


def _verdict(name: str, code: int, output: str, began: float) -> Verdict:
    seconds = time.monotonic() - began
    found = re.search(r"^FAILED [^:]*::(\w+|\(never ends\))", output, re.MULTILINE)
    if code == PASSED or (code == FAILED and found is not None):
        return Verdict(name, "" if found is None else found[1], seconds)
    if "Timeout" in output:
        return Verdict(name, "(a test never ends)", seconds)
    return Verdict(name, "", seconds, output.strip()[-2_000:])


def main(wanted: list[str]) -> int:
    """Print the table; 1 if a mutant survives."""
    if outdated := misfits():
        print("these mutants do not fit the code any more:", *outdated, sep="\n  ")
        return 1
    if wanted == ["--fit"]:
        return 0
    chosen = [mutant for mutant in MUTANTS if not wanted or any(part in mutant.name for part in wanted)]
    began = time.monotonic()
    width = max(len(mutant.name) for mutant in MUTANTS)
    bad = 0
    with ThreadPoolExecutor(SIDE_BY_SIDE) as workers:
        for verdict in workers.map(judge, [None, *chosen]):
            says = verdict.killed_by or "(no test fails)"
            print(f"{verdict.name or '(unchanged code)':{width}}  {verdict.seconds:5.1f} s  {says}", flush=True)
            if verdict.trouble:
                print(verdict.trouble)
            bad += bool(verdict.trouble) or bool(verdict.killed_by) != bool(verdict.name)
    print(f"{len(chosen)} mutants in {time.monotonic() - began:.0f} s; {bad} not as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
