"""Run the property tests in this process with one mutant in place of the production code.

Usage: worker.py NAME PYTEST-ARGUMENTS; an empty name changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from catalogue import MUTANTS, Mutant


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


def main(name: str, *arguments: str) -> int:
    """Return pytest's exit code."""
    for mutant in MUTANTS:
        if mutant.name == name:
            if mutant.module in sys.modules:
                raise SystemExit(f"{mutant.module} is loaded already")
            sys.meta_path.insert(0, _Finder(mutant))
    return pytest.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
