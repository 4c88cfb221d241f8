"""Sets of policies judged beforehand by the real `opa check`, as the engine would judge them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from cabochon.contract.powers import PolicyProblem
from cabochon.testing.own_time import own_time
from cabochon_opa.client import OpaClient
from cabochon_opa.policies.check import PolicyCheck, read_problems
from cabochon_opa.testing import RealOpa, free_port

V0 = "package a\n\nallow { input.x == 1 }"
V1 = "package a\n\nallow if input.x == 1"


@asynccontextmanager
async def checking(url: str, binary: Path | str) -> AsyncGenerator[PolicyCheck]:
    async with httpx.AsyncClient(base_url=url, timeout=5.0) as http:
        yield PolicyCheck(OpaClient(http, url), str(binary))


async def test_problems_have_ids_rows_and_columns(opa: RealOpa, opa_path: Path) -> None:
    """
    Under the ids of the repository, whatever they look like; a good set has none.
    """
    async with checking(opa.url, opa_path) as check:
        assert [] == await check.problems({"a.rego": V1, "../b.rego": "package b\n\nr := data.a.allow"})
        assert [] == await check.problems({})
        [problem] = await check.problems({"a.rego": V1, "../b c.rego": "package b\n\n\nr := data.a.f(1)"})
        [twice] = await check.problems(
            {"x/1.rego": "package d\ndefault a := 1", "x/2.rego": "package d\ndefault a := 1"}
        )

    assert PolicyProblem(
        id="../b c.rego", message="rego_type_error: undefined function data.a.f", row=4, column=6
    ) == problem  # fmt: skip
    assert "multiple default rules data.d.a found at x/1.rego:2, x/2.rego:2" in twice.message


@pytest.mark.parametrize("arguments", [(), ("--v0-compatible",)], ids=["v1", "v0"])
async def test_judges_by_the_engine_s_own_rego(opa_path: Path, arguments: tuple[str, ...]) -> None:
    """
    What the engine takes is never refused, whatever OPAL_OPA_V0_COMPAT says of an OPA that somebody else started.
    """
    taken, refused = (V0, V1) if arguments else (V1, V0)
    with RealOpa(opa_path, *arguments) as opa:
        async with checking(opa.url, opa_path) as check:
            assert [] == await check.problems({"a.rego": taken})
            assert ["a.rego"] == sorted({problem.id for problem in await check.problems({"a.rego": refused})})


async def test_restarted_engine_is_asked_again(opa: RealOpa, opa_path: Path) -> None:
    """
    It may be another version now, or take another Rego.
    """
    port = int(opa.url.rpartition(":")[2])
    async with checking(opa.url, opa_path) as check:
        assert [] == await check.problems({"a.rego": V1})
        opa.kill()
        with RealOpa(opa_path, "--v0-compatible", address=f"127.0.0.1:{port}"):
            assert [] == await check.problems({"a.rego": V0})


async def test_other_version_judges_nothing(opa: RealOpa, opa_path: Path, tmp_path: Path) -> None:
    """
    Nor does a binary that is none, or is not there.
    """
    other = tmp_path / "opa"
    other.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo \'Version: 0.1.0\'; else exec {opa_path} "$@"; fi\n')
    other.chmod(0o755)
    for binary in (other, "/bin/false", tmp_path / "missing"):
        async with checking(opa.url, binary) as check:
            assert [] == await check.problems({"a.rego": "no rego"})


async def test_engine_that_does_not_answer_is_no_error(opa_path: Path) -> None:
    """
    The write that follows says so.
    """
    async with checking(f"http://127.0.0.1:{free_port()}", opa_path) as check:
        assert [] == await check.problems({"a.rego": "no rego"})


def test_unknown_builtin_is_not_judged() -> None:
    """
    An engine with builtins of its own has the same version; `opa check` knows nothing of them.
    """
    own = b'{"errors":[{"message":"undefined function acme.sign","code":"rego_type_error","location":{"row":1}}]}'

    assert [] == read_problems(own, ["a.rego"])
    assert [] == read_problems(b"Error: unknown flag: --v0-compatible", ["a.rego"])
    assert 1 == len(read_problems(own.replace(b"acme", b"data.acme"), ["a.rego"]))


async def test_long_check_does_not_hold_up_the_loop(opa: RealOpa, opa_path: Path) -> None:
    """
    Everything else in the agent goes on while many modules are checked.
    """
    sources = {f"{n}.rego": f"package m{n}\n\nf(x) := data.m{n + 1}.f(x)\n" for n in range(1_500)}
    sources["1500.rego"] = "package m1500\n\nf(x) := x"
    longest_s = took_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            before = own_time()
            await anyio.sleep(0.005)
            longest_s = max(longest_s, own_time() - before)

    async with checking(opa.url, opa_path) as check, anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        began = own_time()
        assert [] == await check.problems(sources)
        took_s = own_time() - began
        tasks.cancel_scope.cancel()

    assert longest_s < took_s / 2
