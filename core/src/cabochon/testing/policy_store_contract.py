'''Contract kits for policy stores: subclass the one that fits, provide `store`, and see which promises hold.

`DocumentStoreContract` is for stores that keep one JSON tree, `PolicyStoreContract` for all others:

    class TestAcmeStore(DocumentStoreContract):
        """The Acme store keeps the contract."""

        missing_powers = frozenset({"validation", "export", "reopen", "unreachable"})

        @pytest.fixture
        async def store(self):
            async with open_acme(AcmeSettings()) as store:
                yield store

What the store can't do is declared in `missing_powers`; every other promise is tested.
'''

from __future__ import annotations

from cabochon.testing._atomicity import AtomicityTests
from cabochon.testing._commits import MISSING
from cabochon.testing._every_store import POWERS
from cabochon.testing._markers import MarkerTests
from cabochon.testing._patches import PatchTests
from cabochon.testing._policies import PolicyTests

__all__ = ["MISSING", "POWERS", "DocumentStoreContract", "PolicyStoreContract"]


class PolicyStoreContract(PolicyTests):
    """What every policy store must do: subclass it and provide `store`.

    Attributes:
        missing_powers: which of `POWERS` the store does not have, and which of the fixtures `open_again` ("reopen")
            and `unreachable_store` ("unreachable") the test class does not provide. Their tests are reported as
            skipped with that reason; a power that is missing and not declared, or declared and not missing, fails.
        example_data: two changes of data that the engine accepts in any order, unless it takes no data.
        example_policies: two policies (source by id) that the engine accepts together, unless it takes none.
        broken_policies: a set with a policy in it that the engine refuses, for stores that validate.
    """


class DocumentStoreContract(PatchTests, MarkerTests, AtomicityTests, PolicyStoreContract):
    """What a store must do that keeps one JSON tree (`data_unit="documents"`).

    Documents are read through `SupportsReadBack`; a test class for a store without it overrides `read`.
    """
