"""A reader who follows a page in a folder of their own: saves its files, runs its commands, compares what they show."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cabochon.testing.real_engine import free_port

from ..engines import engines  # noqa: TID252 - the tests' own script
from .pages import ROOT, Command, Snippet, commands

__all__ = ["Reader", "is_elsewhere", "is_run"]

_ELSEWHERE = frozenset({"cd", "curl", "docker", "git", "make", "pip", "source", "twine", "uv"})
_LOCAL_INSTALL = re.compile(r"^pip install (?P<what>\.(/[\w./-]+)?)$")

_AGENTS_PORT = "7000"
_PATIENCE_S = 30.0
_SAME = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "ID"),
    (re.compile(r"\b\d+\.\d{2,}"), "0.00"),
    (re.compile(r"\S*/(?=cabochon[\w-]*\.(py|sqlite)\b)"), ""),
    (re.compile(r"\s+"), " "),
]
"""What differs from run to run: times, ids, seconds, widths of columns."""


def is_elsewhere(command: Command) -> bool:
    """Whether a command is for the reader's own machine, where no test goes; what is at hand can be installed."""
    return command.program in _ELSEWHERE and _LOCAL_INSTALL.match(command.text) is None


def is_run(snippet: Snippet) -> bool:
    """Whether a test runs the snippet."""
    if snippet.says.keys() & {"file", "not run", "part of"}:
        return False
    if snippet.language == "console":
        return not any(map(is_elsewhere, commands(snippet)))
    return snippet.language == "python"


def _plain(line: str) -> str:
    for pattern, instead in _SAME:
        line = pattern.sub(instead, line)
    return line.strip()


def _pattern(expected: str) -> re.Pattern[str]:
    parts = [re.escape(_plain(part)) for part in expected.split("...")]
    return re.compile(r"\s*.*?\s*".join(parts))


def _shows(expected: Sequence[str], shown: Sequence[str], *, gaps: bool) -> str:
    """Say which expected line is not shown, "" if all are, in order; a line `...` stands for any lines."""
    at = 0
    skipping = gaps
    plain = [_plain(line) for line in shown if line.strip()]
    for line in (line for line in expected if line.strip()):
        if line.strip() == "...":
            skipping = True
            continue
        pattern = _pattern(line)
        places = [place for place in range(at, len(plain)) if pattern.fullmatch(plain[place])]
        if not places or (places[0] != at and not skipping):
            return line
        at = places[0] + 1
        skipping = gaps
    return "" if skipping or at == len(plain) else f"(more than the page shows: {plain[at]})"


