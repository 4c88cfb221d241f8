"""A reader who follows a page in a folder of their own: saves its files, runs its commands, compares what they show."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .pages import ROOT, Command, Snippet, commands

__all__ = ["Reader", "is_elsewhere", "is_run"]

_ELSEWHERE = frozenset({"cd", "curl", "docker", "git", "make", "pip", "source", "twine", "uv"})
_LOCAL_INSTALL = re.compile(r"^pip install (?P<what>\.(/[\w./-]+)?)$")

_PATIENCE_S = 30.0
_SAME = [
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "ID"),
    (re.compile(r"\b\d+\.\d{2,}\b"), "0.00"),
    (re.compile(r"\S*/(?=cabochon[\w-]*\.(py|sqlite)\b)"), ""),
    (re.compile(r"\s+"), " "),
]
"""What differs from run to run: times, ids, seconds, widths of columns."""


def is_elsewhere(command: Command) -> bool:
    """Whether a command is for the reader's own machine, where no test goes; what is at hand can be installed."""
    return command.program in _ELSEWHERE and _LOCAL_INSTALL.match(command.text) is None


def is_run(snippet: Snippet) -> bool:
    """Whether a test runs the snippet."""
    if "not run" in snippet.says or "file" in snippet.says:
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

    def __enter__(self) -> Self:
        """Prepare a clean environment, and a free port for each that the page names."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPAL_", "COV", "PYTEST"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        self.environment = {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "PYTHONPATH": "."}
        self.environment.pop("COLUMNS", None)
        for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d{4,5})", self.page.read_text("utf-8")))):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.ports[port] = str(free.getsockname()[1])
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

    # ------------------------------------------------------------------------------------------------------- how

    def _moved(self, text: str) -> str:
        for written, free in self.ports.items():
            text = re.sub(rf"\b{written}\b", free, text)
        return text

    def _seen(self, text: str) -> list[str]:
        for written, free in self.ports.items():
            text = text.replace(free, written)
        return text.splitlines()

    def _install(self, what: str) -> str:
        source = self.folder if what == "." else self.folder / "source"
        if what != ".":
            shutil.copytree(ROOT / what, source)
        self.environment["PYTHONPATH"] = f".{os.pathsep}{self.folder / '.installed'}"
        offline = "-q --no-index --no-build-isolation --no-deps --disable-pip-version-check"
        return f"python -m pip install {offline} --target .installed {source}"

    def _run(self, command: Command, snippet: Snippet, status: int) -> None:
        # One shell for each command, so that each output is its own; what it exports, the next one finds.
        local = _LOCAL_INSTALL.match(command.text)
        text = self._moved(command.text) if local is None else self._install(local["what"])
        script = f"{text}\nstatus=$?\nenv -0 > .environment\nexit $status"
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
        pytest = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, *(pytest if is_test else []), file.name],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == 0, f"{snippet}\n{done.stdout}\n{done.stderr}"

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
