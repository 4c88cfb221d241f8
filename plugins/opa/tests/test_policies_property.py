"""Random sets of policies into a real OPA: they always load, and a set that can't leaves exactly what was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cabochon.errors import StoreRejectedError
from cabochon.transactions.changes import DeletePolicy, PolicyChange, ReplacePolicies, SetPolicy
from cabochon_opa.client import OpaClient
from cabochon_opa.policies.rest import RestDelivery
from cabochon_opa.testing import RealOpa

examples = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
MODULES = 7
BROKEN = ["no rego", "package broken\n\nr := data.nowhere.f(1)", "package broken\n\nr := x", "package broken\n\nr := r"]

Sources = dict[str, str]


@pytest.fixture(scope="module")
def shared_opa(opa_path: Path) -> Iterator[RealOpa]:
    """One OPA for all examples; each begins by emptying it."""
    with RealOpa(opa_path) as running:
        yield running


@st.composite
def module_sets(draw: st.DrawFn) -> Sources:
    """Modules that define functions and call those of modules with a lower rank; ranks, ids and manifest at random.

    The rank of a package differs from set to set, so that who calls whom turns round between two sets.
    """
    random = Random(draw(st.integers(0, 2**32)))  # noqa: S311 - reproducible by hypothesis
    ranked = random.sample(range(MODULES), random.randint(1, MODULES))
    sources: Sources = {}
    for rank, package in enumerate(ranked):
        lines = [f"package p{package}", ""]
        called = random.sample(ranked[:rank], random.randint(0, min(rank, 3)))
        if random.random() < 0.5:
            lines += [f"import data.p{other}" for other in called]
            calls = [f"p{other}.f{other}(x)" for other in called]
        else:
            calls = [f"data.p{other}.f{other}(x)" for other in called]
        if random.random() < 0.5:
            lines += ["default allow := false", ""]
        body = " + ".join(["x", str(random.randint(1, 3)), *calls])
        lines += [f"f{package}(x) := y if y := {body}", ""]
        sources[f"{random.choice(['', 'moved/'])}p{package}.rego"] = "\n".join(lines)
    ids = list(sources)
    random.shuffle(ids)
    return {policy_id: sources[policy_id] for policy_id in ids}


def changes_between(old: Mapping[str, str], new: Mapping[str, str], *, delta: bool) -> list[PolicyChange]:
    """The same change as a whole set or as a difference."""
    if not delta:
        return [ReplacePolicies(new)]
    return [
        *(SetPolicy(id_, source) for id_, source in new.items() if old.get(id_) != source),
        *(DeletePolicy(id_) for id_ in old if id_ not in new),
    ]


def emptied(opa: RealOpa) -> None:
    """Leave nothing in OPA that an example before this one has put there."""
    ids = list(held(opa))
    while ids:
        # Again and again: what others call can't go first.
        for id_ in ids:
            httpx.delete(f"{opa.url}/v1/policies/{quote(id_)}")
        ids = list(held(opa))
    httpx.put(f"{opa.url}/v1/data/system/cabochon/policies", json=[])


def held(opa: RealOpa) -> Sources:
    """What is in OPA: id to source."""
    return {policy["id"]: policy["raw"] for policy in httpx.get(f"{opa.url}/v1/policies").json()["result"]}


@examples
@given(sets=st.lists(module_sets(), min_size=2, max_size=4), delta=st.booleans(), restarts=st.booleans())
def test_sets_follow_each_other(shared_opa: RealOpa, sets: list[Sources], *, delta: bool, restarts: bool) -> None:
    """
    In whatever order the manifest has them, as a whole set or a difference, in one life or several.
    """
    emptied(shared_opa)

    async def write() -> None:
        async with httpx.AsyncClient(base_url=shared_opa.url, timeout=10) as http:
            delivery = RestDelivery(OpaClient(http, "opa"))
            old: Sources = {}
            for new in sets:
                note(repr(new))
                await delivery.write(changes_between(old, new, delta=delta))
                assert new == held(shared_opa)
                old = new
                if restarts:
                    delivery = RestDelivery(OpaClient(http, "opa"))

    anyio.run(write)


@examples
@given(
    old=module_sets(),
    new=module_sets(),
    broken=st.sampled_from(BROKEN),
    place=st.integers(0, MODULES),
    delta=st.booleans(),
    restarts=st.booleans(),
)
def test_broken_set_leaves_exactly_the_old_one(
    shared_opa: RealOpa, old: Sources, new: Sources, broken: str, place: int, *, delta: bool, restarts: bool
) -> None:
    """
    Wherever the broken module stands, whatever else the set changes.
    """
    emptied(shared_opa)
    items = list(new.items())
    items.insert(place, ("broken.rego", broken))

    async def write() -> None:
        async with httpx.AsyncClient(base_url=shared_opa.url, timeout=10) as http:
            delivery = RestDelivery(OpaClient(http, "opa"))
            await delivery.write([ReplacePolicies(old)])
            if restarts:
                delivery = RestDelivery(OpaClient(http, "opa"))
            with pytest.raises(StoreRejectedError, match=r"broken\.rego"):
                await delivery.write(changes_between(old, dict(items), delta=delta))
            assert old == held(shared_opa)
            await delivery.write([ReplacePolicies(new)])
            assert new == held(shared_opa)

    anyio.run(write)
