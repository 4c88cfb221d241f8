"""Archives into a real OPA, confirmed by its status."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from cabochon import StoreRejectedError, StoreUnavailableError
from cabochon_opa.bundle.shelf import BundleShelf
from cabochon_opa.client import RequestUnansweredError

from .bundle_rig import archive_of, bundle_rig, modules, until

_BUSY = 3
"""Other tests run beside this one."""


async def compile_time(opa_path: Path, folder: Path, policies: Mapping[str, str]) -> float:
    """How long `opa check` takes with these modules now."""
    for place, source in policies.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    started = anyio.current_time()
    await anyio.run_process([opa_path, "check", folder])
    return anyio.current_time() - started


BROKEN = {"rbac/broken.rego": "package rbac\n\nallow { input.x == }\n"}


@pytest.mark.parametrize(("count", "promise_s"), [(300, 0.3), (1_500, 1.0)])
async def test_many_modules_are_in_force_when_it_returns(
    opa_path: Path, tmp_path: Path, count: int, promise_s: float
) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        took: list[float] = []
        for level in range(3):
            started = anyio.current_time()
            await activation.activate(archive_of(modules(count, level)))
            took.append(anyio.current_time() - started)
            last = count - 1
            assert await rig.result(f"team{last}/app{last}/allow", level=level) is False
            assert await rig.result(f"team{last}/app{last}/allow", level=level + 1) is True
        if min(took) > _BUSY * promise_s:
            # A busy machine: OPA alone, with the same modules, shows how busy.
            compiling_s = await compile_time(opa_path, tmp_path / "modules", modules(count))
            assert min(took) <= _BUSY * max(promise_s, compiling_s), took


async def test_the_same_archive_is_not_published_again(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        await activation.activate(archive_of(modules(3)))
        asked = rig.shelf.asked
        with capture_logs() as logs:
            for _ in range(20):
                await activation.activate(archive_of(modules(3)))
        assert rig.shelf.asked <= asked + 1
        # OPA may report once more what it has; it is given nothing.
        assert "bundle.served" not in {line["event"] for line in logs}


async def test_a_module_that_does_not_compile_is_refused_in_opas_words(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        await activation.activate(archive_of(modules(3)))
        for attempt in range(3):
            with pytest.raises(StoreRejectedError, match=r"rbac/broken\.rego:3:20: rego_parse_error: ") as caught:
                await activation.activate(archive_of(modules(3, attempt + 1) | BROKEN))
            assert caught.value.path == "rbac/broken.rego"
            assert await rig.result("team1/app1/allow", level=1) is True
            assert rig.shelf.heard
        started = anyio.current_time()
        await activation.activate(archive_of(modules(3, 9)))
        assert anyio.current_time() - started < 3, "OPA's back-off after failures is short"
        assert await rig.result("team1/app1/allow", level=9) is False


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("package a\n\nallow := f(1)\n", r"x/y\.rego:3:10: rego_type_error: undefined function f"),
        ("package a\n\na := b\n\nb := a\n", r"x/y\.rego:3:1: rego_recursion_error: "),
        ("", "x/y"),
        ("nonsense", r"x/y\.rego:1:1: rego_parse_error: "),
    ],
)
async def test_each_kind_of_refusal_names_the_file(opa_path: Path, tmp_path: Path, source: str, expected: str) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        with pytest.raises(StoreRejectedError, match=expected):
            await rig.activation().activate(archive_of(modules(2) | {"x/y.rego": source}))
        assert await rig.policy_ids() == set()


async def test_after_a_refusal_a_restarted_opa_gets_the_last_good_archive(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        good = archive_of(modules(3))
        await activation.activate(good)
        with pytest.raises(StoreRejectedError):
            await activation.activate(archive_of(BROKEN))
        await rig.restart()
        activation.forget()
        await activation.activate(good)
        assert len(await rig.policy_ids()) == 3


async def test_a_refused_archive_is_not_fetched_over_and_over(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        # As it is when the agent gave up waiting, and nobody listens to what OPA says any more.
        rig.shelf.offer(archive_of(modules(300) | BROKEN), fallback=None)
        rig.shelf.no_report_wanted()
        await until(lambda: rig.shelf.refusal("") is not None)
        heard = rig.shelf.heard
        assert not await rig.shelf.next_report(heard, 1.5)


async def test_a_restarted_opa_confirms_anew(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        archive = archive_of(modules(3))
        await activation.activate(archive)
        await rig.restart()
        await activation.activate(archive)
        assert len(await rig.policy_ids()) == 3


async def test_an_opa_that_restarts_while_it_is_waited_for_confirms(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        activation = rig.activation()
        first = await rig.instance()
        async with anyio.create_task_group() as tasks:

            async def restart() -> None:
                await until(lambda: rig.shelf.taken)
                await rig.restart()

            tasks.start_soon(restart)
            await activation.activate(archive_of(modules(1_500, 5)))
        await activation.activate(archive_of(modules(1_500, 5)))
        assert await rig.instance() != first
        assert await rig.result("team1/app1/allow", level=5) is False


async def test_an_opa_that_starts_later_is_waited_for(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path, start=False) as rig:
        known = iter(["", ""])

        async def instance() -> str:
            return next(known, "") or (await rig.instance() if rig.opa.starts else "")

        activation = rig.activation()
        activation._instance = instance  # noqa: SLF001 - an OPA that is not there has no id  # pyright: ignore[reportPrivateUsage]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(activation.activate, archive_of(modules(3)))
            await rig.start()
        assert len(await rig.policy_ids()) == 3


async def test_an_agent_that_starts_later_finds_what_an_earlier_one_left(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:
        archive = archive_of(modules(3))
        await rig.activation().activate(archive)
        started = anyio.current_time()
        await rig.activation().activate(archive)
        assert anyio.current_time() - started < 2
        await rig.activation().activate(archive_of(modules(2)))
        assert len(await rig.policy_ids()) == 2


async def test_an_opa_that_does_not_ask_is_told_how_to(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path, configured=False) as rig:
        with pytest.raises(StoreUnavailableError, match=r"needs services, bundles and status, .*deliver-policies"):
            await rig.activation(silence_s=0.3).activate(archive_of(modules(1)))


async def test_an_opa_that_reports_nothing_is_told_what_is_missing(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path, status=False) as rig:
        with pytest.raises(RequestUnansweredError, match="reports no status"):
            await rig.activation(timeout_s=1.5).activate(archive_of(modules(1)))


async def test_another_opa_does_not_confirm(opa_path: Path, tmp_path: Path) -> None:
    async with bundle_rig(opa_path, tmp_path) as rig:

        async def instance() -> str:
            return "some other"

        activation = rig.activation(timeout_s=1.5)
        activation._instance = instance  # noqa: SLF001 - as if the store's URL led elsewhere  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(RequestUnansweredError, match="another OPA than the one at OPAL_POLICY_STORE_URL"):
            await activation.activate(archive_of(modules(1)))


@pytest.mark.parametrize(
    ("flag", "source"),
    [
        ("--v0-compatible", "package old\n\nallow { input.x == 1 }\n"),
        ("--v0-compatible", "package old\n\nimport rego.v1\n\nallow if input.x == 1\n"),
        ("--v1-compatible", "package old\n\nallow if input.x == 1\n"),
    ],
)
async def test_modules_are_v0_or_v1_as_opa_is_set(opa_path: Path, tmp_path: Path, flag: str, source: str) -> None:
    async with bundle_rig(opa_path, tmp_path, flag) as rig:
        await rig.activation().activate(archive_of({"old.rego": source}))
        assert await rig.result("old/allow", x=1) is True


async def test_odd_places_of_modules(opa_path: Path, tmp_path: Path) -> None:
    policies = {
        ".hidden/a.rego": "package p1",
        "b_test.rego": "package p2",
        "no_suffix": "package p3",
        "/".join(["directory"] * 30) + "/ä.rego": 'package p4["c-d"].x',
        "data.json.rego": "package p5",
        "with space/c.rego": "package p6",
    }
    async with bundle_rig(opa_path, tmp_path) as rig:
        await rig.activation().activate(archive_of(policies))
        assert len(await rig.policy_ids()) == len(policies)


async def test_a_shelf_with_nothing_on_it_lets_wait() -> None:
    shelf = BundleShelf()
    started = anyio.current_time()
    assert await shelf.wait_for_news([], 0.2) is None
    assert anyio.current_time() - started >= 0.2
