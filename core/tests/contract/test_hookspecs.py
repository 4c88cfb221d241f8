"""The page of hooks teaches plugin writing: every hook is explained in one order, and every example works."""

import inspect
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest
from click.testing import CliRunner

from cabochon import (
    Callback,
    Changes,
    Connected,
    DocumentPath,
    FetchError,
    Plugins,
    SetData,
    SetPolicy,
    Write,
    load_settings,
)
from cabochon.contract import hookspecs
from cabochon.plugins.kinds import KINDS
from cabochon.transactions.commit_result import Applied, Refused

ROOT = Path(__file__).parents[3]
HOOKS = sorted(name for name in hookspecs.__all__ if name.startswith("cabochon_"))


def example(hook: str) -> Plugins:
    """Run the example of a hook's docstring as a plugin."""
    text = (inspect.getdoc(getattr(hookspecs, hook)) or "").partition("Example:\n")[2]
    code = textwrap.dedent("\n".join(line for line in text.splitlines() if line.startswith(" " * 8) or not line))
    module = ModuleType("example")
    exec(compile(code, f"<example of {hook}>", "exec"), vars(module))  # noqa: S102 - our own documentation
    plugins = Plugins.of(("example", module))
    assert [("loaded", "")] == [(plugin.state, plugin.reason) for plugin in plugins.installed]
    return plugins


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_explained_in_one_order(hook: str) -> None:
    """
    What it offers, when it is called and whose answer counts, what comes back, what an error does, an example.
    """
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""

    positions = [text.index(part) for part in ("Offer ", "\n\nCalled once ", "Every answer counts")]
    positions += [text.index(f"\n{part}:\n") for part in ("Returns", "Errors", "Example")]
    assert sorted(positions) == positions


def test_hooks_are_one_for_each_kind_and_each_has_its_own_test() -> None:
    """
    The contract, the discovery and these tests know the same nine.
    """
    assert HOOKS == sorted(kind.hook for kind in KINDS)
    assert all(f"test_hook_{hook}" in globals() for hook in HOOKS)


def test_hooks_take_no_arguments_and_return_their_registrations() -> None:
    """
    The types on the page are those that are checked.
    """
    for kind in KINDS:
        signature = inspect.signature(getattr(hookspecs, kind.hook))
        assert not signature.parameters
        assert f"Iterable[{kind.type.__name__}]" == signature.return_annotation


async def test_hook_cabochon_policy_stores() -> None:
    """
    The example's store commits what it can and refuses the rest.
    """
    offered = example("cabochon_policy_stores").choose_policy_store(None)
    set_data = Write("t1", (SetData(DocumentPath.parse("/a"), b"1"),))
    set_policy = Write("t2", (SetPolicy("a.rego", "package a"),))

    async with offered.registration.open(None) as store:
        await store.health()
        assert (Applied(),) == (await store.commit(Changes((set_data,)))).outcomes
        (outcome,) = (await store.commit(Changes((set_policy,)))).outcomes
    assert isinstance(outcome, Refused)


async def test_hook_cabochon_fetchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The example's fetcher fetches, and says what is missing.
    """
    monkeypatch.setenv("ACL_JSON", "{}")
    offered = example("cabochon_fetchers").fetcher_for(None, "env://ACL_JSON")

    async with offered.registration.open(None) as fetcher:
        assert b"{}" == await fetcher.fetch("env://ACL_JSON", {})
        with pytest.raises(FetchError, match="no such variable"):
            await fetcher.fetch("env://NOT_SET_HERE", {})


async def test_hook_cabochon_update_sources() -> None:
    """
    The example's source connects, announces its policy and gives it.
    """
    offered = example("cabochon_update_sources").choose_update_source(None)

    async with offered.registration.open(None) as source:
        events: Any = source.events()
        assert Connected() == await anext(events)
        await events.aclose()
        bundle = await source.policy_bundle(None, ())
        assert () == (await source.data_sources()).entries
    assert bundle is not None
    assert "package app\n\ndefault allow = false\n" == bundle.policy_modules[0].rego


async def test_hook_cabochon_transaction_listeners(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The example's listener hears of an end.
    """
    (offered,) = example("cabochon_transaction_listeners").transaction_listeners_for("any")
    anything: Any = "a record"

    async with offered.registration.open(None) as listener:
        await listener.ended(anything, anything)
    assert "a record\n" == capsys.readouterr().out


