"""The demo's company: made by the script in the repository, whole in itself."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cabochon_demo.company import COLLECTIONS, Company, read_company

SCRIPT = Path(__file__).parents[1] / "make_company.py"


@pytest.fixture(scope="module")
def company() -> Company:
    return read_company()


def test_script_makes_what_is_shipped() -> None:
    """The script gives the shipped files on every Python."""
    spec = importlib.util.spec_from_file_location("make_company", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    made: dict[str, Any] = script.make_company()

    shipped = files("cabochon_demo") / "company"
    assert made == {name: json.loads((shipped / name).read_text("utf-8")) for name in made}
    assert {f"{name}.json" for name in COLLECTIONS} == made.keys()


def test_company_has_some_hundred_records(company: Company) -> None:
    """Enough to be believed, few enough to be quick."""
    assert 300 <= company.records <= 400


def test_company_is_whole_in_itself(company: Company) -> None:
    """Managers and owners are users, and users' roles exist."""
    users, roles, resources = (company.data[name] for name in COLLECTIONS)

    assert {user["manager"] for user in users.values()} <= {None, *users}
    assert {role for user in users.values() for role in user["roles"]} <= roles.keys()
    assert {resource["owner"] for resource in resources.values()} <= users.keys()


def test_policies_are_a_bundle(company: Company) -> None:
    """Every policy has its package, is in the manifest, and overlaps no data of the company."""
    packages = {module.package_name for module in company.bundle.policy_modules}

    assert {"company.audit", "company.authz", "company.roles"} == packages
    assert list(company.bundle.manifest) == sorted(company.policies)
    assert not {package.split(".")[0] for package in packages} & set(COLLECTIONS)
