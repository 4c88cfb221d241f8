"""A folder becomes a bundle: the same one for the same content."""

import shutil
from pathlib import Path

import pytest

from cabochon import SourceError, load_settings
from cabochon_local_source.policies import read_bundle
from cabochon_local_source.settings import LocalSourceSettings
from cabochon_local_source.source import open_local_source

FILES = {
    "app/rbac.rego": "# who may what\n\npackage app.rbac # roles\n\ndefault allow := false\n",
    "app/data.json": '{"roles": {"admin": ["*"]}}',
    "data.json": '{"top": 1}',
    "util.rego": "package util\n",
    ".git/config": "hidden",
    "app/.draft.rego": "package draft",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "policies" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "policies" / name).write_text(text)
    return tmp_path / "policies"


def settings(folder: Path) -> LocalSourceSettings:
    return load_settings(LocalSourceSettings, {"OPAL_LOCAL_POLICIES": str(folder)})


def test_bundle_has_policies_and_data(folder: Path) -> None:
    """Files are policies, `data.json` is data for its folder, what is hidden stays so."""
    bundle = read_bundle(folder)

    assert ("app/data.json", "app/rbac.rego", "data.json", "util.rego") == bundle.manifest
    assert {"app/rbac.rego": "app.rbac", "util.rego": "util"} == {
        module.path: module.package_name for module in bundle.policy_modules
    }
    assert {"app": FILES["app/data.json"], ".": FILES["data.json"]} == {
        module.path: module.data for module in bundle.data_modules
    }
    assert FILES["app/rbac.rego"] == bundle.policy_modules[0].rego
    assert bundle.old_hash is None


def test_hash_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    """It depends on nothing else: not on the folder's name, on times, on what is hidden."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / ".git" / "config").write_text("other")

    assert read_bundle(folder).hash == read_bundle(copy).hash


@pytest.mark.parametrize("change", ["text", "name", "moved text", "gone"])
def test_hash_changes_with_the_content(folder: Path, change: str) -> None:
    """Any change is another bundle, moving text from one file to the next too."""
    before = read_bundle(folder).hash
    match change:
        case "text":
            (folder / "util.rego").write_text("package util2\n")
        case "name":
            (folder / "util.rego").rename(folder / "utils.rego")
        case "moved text":
            (folder / "util.rego").write_text("package util")
            (folder / "utim.rego").write_text("\n")
        case _:
            (folder / "app/data.json").unlink()

    assert before != read_bundle(folder).hash


async def test_known_policies_are_not_sent_again(folder: Path) -> None:
    """Until something in the folder has changed."""
    async with open_local_source(settings(folder)) as source:
        first = await source.policy_bundle(None, ())
        assert first is not None
        assert await source.policy_bundle(first.hash, ()) is None

        (folder / "util.rego").write_text("package util\n\nx := 1\n")
        second = await source.policy_bundle(first.hash, ())

    assert second is not None
    assert first.hash != second.hash


async def test_file_that_is_no_text_is_an_error_to_try_again_after(folder: Path) -> None:
    """The message names the variable; once the file is mended, all is well."""
    async with open_local_source(settings(folder)) as source:
        (folder / "image.rego").write_bytes(b"\x89PNG\xff")
        with pytest.raises(SourceError, match="OPAL_LOCAL_POLICIES="):
            await source.policy_bundle(None, ())

        (folder / "image.rego").unlink()
        assert await source.policy_bundle(None, ()) is not None


async def test_folder_that_vanishes_is_an_empty_bundle_never_a_crash(folder: Path) -> None:
    """What is removed is removed from the engine, too."""
    async with open_local_source(settings(folder)) as source:
        shutil.rmtree(folder)
        bundle = await source.policy_bundle(None, ())

    assert bundle is not None
    assert () == bundle.manifest