@dataclass(slots=True)
class Reader:
    """Works through one page; entering and leaving it ends what goes on in the background."""

    folder: Path
    page: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    ports: dict[str, str] = field(default_factory=dict[str, str])
    _background: list[tuple[subprocess.Popen[bytes], Path]] = field(
        default_factory=list[tuple[subprocess.Popen[bytes], Path]]
    )
    _python: int = 0
    _scripts: list[str] = field(default_factory=list[str])

    def __enter__(self) -> Self:
        """Prepare a clean environment, and a free port for each that the page names."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "COV", "PYTEST"))}
        kept_engines = [str(engine.kept.parent) for engine in engines()]
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", ""), *kept_engines])
        self.environment = {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "PYTHONPATH": "."}
        self.environment["PYTEST_ADDOPTS"] = "-p no:randomly -p no:cacheprovider"
        self.environment.pop("COLUMNS", None)
        for port in sorted({_AGENTS_PORT, *re.findall(r"127\.0\.0\.1:(\d{4,5})", self.page.read_text("utf-8"))}):
            self.ports[port] = str(free_port())
        # A page need not name it for its agents to listen there, and pages are followed side by side.
        self.environment["OPAL_CLIENT_API_SERVER_PORT"] = self.ports[_AGENTS_PORT]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop what still runs, as Ctrl-C does."""
        for process, _output in reversed(self._background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process, _output in self._background:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if kind is None:
                    raise AssertionError(f"{process.args!r} did not end after Ctrl-C") from None

    def follow(self, snippet: Snippet) -> None:
        """Do what the snippet says.

        Raises:
            AssertionError: it does not go as the page shows.
        """
        if snippet.language != "python" or "file" in snippet.says:
            self._run_scripts(snippet)
        if "file" in snippet.says:
            file = self.folder / snippet.says["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._moved(snippet.text), "utf-8")
        elif "output in the background" in snippet.says:
            self._wait_for(snippet.text.splitlines(), snippet)
        elif not is_run(snippet):
            return
        elif snippet.language == "python":
            self._run_python(snippet)
        elif "in the background" in snippet.says:
            (command,) = commands(snippet)
            self._start(command, snippet)
        else:
            *rest, last = commands(snippet)
            for command in rest:
                self._run(command, snippet, 0)
            self._run(last, snippet, int(snippet.says.get("exits with", "0")))

    def finish(self, last: Snippet) -> None:
        """Do what is left to do."""
        self._run_scripts(last)

    # ------------------------------------------------------------------------------------------------------- how

    def _moved(self, text: str) -> str:
        for written, free in self.ports.items():
            text = re.sub(rf"\b{written}\b", free, text)
        return text

    def _seen(self, text: str) -> list[str]:
        for written, free in self.ports.items():
            text = text.replace(free, written)
        return text.splitlines()

    def _install(self, what: str) -> None:
        """Do what pip would, in no time: the module where Python finds it, and what its metadata say."""
        source = self.folder if what == "." else ROOT / what
        project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]
        module = f"{project['name'].replace('-', '_')}.py"
        installed = self.folder / ".installed"
        metadata = installed / f"{module.removesuffix('.py')}-{project['version']}.dist-info"
        metadata.mkdir(parents=True)
        shutil.copy(source / module, installed)
        name, version = project["name"], project["version"]
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
        points = [f"{key} = {value}" for key, value in project["entry-points"]["cabochon"].items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[cabochon]", *points, ""]), "utf-8")
        self.environment["PYTHONPATH"] = f".{os.pathsep}{installed}"

    def _run(self, command: Command, snippet: Snippet, status: int) -> None:
        # One shell for each command, so that each output is its own; what it exports, the next one finds.
        local = _LOCAL_INSTALL.match(command.text)
        if local is not None:
            self._install(local["what"])
            return
        script = f"{self._moved(command.text)}\nstatus=$?\nenv -0 > .environment\nexit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=_PATIENCE_S,
        )
        shown = self._seen(done.stdout)
        report = f"{snippet}: $ {command.text}\n" + "\n".join(shown)
        assert status == done.returncode, f"exit status {done.returncode} instead of {status}: {report}"
        left = (self.folder / ".environment").read_bytes().decode().split("\0")
        self.environment = dict(variable.split("=", 1) for variable in left if "=" in variable)
        if command.output:
            missing = _shows(command.output, shown, gaps=False)
            assert not missing, f"not shown: {missing}\n{report}"

    def _run_python(self, snippet: Snippet) -> None:
        self._python += 1
        is_test = re.search(r"^(async )?def test_", snippet.text, re.MULTILINE) is not None
        file = self.folder / f"{'test_' if is_test else ''}snippet_{self._python}.py"
        file.write_text(self._moved(snippet.text), "utf-8")
        if is_test:
            self._check([sys.executable, "-m", "pytest", "-q", file.name], snippet)
        else:
            self._scripts.append(file.name)

    def _run_scripts(self, snippet: Snippet) -> None:
        """Run the Python snippets since the last command in one process, each as a program of its own."""
        scripts, self._scripts = self._scripts, []
        if scripts:
            program = f"import runpy\nfor name in {scripts}: runpy.run_path(name, run_name='__main__')"
            self._check([sys.executable, "-c", program], snippet)

    def _check(self, command: list[str], snippet: Snippet) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == 0, f"{snippet} or before it\n{done.stdout}\n{done.stderr}"

    def _start(self, command: Command, snippet: Snippet) -> None:
        output = self.folder / f".background-{len(self._background)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._moved(command.text)}" if "=" not in command.text.split()[0]
                 else f"exec env {self._moved(command.text)}"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self._background.append((process, output))
        self._wait_for(command.output, snippet)

    def _wait_for(self, expected: Sequence[str], snippet: Snippet) -> None:
        process, output = self._background[-1]
        until = time.monotonic() + _PATIENCE_S
        while missing := _shows(expected, self._seen(output.read_text("utf-8")), gaps=True):
            assert time.monotonic() < until, f"{snippet}: not shown: {missing}\n{output.read_text('utf-8')}"
            assert process.poll() is None, f"{snippet}: has ended: {output.read_text('utf-8')}"
            time.sleep(0.05)
