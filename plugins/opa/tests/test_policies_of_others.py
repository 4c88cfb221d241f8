"""What becomes of policies in OPA that this agent did not write, when a whole set comes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from cabochon.errors import StoreRejectedError
from cabochon.settings.core import load_settings
from cabochon.transactions.changes import Changes, ReplacePolicies, SetPolicy, Write
from cabochon_opa.client import RequestUnansweredError
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.policies.paths_to_ignore import PathsToIgnore
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.settings import OpaStoreSettings
from cabochon_opa.testing import RealOpa

from .rest_rig import LIB, USE, Wire, connected, held, listed, put, replace

GHOST = "package old\n\nallow := true\n"


def removed(logs: Sequence[Mapping[str, object]]) -> list[object]:
    """The policies of others that were removed, for each event that says so."""
    return [line["policies"] for line in logs if line["event"] == "policies.of_others_removed"]


async def commit(opa: RealOpa, policies: Mapping[str, str], **environ: str) -> None:
    """Let a new agent with these variables write its first complete bundle."""
    settings = load_settings(OpaStoreSettings, {"OPAL_POLICY_STORE_URL": opa.url, **environ})
    async with open_opa_store(settings) as store:
        result = await store.commit(Changes((Write("first", (ReplacePolicies(policies),)),)))
    assert result.landed, result


async def test_ghosts_of_an_opal_client_go_with_the_first_whole_set(opa: RealOpa) -> None:
    """
    And its healthcheck policy stays, to be replaced by ours; what was removed is said once.
    """
    put(opa, "old.rego", GHOST)
    put(opa, "lib.rego", "package lib\n\nf(x) := x")
    put(opa, "engine/healthcheck/opal.rego", "package system.opal\n\nready := true")
    with capture_logs() as logs:
        await commit(opa, {"lib.rego": LIB, "use.rego": USE})
        await commit(opa, {"lib.rego": LIB, "use.rego": USE})

    assert {"lib.rego", "use.rego", "engine/healthcheck/opal.rego"} == set(held(opa))
    assert LIB == held(opa)["lib.rego"]
    assert ["lib.rego", "use.rego"] == listed(opa)
    assert [["old.rego"]] == removed(logs)


async def test_policies_of_listeners_stay(opa: RealOpa) -> None:
    """
    Whatever they are called: they come with a commit of data, and are in no set.
    """
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await delivery.put_one("listener.rego", "package listener")
        await replace(delivery, {"lib.rego": LIB})
        assert {"listener.rego", "lib.rego"} == set(held(opa))
        later = RestDelivery(client)
        await replace(later, {"lib.rego": LIB})
        await later.put_one("listener.rego", "package listener")

    assert {"listener.rego", "lib.rego"} == set(held(opa))


async def test_whole_set_of_nothing_removes_all_the_same(opa: RealOpa) -> None:
    put(opa, "old.rego", GHOST)
    await commit(opa, {})

    assert {} == held(opa)


async def test_setting_keeps_what_others_have_loaded(opa: RealOpa) -> None:
    """
    And OPA is not asked for all of its policies then.
    """
    put(opa, "old.rego", GHOST)
    await commit(opa, {"lib.rego": LIB}, OPAL_OPA_KEEP_POLICIES_OF_OTHERS="true")
    wire = Wire()
    async with connected(opa, wire) as client:
        await replace(RestDelivery(client, keep_others=True), {"use.rego": USE, "lib.rego": LIB})

    assert {"old.rego", "lib.rego", "use.rego"} == set(held(opa))
    assert "GET /v1/policies" not in wire.requests


async def test_ignored_policies_stay(opa: RealOpa) -> None:
    """
    All but those that an exception gives back.
    """
    put(opa, "theirs/a.rego", GHOST)
    put(opa, "theirs/ours.rego", "package ours")
    await commit(opa, {"lib.rego": LIB}, OPAL_POLICY_STORE_POLICY_PATHS_TO_IGNORE="theirs/**,!theirs/ours.rego")

    assert {"theirs/a.rego", "lib.rego"} == set(held(opa))


@pytest.mark.parametrize(
    ("package", "stays"),
    [
        ("system", True),
        ("system.authz", True),
        ('system["log"].mask', True),
        ("systems", False),
        ("data_system", False),
        ('a["system"]', False),
    ],
)
async def test_policies_for_opa_itself_stay(opa: RealOpa, package: str, *, stays: bool) -> None:
    """
    `system.authz` decides who may ask OPA at all: no name of a file is looked at, only the package as OPA reads it.
    """
    put(opa, "other.rego", f"# package of others\npackage {package}\n\ndefault allow := true")
    await commit(opa, {"lib.rego": LIB})

    assert stays == ("other.rego" in held(opa))


@pytest.mark.parametrize(
    ("manifest", "ours"),
    [({"roots": ["theirs/one"]}, {"lib.rego": LIB}), ({}, {})],
    ids=["with roots", "owner of everything"],
)
async def test_bundle_that_opa_itself_has_loaded_stays(
    opa_path: Path, tmp_path: Path, manifest: Mapping[str, object], ours: Mapping[str, str]
) -> None:
    """
    OPA refuses to delete at, above and below a root of a bundle, and a bundle that names no roots owns everything.
    """
    folder = bundle_folder(tmp_path, manifest)
    with RealOpa(opa_path, "--bundle", str(folder)) as opa:
        (bundled,) = held(opa)
        if manifest:
            put(opa, "old.rego", GHOST)
        await commit(opa, ours)

        assert {bundled, *ours} == set(held(opa))


async def test_policy_above_a_root_of_opa_s_own_bundle_stays(opa_path: Path, tmp_path: Path) -> None:
    """
    It was there before the bundle, which erases only what is below its roots.
    """
    config, above = tmp_path / "opa.json", tmp_path / "above.rego"
    folder = bundle_folder(tmp_path, {"roots": ["theirs/one"]})
    config.write_text(json.dumps({"bundles": {"own": {"resource": f"file://{folder}"}}}))
    above.write_text("package theirs\n\ny := 1\n")
    with RealOpa(opa_path, f"--config-file={config}", str(above)) as opa:
        with anyio.fail_after(30):
            async with httpx.AsyncClient(base_url=opa.url) as http:
                while not (await http.get("/health?bundles")).is_success:  # noqa: ASYNC110 - OPA has no event for it
                    await anyio.sleep(0.02)
        before = set(held(opa))
        await commit(opa, {"lib.rego": LIB})

        assert len(before) == 2
        assert {*before, "lib.rego"} == set(held(opa))


def bundle_folder(tmp_path: Path, manifest: Mapping[str, object]) -> Path:
    """A bundle of one policy, as OPA loads it."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "one.rego").write_text("package theirs.one\n\nx := 1\n")
    (folder / ".manifest").write_text(json.dumps(manifest))
    return folder


