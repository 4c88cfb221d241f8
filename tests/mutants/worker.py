"""Run the property tests in this process with one mutant in place of the production code.

Usage: worker.py NAME PYTEST-ARGUMENTS; an empty name changes nothing.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from catalogue import MUTANTS, Mutant

_COMPUTES_AT_MOST_S = 90
"""The longest test takes half of that. Again and again: hypothesis plays once more what failed."""


class _Loader(SourceFileLoader):
    """Loads the mutated text, past the cache of compiled files."""

    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.get_filename(fullname)).read_text()
        if text.count(self._mutant.old) != 1:
            raise SystemExit(f"mutant {self._mutant.name!r} does not fit {fullname} any more")
        return compile(text.replace(self._mutant.old, self._mutant.new), self.get_filename(fullname), "exec")


class _Finder(MetaPathFinder):
    """Finds the mutated module where the real one is."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(self._mutant, spec.origin)
        return spec


class _Deadline:
    """Fails a test that computes for too long, in processor time: beside others on the machine a clock says nothing."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        signal.setitimer(signal.ITIMER_PROF, _COMPUTES_AT_MOST_S, _COMPUTES_AT_MOST_S)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(*_: object) -> None:
    pytest.fail(f"Timeout: {_COMPUTES_AT_MOST_S} s of processor time")


def main(name: str, *arguments: str) -> int:
    """Return pytest's exit code."""
    for mutant in MUTANTS:
        if mutant.name == name:
            if mutant.module in sys.modules:
                raise SystemExit(f"{mutant.module} is loaded already")
            sys.meta_path.insert(0, _Finder(mutant))
    signal.signal(signal.SIGPROF, _too_long)
    return pytest.main(list(arguments), plugins=[_Deadline()])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
