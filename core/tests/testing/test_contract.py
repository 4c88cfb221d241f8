"""The base of the contract kits: promises in words, no quiet way out."""

from collections.abc import Callable

import pytest

from cabochon.testing._contract import Contract


class KitContract(Contract):
    """A kit with one promise."""

    def test_keeps_its_word(self) -> None:
        """
        A plugin keeps its word,
        whatever happens.

        More about it.
        """
        pytest.fail("it did not")

    async def test_waits(self) -> None:
        """A plugin waits."""
        raise OSError("no")


def test_failure_names_the_promise() -> None:
    """A failing test ends with the sentence that documents it."""
    with pytest.raises(pytest.fail.Exception) as caught:
        KitContract().test_keeps_its_word()

    assert ["Broken promise: A plugin keeps its word, whatever happens."] == caught.value.__notes__


async def test_failure_of_an_async_test_names_the_promise() -> None:
    """Any exception is named, in async tests too."""
    with pytest.raises(OSError, match="no") as caught:
        await KitContract().test_waits()

    assert ["Broken promise: A plugin waits."] == caught.value.__notes__


def a_function() -> None:
    class TestPlugin(KitContract):
        def test_keeps_its_word(self) -> None:
            """Nothing is left of the promise."""

    TestPlugin()


def a_mixin() -> None:
    class Mixin:
        def test_keeps_its_word(self) -> None:
            """Nothing is left of the promise."""

    class TestPlugin(Mixin, KitContract):  # pyright: ignore[reportIncompatibleMethodOverride] # that is the point
        pass

    TestPlugin()


def a_none() -> None:
    type("TestPlugin", (KitContract,), {"test_keeps_its_word": None})


def an_xfail_without_a_reason() -> None:
    class TestPlugin(KitContract):
        @pytest.mark.xfail(strict=True)
        def test_keeps_its_word(self) -> None:
            super().test_keeps_its_word()

    TestPlugin()


def a_lax_xfail() -> None:
    class TestPlugin(KitContract):
        @pytest.mark.xfail(strict=False, reason="not yet")
        def test_keeps_its_word(self) -> None:
            super().test_keeps_its_word()

    TestPlugin()


@pytest.mark.parametrize("replace", [a_function, a_mixin, a_none, an_xfail_without_a_reason, a_lax_xfail])
def test_replacing_a_contract_test_is_refused(replace: Callable[[], None]) -> None:
    """A test of the kit can't be replaced quietly, and the message names it and its promise."""
    with pytest.raises(TypeError, match=r"TestPlugin replaces test_keeps_its_word, a promise of the contract"):
        replace()


def test_promise_known_to_be_broken_is_declared() -> None:
    """A strict xfail with its reason may override a test; it keeps the promise's words."""

    class TestPlugin(KitContract):
        @pytest.mark.xfail(strict=True, reason="the engine has no such power")
        def test_keeps_its_word(self) -> None:
            super().test_keeps_its_word()

        def test_of_its_own(self) -> None:
            """A plugin may add tests."""

    with pytest.raises(pytest.fail.Exception) as caught:
        TestPlugin().test_keeps_its_word()

    assert "Broken promise: A plugin keeps its word, whatever happens." in caught.value.__notes__