async def test_policies_of_the_command_line_go(opa_path: Path, tmp_path: Path) -> None:
    """
    Under the names of their files, and those of inline OPA with them: OPAL removes them too.
    """
    file = tmp_path / "on the line.rego"
    file.write_text(GHOST)
    with RealOpa(opa_path, str(file)) as opa:
        assert len(held(opa)) == 1
        await commit(opa, {"lib.rego": LIB})

        assert {"lib.rego"} == set(held(opa))


async def test_policy_that_is_in_the_way_keeps_no_set_out(opa: RealOpa) -> None:
    """
    OPA refuses a second default rule of that name, and a library without a function that others call.
    """
    put(opa, "lib.rego", LIB)
    put(opa, "old/use.rego", USE)
    put(opa, "old/app.rego", "package app\n\ndefault allow := true")
    wanted = {"app.rego": "package app\n\ndefault allow := false", "lib.rego": "package lib\n\ng(x) := x"}
    await commit(opa, wanted)

    assert wanted == held(opa)


async def test_refused_set_puts_all_back(opa: RealOpa) -> None:
    """
    Ours and others', also what has moved to where others had something; the next set removes them.
    """
    others = {"old/lib.rego": LIB.replace("lib", "theirs"), "old/use.rego": USE.replace("lib", "theirs")}
    async with connected(opa) as client:
        delivery = RestDelivery(client)
        await replace(delivery, {"lib.rego": LIB})
        for policy_id, source in others.items():
            put(opa, policy_id, source)
        before = held(opa)
        bad = {"old/use.rego": "package use", "b.rego": "package b\n\nr := data.theirs.f(1)"}
        with capture_logs() as logs, pytest.raises(StoreRejectedError, match=r"undefined function data\.theirs\.f"):
            await replace(delivery, bad)
        assert before == held(opa)
        assert ["lib.rego"] == listed(opa)
        assert [] == removed(logs)

        # From here on these are others' again: what they do to them is neither undone nor lost sight of.
        put(opa, "old/use.rego", "package changed")
        with pytest.raises(StoreRejectedError, match="rego_parse_error"):
            await delivery.write([SetPolicy("bad.rego", "no rego")])
        with pytest.raises(StoreRejectedError):
            await replace(delivery, bad)
        assert {**before, "old/use.rego": "package changed"} == held(opa)
        await replace(delivery, {"use.rego": USE, "lib.rego": LIB})

    assert {"use.rego", "lib.rego"} == set(held(opa))


