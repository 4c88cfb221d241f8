"""Policies into one model: which files make it, and where a bad one is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cabochon_openfga.model.compiler import BadModelError, ModelCompiler
from cabochon_openfga.model.fga import FgaCli
from cabochon_openfga.model.files import NoModelChosenError, choose
from cabochon_openfga.model.normal_form import normal_form

from .rig import MODEL

MOD = "schema: '1.2'\ncontents:\n  - core.fga\n  - wiki/wiki.fga # the rest\n"
CORE = "module core\n\ntype user\n\ntype group\n  relations\n    define member: [user]\n"
WIKI = (
    "module wiki\n\nextend type group\n  relations\n    define can_edit: [user]\n\n"
    "type page\n  relations\n    define owner: [user]\n"
)
MODULAR = {"fga.mod": MOD, "core.fga": CORE, "wiki/wiki.fga": WIKI}
JSON = json.dumps({"schema_version": "1.1", "type_definitions": [{"type": "user"}]})


async def complaint(policies: dict[str, str], **options: str) -> str:
    with pytest.raises(BadModelError) as caught:
        await ModelCompiler(FgaCli(options.get("cli")), options.get("wanted")).compile(policies)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("policies", "kind", "main", "used"),
    [
        ({"a/model.fga": MODEL}, "fga", "a/model.fga", 1),
        ({"model.json": JSON}, "json", "model.json", 1),
        (MODULAR, "modular", "fga.mod", 3),
        ({f"auth/{name}": source for name, source in MODULAR.items()}, "modular", "auth/fga.mod", 3),
    ],
    ids=["fga", "json", "modular", "modular-in-folder"],
)
def test_model_is_found(policies: dict[str, str], kind: str, main: str, used: int) -> None:
    """The only one that there is."""
    files = choose(policies)

    assert (kind, main, used) == (files.kind, files.main, len(files.sources))


def test_one_of_several_is_chosen_by_its_name() -> None:
    """Without a choice all of them are named, and nothing is guessed."""
    policies = {"a.fga": MODEL, "b.fga": MODEL}
    with pytest.raises(NoModelChosenError) as caught:
        choose(policies)

    assert ["a.fga", "b.fga"] == [problem.id for problem in caught.value.problems]
    assert "OPAL_OPENFGA_MODEL" in str(caught.value)
    assert "b.fga" == choose(policies, "b.fga").main
    with pytest.raises(NoModelChosenError, match=r"c\.fga, which is none"):
        choose(policies, "c.fga")


@pytest.mark.parametrize(
    ("policies", "name", "reason"),
    [
        ({**MODULAR, "lost.fga": "module lost\n"}, "lost.fga", "a module that no fga.mod names"),
        ({"core.fga": CORE}, "core.fga", "a module that no fga.mod names"),
        ({"model.fga": MODEL, "app.rego": "package app"}, "app.rego", "no model: it should be"),
    ],
    ids=["module-of-none", "only-module", "rego"],
)
def test_file_without_effect_is_refused(policies: dict[str, str], name: str, reason: str) -> None:
    """Nobody would notice that it does nothing."""
    with pytest.raises(NoModelChosenError) as caught:
        choose(policies)

    assert [name] == [problem.id for problem in caught.value.problems]
    assert reason in str(caught.value)


# ------------------------------------------------------------------------------------------------------ good and bad


@pytest.mark.parametrize("policies", [{"model.fga": MODEL}, MODULAR, {"model.json": JSON}], ids=["fga", "mod", "json"])
async def test_model_is_compiled(policies: dict[str, str]) -> None:
    """Into what OpenFGA takes."""
    model = await ModelCompiler(FgaCli()).compile(policies)

    assert {"schema_version", "type_definitions"} <= model.keys()


@pytest.mark.parametrize(
    ("policies", "where", "reason"),
    [
        ({"m.fga": MODEL.replace("define owner: [user]", "define owner [user]", 1)}, "m.fga:13: ", "missing ':'"),
        ({"m.fga": MODEL.replace("[user]", "[usr]", 1)}, "m.fga:13: ", "'usr' on 'owner'"),
        ({"m.fga": MODEL.replace("or viewer from parent", "or viewer from home", 1)}, "m.fga:14: ", "'folder#home'"),
        ({"m.fga": MODEL.replace("user with in_hours", "user with hours")}, "m.fga:20: ", "condition hours"),
        ({**MODULAR, "wiki/wiki.fga": WIKI.replace("can_edit:", "can_edit")}, "wiki/wiki.fga:5: ", "missing ':'"),
        ({**MODULAR, "wiki/wiki.fga": WIKI.replace("owner: [user]", "owner: [nobody]")}, "wiki/wiki.fga:9: ", "nobody"),
        ({name: MODULAR[name] for name in ("fga.mod", "core.fga")}, "fga.mod: ", "wiki.fga"),
        ({"m.json": '{\n"a": x}'}, "m.json:2: ", "malformed"),
        ({"m.json": "{"}, "m.json: ", "truncated"),
        ({"m.json": '{"type_definitions": []}'}, "m.json: ", "schema_version"),
        ({"m.json": JSON.replace("1.1", "9.9")}, "m.json: ", "schema"),
    ],
)
async def test_bad_model_is_named_by_file_and_line(policies: dict[str, str], where: str, reason: str) -> None:
    """Whatever kind of mistake it is, and in whichever module."""
    said = await complaint(policies)

    assert said.startswith(where)
    assert reason in said
    assert "\n" not in said


async def test_too_large_a_model_is_refused() -> None:
    """OpenFGA has a limit, and says so less clearly."""
    types = [{"type": f"type{number}", "metadata": {"module": "m" * 300}} for number in range(1000)]

    assert "OpenFGA takes 262,144" in await complaint(
        {"m.json": json.dumps({"schema_version": "1.1", "type_definitions": types})}, cli="/nowhere/fga"
    )


async def test_without_the_executable_only_json_is_a_model(tmp_path: Path) -> None:
    """And the message says where to get it."""
    cli = str(tmp_path / "fga")

    assert "cabochon-openfga[dsl]" in await complaint({"model.fga": MODEL}, cli=cli)
    assert (await ModelCompiler(FgaCli(cli)).compile({"model.json": JSON}))["schema_version"] == "1.1"


def test_path_that_leads_out_of_the_folder_is_not_written() -> None:
    """A module of another folder is missing, whatever it is called."""
    files = choose({"a/fga.mod": "schema: '1.2'\ncontents:\n  - ../../b.fga\n"})

    assert ["a/fga.mod"] == list(files.sources)


# ------------------------------------------------------------------------------------------------------- normal form


def test_normal_form_leaves_out_what_is_not_said() -> None:
    """OpenFGA writes empty members that the language does not, and gives an id."""
    written: dict[str, Any] = {
        "schema_version": "1.1",
        "type_definitions": [{"type": "b"}, {"type": "a", "relations": {"r": {"this": {}}}}],
    }
    read: dict[str, Any] = {
        "id": "01",
        "schema_version": "1.1",
        "type_definitions": [
            {"type": "a", "relations": {"r": {"this": {}}}, "metadata": None},
            {"type": "b", "relations": {}, "metadata": {"module": "", "source_info": None}},
        ],
        "conditions": {},
    }

    assert normal_form(written) == normal_form(read)


def test_normal_form_keeps_what_is() -> None:
    """An empty object may be all that a relation says."""
    model: dict[str, Any] = {"type_definitions": [{"type": "a", "relations": {"r": {"this": {}}}}]}

    without: dict[str, Any] = {"type_definitions": [{"type": "a", "relations": {"r": {}}}]}
    assert normal_form(model) != normal_form(without)
    assert normal_form(model) == model
