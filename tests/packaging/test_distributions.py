"""Each folder of the workspace is a distribution that stands on its own."""

import importlib
import importlib.metadata
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
FOLDERS = [ROOT / "core", *PLUGINS]

each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
each_plugin = pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


@each_folder
def test_distribution_reports_the_version_of_its_package(folder: Path) -> None:
    """The version is written once, in the package."""
    name: str = project(folder)["name"]
    package = importlib.import_module(name.replace("-", "_"))

    assert package.__version__ == importlib.metadata.version(name)


@each_folder
def test_distribution_ships_its_types(folder: Path) -> None:
    """A type checker reads the annotations of an installed distribution only beside a `py.typed`."""
    name: str = project(folder)["name"]

    assert (folder / "src" / name.replace("-", "_") / "py.typed").is_file()


@each_folder
def test_distribution_ships_the_licence_of_the_repository(folder: Path) -> None:
    """An installed distribution carries its licence."""
    assert (ROOT / "LICENSE").read_text() == (folder / "LICENSE").read_text()


@each_folder
def test_distribution_has_a_changelog_and_a_readme_under_its_name(folder: Path) -> None:
    """A reader who upgrades finds what changed."""
    name: str = project(folder)["name"]

    assert f"# Changelog of {name}" == (folder / "CHANGELOG.md").read_text().splitlines()[0]
    assert f"# {name}" == (folder / "README.md").read_text().splitlines()[0]


@each_plugin
def test_plugin_is_found_under_its_short_name(folder: Path) -> None:
    """The entry point's key is the folder's name with dashes, its value the module `plugin`."""
    name: str = project(folder)["name"]
    short_name = folder.name.replace("_", "-")
    (entry_point,) = importlib.metadata.distribution(name).entry_points.select(group="cabochon")

    assert f"cabochon-{short_name}" == name
    assert (short_name, f"cabochon_{folder.name}.plugin") == (entry_point.name, entry_point.value)
    assert importlib.util.find_spec(entry_point.value) is not None


@each_plugin
def test_plugin_depends_on_the_core_and_no_more_than_its_own_minor_version(folder: Path) -> None:
    """A plugin is never installed beside a core whose contract it does not know."""
    (core,) = (one for one in project(folder)["dependencies"] if re.match(r"cabochon\b(?!-)", one))

    assert re.fullmatch(r"cabochon(\[[a-z,]+\])?>=0\.1,<0\.2", core)


@each_plugin
def test_plugin_leaves_the_libraries_of_an_extra_to_the_core(folder: Path) -> None:
    """What `cabochon[http]` and `cabochon[web]` bring is named there, with its oldest version, and nowhere else."""
    extras = project(ROOT / "core")["optional-dependencies"]

    assert set() == {*extras["http"], *extras["web"]} & set(project(folder)["dependencies"])
