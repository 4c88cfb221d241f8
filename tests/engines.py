"""The real engines that tests run against: found, or built once and kept outside the checkout.

    python tests/engines.py              build what is missing; it is an error if that can't be
    python tests/engines.py --optional   the same before the tests, which skip without an engine: an error only in CI
    python tests/engines.py --folders    say where the engines are kept, as PATH has it

Which there are the plugins say: `ENGINE` in a plugin's module `testing` is a `GoEngine`. Of several processes that ask
at once, one builds and the others wait for it. The databases that backbones keep their log in are the system's: in CI
Debian's packages are installed where they are missing, elsewhere nothing is.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cabochon.testing.real_engine import GoEngine

__all__ = ["engines"]

_ROOT = Path(__file__).parents[1]
_USUAL_GO = Path("/usr/local/go/bin/go")


class MissingError(Exception):
    """An engine is not there and can't be built; the message says why in a line."""


def find_go() -> str | None:
    """Find Go: on PATH, or where its installer puts it."""
    return shutil.which("go") or (str(_USUAL_GO) if os.access(_USUAL_GO, os.X_OK) else None)


def engines() -> list[GoEngine]:
    """List the engines of the plugins that are installed, by the plugins' names: the demo does not install them all."""
    found: list[GoEngine] = []
    for file in sorted(_ROOT.glob("plugins/*/src/*/testing.py")):
        if find_spec(file.parent.name) is None:
            continue
        engine = getattr(import_module(f"{file.parent.name}.testing"), "ENGINE", None)
        if isinstance(engine, GoEngine):
            found.append(engine)
    return found


def provide(engine: GoEngine) -> str:
    """Make sure that the engine is there, and say so; "" if it was there before.

    Raises:
        MissingError: it is not, and it can't be built.
    """
    kept = engine.kept
    if kept.is_file():
        return ""
    called = f"{engine.name} {engine.version}"
    go = find_go()
    if go is None:
        found = shutil.which(engine.name)
        if found is None:
            raise MissingError(
                f"no {engine.name} on PATH, and no Go to build {called} with: install either, then `make engines`"
            )
        return f"no Go to build {called} with: taking {found}"
    with _locked(kept.parent.with_name(f"{kept.parent.name}.lock")):
        if kept.is_file():
            return ""
        print(f"building {called} with Go (once, some minutes) into {kept.parent}", flush=True)
        _build(go, engine)
    return f"{called} is there"


def _build(go: str, engine: GoEngine) -> None:
    target = engine.kept
    module = f"{engine.module}@v{engine.version}"
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".building-") as folder:
        environment = {**os.environ, "GOBIN": folder, "CGO_ENABLED": "0", "GOFLAGS": ""}
        command = [go, "install", module]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
            raise MissingError(f"`go install {module}` failed: {said}")
        target.parent.mkdir(exist_ok=True)
        (Path(folder) / engine.name).replace(target)


def provide_databases() -> str:
    """Make sure that there are Redis and PostgreSQL, and say so; "" if they were there before.

    Raises:
        MissingError: one is not there, and this is not for us to change.
    """
    there = {
        "redis-server": shutil.which("redis-server") is not None,
        "postgresql": shutil.which("initdb") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    }
    missing = [package for package, is_there in there.items() if not is_there]
    if not missing:
        return ""
    if not _in_ci() or os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingError(f"not installed: {' and '.join(missing)} (Debian's packages, or your system's)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
            raise MissingError(f"`apt-get {command[0]}` failed: {said}")
    return f"installed: {' and '.join(missing)}"


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


@contextmanager
def _locked(file: Path) -> Generator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the engines that tests run against.")
    parser.add_argument("--optional", action="store_true", help="without them tests skip: an error only in CI")
    parser.add_argument("--folders", action="store_true", help="only say where they are kept")
    given = parser.parse_args()
    if given.folders:
        print(os.pathsep.join(str(engine.kept.parent) for engine in engines()))
        return 0
    for engine in engines():
        try:
            said = provide(engine)
        except MissingError as err:
            needed = not given.optional or _in_ci()
            print(f"make: {err}" if needed else f"the tests of {engine.name} will skip: {err}", file=sys.stderr)
            if needed:
                return 1
        else:
            if said or not given.optional:
                print(said or f"{engine.name} {engine.version} is in {engine.kept.parent}")
    try:
        said = provide_databases()
    except MissingError as err:
        print(f"make: {err}" if _in_ci() else f"the tests of backbones will skip: {err}", file=sys.stderr)
        return 1 if _in_ci() else 0
    if said:
        print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