async def test_hook_cabochon_callback_reporters(tmp_path: Path) -> None:
    """
    The example's reporter delivers.
    """
    url = f"spool://{tmp_path}/reports"
    offered = example("cabochon_callback_reporters").callback_reporters["spool"]

    async with offered.registration.open(None) as reporter:
        await reporter.report(b"{}", Callback(url, {}))
    assert b"{}\n" == (tmp_path / "reports").read_bytes()


async def test_hook_cabochon_backbones(on_path: Callable[[Path], None]) -> None:
    """
    The example's log, whose class is in the folder that it names, can be opened; a test there tells what it does.
    """
    on_path(ROOT / "examples" / "plugin_memory_backbone")
    offered = example("cabochon_backbones").backbone_for("memory://")

    async with offered.registration.open(None, "memory://") as log:
        assert 0 == (await log.bounds()).head


async def test_hook_cabochon_services() -> None:
    """
    The example's service starts and stops.
    """
    offered = example("cabochon_services").services["refresher"]
    agent: Any = SimpleNamespace()

    with anyio.fail_after(5):
        async with offered.registration.open(None, agent):
            await anyio.lowlevel.checkpoint()


async def test_hook_cabochon_http_routes() -> None:
    """
    The example's application answers.
    """
    agent: Any = SimpleNamespace(metrics=SimpleNamespace(snapshot=lambda: {"fetches": 3}))
    unused: Any = None
    sent: list[Any] = []

    async def send(message: object) -> None:
        sent.append(message)

    await example("cabochon_http_routes").http_routes["counters"].registration.app(None, agent)({}, unused, send)

    assert 200 == sent[0]["status"]
    assert {"fetches": 3} == json.loads(sent[1]["body"])


def test_hook_cabochon_commands() -> None:
    """
    The example's command runs.
    """
    command = example("cabochon_commands").commands["hello"].registration.load()

    assert "Hello!\n" == CliRunner().invoke(command).output


def indented_after(marker: str) -> str:
    text = (hookspecs.__doc__ or "").partition(marker)[2]
    found = re.match(r"\n\n((?: {4}.*\n|\n)+)", text)
    assert found is not None
    return textwrap.dedent(found[1]).strip() + "\n"


@pytest.mark.slow
def test_plugin_of_two_files_can_be_installed_and_works(tmp_path: Path, on_path: Callable[[Path], None]) -> None:
    """
    What the page shows first, copied as it stands.
    """
    project, target = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    (project / "pyproject.toml").write_text(indented_after("`pyproject.toml`:"))
    (project / "cabochon_file_fetcher.py").write_text(indented_after("`cabochon_file_fetcher.py`:"))
    (tmp_path / "acl.json").write_text("[1]")

    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(project)], check=True)
    on_path(target)
    (installed,) = distributions(path=[str(target)])
    plugins = Plugins.load(found=installed.entry_points.select(group="cabochon"))

    offered = plugins.fetcher_for(None, f"file://{tmp_path}/acl.json")
    assert "file-fetcher (cabochon-file-fetcher 0.1.0)" == str(offered)

    async def fetched() -> bytes:
        async with offered.registration.open(None) as fetcher:
            return await fetcher.fetch(f"file://{tmp_path}/acl.json", {})

    assert b"[1]" == anyio.run(fetched)


def test_settings_example_of_the_page_works() -> None:
    """
    The model at the end of the page reads its variable.
    """
    module = ModuleType("example")
    code = indented_after("lists them with their meaning:")
    exec(compile(code, "<example of settings>", "exec"), vars(module))  # noqa: S102 - our own documentation

    assert "x" == load_settings(module.AcmeSettings, {"OPAL_ACME_TOKEN": "x"}).acme_token.get_secret_value()