async def test_policy_that_stays_and_needs_one_that_goes(opa: RealOpa) -> None:
    """
    OPA's words name both, the set is refused, and to ignore the one that is needed is the way out.
    """
    put(opa, "theirs/lib.rego", LIB)
    put(opa, "authz.rego", "package system.authz\n\ndefault allow := false\n\nallow if data.lib.f(1) == 2")
    async with connected(opa) as client:
        with pytest.raises(StoreRejectedError, match=r"theirs/lib\.rego: authz\.rego:5:\d+: .*data\.lib\.f"):
            await replace(RestDelivery(client), {"mine.rego": "package mine"})
        assert {"theirs/lib.rego", "authz.rego"} == set(held(opa))
        await replace(RestDelivery(client, ignored=PathsToIgnore(["theirs/**"])), {"mine.rego": "package mine"})

    assert {"theirs/lib.rego", "authz.rego", "mine.rego"} == set(held(opa))


@pytest.mark.parametrize("line", ["DELETE /v1/policies/old.rego", "PUT /v1/data/system/cabochon/policies"])
async def test_lost_answer_leaves_no_ghost(opa: RealOpa, line: str) -> None:
    """
    Neither with the next whole set, nor through a refusal after that; it is said to be removed when it surely is.
    """
    wire = Wire()
    wanted = {"lib.rego": LIB}
    put(opa, "old.rego", GHOST)
    async with connected(opa, wire) as client:
        delivery = RestDelivery(client)
        wire.lose = [line]
        with capture_logs() as logs:
            with pytest.raises(RequestUnansweredError):
                await replace(delivery, wanted)
            await replace(delivery, wanted)
        with pytest.raises(StoreRejectedError):
            await delivery.write([SetPolicy("bad.rego", "no rego")])

    assert wanted == held(opa)
    assert [["old.rego"]] == removed(logs)


async def test_opa_is_asked_for_all_its_policies_once(opa: RealOpa) -> None:
    """
    That answer has syntax trees in it; for it, the sources are asked for no more one by one.
    """
    policies = {f"p{number}.rego": f"package p{number}" for number in range(5)}
    wire = Wire()
    async with connected(opa, wire) as client:
        await replace(RestDelivery(client), policies)
        wire.requests.clear()
        delivery = RestDelivery(client)
        await replace(delivery, policies)
        assert ["GET /v1/data/system/cabochon/policies", "GET /v1/policies"] == wire.requests
        wire.requests.clear()
        await delivery.write([SetPolicy("p0.rego", "package p0 # 2")])
        assert ["PUT /v1/policies/p0.rego"] == wire.requests
