"""What a store must do that keeps policies one by one, or judges them."""

from __future__ import annotations

from cabochon.contract.policy_store import PolicyStore
from cabochon.contract.powers import SupportsReadBack, SupportsValidation
from cabochon.testing._commits import land, put
from cabochon.testing._every_store import StoreTests
from cabochon.transactions.changes import DeletePolicy, ReplacePolicies, SetPolicy

__all__ = ["PolicyTests"]


class PolicyTests(StoreTests):
    """Policies; see `PolicyStoreContract`."""

    async def test_policies_are_kept_one_by_one(self, store: PolicyStore) -> None:
        """
        A policy is set and removed by its id, and the others stay.
        """
        if store.traits.policy_unit != "files":
            return
        engine = self.power(store, SupportsReadBack)
        (first, source), (second, other) = list(self.example_policies.items())[:2]
        await land(store, SetPolicy(first, source))
        await land(store, SetPolicy(second, other))
        assert {first: source, second: other} == dict(await engine.get_policies())
        await land(store, SetPolicy(first, source + "\n"))
        await land(store, DeletePolicy(second))

        assert {first: source + "\n"} == dict(await engine.get_policies())

    async def test_set_of_policies_is_the_whole_set(self, store: PolicyStore) -> None:
        """
        Replacing the policies leaves exactly the new set, and the data as it was.
        """
        if store.traits.policy_unit != "files":
            return
        engine = self.power(store, SupportsReadBack)
        first, second = list(self.example_policies.items())[:2]
        if store.traits.data_unit == "documents":
            await land(store, put("/kept", 1))
        await land(store, ReplacePolicies(dict([first])))
        await land(store, ReplacePolicies(dict([second])))
        assert dict([second]) == dict(await engine.get_policies())
        await land(store, ReplacePolicies({}))

        assert dict(await engine.get_policies()) == {}
        if store.traits.data_unit == "documents":
            assert [b"1"] == [await engine.get_data(put("/kept", 1).path)]

    async def test_policies_are_judged_before(self, store: PolicyStore) -> None:
        """
        Validation finds nothing in good policies and names the broken one by its id, and changes nothing.
        """
        judge = self.power(store, SupportsValidation)
        assert list(await judge.validate(self.example_policies)) == []
        problems = await judge.validate({**self.example_policies, **self.broken_policies})

        assert set(self.broken_policies) <= {problem.id for problem in problems}
        assert all(problem.message for problem in problems)
