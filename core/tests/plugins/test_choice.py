"""What is chosen by name, what without, and what is said when it is not there."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from cabochon import (
    BackboneType,
    ConfigurationError,
    FetcherType,
    HttpRoutesType,
    PluginLoadError,
    PluginNotFoundError,
    Plugins,
    PolicyStoreType,
    ServiceType,
    TransactionListenerType,
    UpdateSourceType,
    hookimpl,
)


def unused(*_arguments: Any) -> NoReturn:
    raise AssertionError


class Offering:
    """A plugin with policy stores, update sources, fetchers, backbones and listeners at once."""

    def __init__(self, *registrations: object) -> None:
        self.registrations = registrations

    def all(self, kind: type) -> Iterable[Any]:
        return [one for one in self.registrations if isinstance(one, kind)]

    @hookimpl
    def cabochon_policy_stores(self) -> Iterable[PolicyStoreType]:
        return self.all(PolicyStoreType)

    @hookimpl
    def cabochon_update_sources(self) -> Iterable[UpdateSourceType]:
        return self.all(UpdateSourceType)

    @hookimpl
    def cabochon_fetchers(self) -> Iterable[FetcherType]:
        return self.all(FetcherType)

    @hookimpl
    def cabochon_backbones(self) -> Iterable[BackboneType]:
        return self.all(BackboneType)

    @hookimpl
    def cabochon_transaction_listeners(self) -> Iterable[TransactionListenerType]:
        return self.all(TransactionListenerType)

    @hookimpl
    def cabochon_services(self) -> Iterable[ServiceType]:
        return self.all(ServiceType)

    @hookimpl
    def cabochon_http_routes(self) -> Iterable[HttpRoutesType]:
        return self.all(HttpRoutesType)


def store(name: str, *, for_tests: bool = False, usual: bool = False) -> PolicyStoreType:
    return PolicyStoreType(name=name, summary=name, open=unused, for_tests=for_tests, usual=usual)


def plugins_with(*registrations: object) -> Plugins:
    return Plugins.of(("given", Offering(*registrations)))


def failing() -> SimpleNamespace:
    def cabochon_policy_stores() -> NoReturn:
        raise OSError("no driver")

    return SimpleNamespace(cabochon_policy_stores=hookimpl(cabochon_policy_stores))


def test_choice_by_name_ignores_case() -> None:
    """
    `opa` and `OPA` are one store.
    """
    assert "Engine" == plugins_with(store("Engine"), store("Other")).choose_policy_store("ENGINE").name


def test_choice_without_a_name_takes_the_only_one_that_is_not_for_tests() -> None:
    """
    One engine installed beside the test engine needs no setting.
    """
    assert "real" == plugins_with(store("fake", for_tests=True), store("real")).choose_policy_store(None).name


@pytest.mark.parametrize("unset", [None, ""])
def test_choice_without_a_name_among_several_is_the_operators(unset: str | None) -> None:
    """
    The message lists them and names the variable.
    """
    with pytest.raises(ConfigurationError) as refused:
        plugins_with(store("b"), store("a"), store("fake", for_tests=True)).choose_policy_store(unset)

    assert "several policy stores are installed: set OPAL_POLICY_STORE_TYPE to one of a, b" == str(refused.value)


def test_choice_without_a_name_takes_the_usual_one() -> None:
    """
    What OPAL's users have set nothing for goes on when another engine is installed beside it.
    """
    assert "b" == plugins_with(store("b", usual=True), store("a")).choose_policy_store(None).name
    assert "a" == plugins_with(store("b", usual=True), store("a")).choose_policy_store("a").name


def test_choice_without_a_name_among_several_usual_ones_is_the_operators() -> None:
    """
    No plugin can push another's engine aside.
    """
    plugins = plugins_with(store("b", usual=True), store("a", usual=True), store("c"))

    with pytest.raises(ConfigurationError, match="set OPAL_POLICY_STORE_TYPE to one of a, b"):
        plugins.choose_policy_store(None)


def test_choice_without_a_name_never_takes_what_is_for_tests() -> None:
    """
    A test engine runs only when it is named.
    """
    plugins = plugins_with(store("fake", for_tests=True))

    with pytest.raises(ConfigurationError, match=r"is for tests \(fake\): install another, or set OPAL_POLICY_STORE"):
        plugins.choose_policy_store(None)
    assert "fake" == plugins.choose_policy_store("fake").name


def test_unknown_name_lists_what_is_installed_and_where_more_is() -> None:
    """
    The next step is in the message; a distribution that we do not know is never part of it.
    """
    with pytest.raises(PluginNotFoundError) as missing:
        plugins_with(store("zeta"), store("Alpha")).choose_policy_store("My_Engine")

    assert (
        "OPAL_POLICY_STORE_TYPE: unknown policy store 'My_Engine'; installed: Alpha, zeta. "
        "`cabochon plugins` lists what is installed, the README of Cabochon what there is"
    ) == str(missing.value)
    assert ("My_Engine", ("Alpha", "zeta")) == (missing.value.name, missing.value.known)


def test_unknown_name_of_one_of_our_own_distributions_is_guessed_exactly() -> None:
    """
    The extras of `cabochon` list distributions whose names say more than the store's.
    """
    with pytest.raises(PluginNotFoundError, match=r"pip install cabochon-mock-store$"):
        Plugins.of().choose_policy_store("MOCK")


def test_unknown_name_that_is_no_name_guesses_nothing() -> None:
    """
    What a shell could misread is never part of a command to type.
    """
    with pytest.raises(PluginNotFoundError, match=r"what there is$"):
        Plugins.of().choose_policy_store("x; rm -rf /")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OPAA", "Did you mean opa? To get it: pip install cabochon-opa"),
        ("sqllite", "Did you mean SQLite?"),
        ("open_fga", "Did you mean openfga? To get it: pip install cabochon-openfga"),
    ],
)
def test_mistyped_name_is_said_rightly(name: str, hint: str) -> None:
    """
    The nearest name that is installed, or that one of our own distributions brings.
    """
    with pytest.raises(PluginNotFoundError) as missing:
        plugins_with(store("SQLite")).choose_policy_store(name)

    assert str(missing.value).endswith(f". {hint}")


def test_nothing_installed_is_said() -> None:
    """
    A start without any update source says what is missing.
    """
    with pytest.raises(PluginNotFoundError, match=r"^OPAL_UPDATE_SOURCE: no update source is installed"):
        Plugins.of().choose_update_source(None)


def test_name_that_a_failed_plugin_may_have_fails_with_its_cause() -> None:
    """
    What was asked for and is not there may be what failed to load: the cause is said and chained.
    """
    plugins = Plugins.of(("engine", failing()))

    with pytest.raises(PluginLoadError) as failed:
        plugins.choose_policy_store("engine")

    assert "plugins that failed to load: engine (engine 0): cabochon_policy_stores raised OSError: no driver" in (
        str(failed.value)
    )
    assert "engine" == failed.value.plugin
    assert isinstance(failed.value.__cause__, OSError)


def test_failed_plugin_that_nobody_asked_for_stops_nothing() -> None:
    """
    It was a warning; what is chosen works.
    """
    plugins = Plugins.of(("engine", failing()), ("given", Offering(store("real"))))

    assert "real" == plugins.choose_policy_store(None).name


def test_name_of_a_disabled_plugin_is_said() -> None:
    """
    Whoever left a plugin out and asks for it is reminded.
    """
    plugins = Plugins.of(("given", Offering(store("real"))), disabled=["given"])

    with pytest.raises(PluginNotFoundError, match=r"left out by OPAL_PLUGINS_DISABLED: given"):
        plugins.choose_policy_store("real")


FETCHERS = (
    FetcherType(name="http", summary="x", open=unused, schemes=("http", "https"), aliases=("HttpProvider",)),
    FetcherType(name="file", summary="x", open=unused, schemes=("file",)),
)


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        (None, "https://data.example/x", "http"),
        (None, "FILE:///etc/x", "file"),
        ("file", "https://data.example/x", "file"),
        ("httpprovider", "", "http"),
    ],
)
def test_fetcher_is_chosen_by_name_or_alias_else_by_scheme(name: str | None, url: str, expected: str) -> None:
    """
    What the entry names goes before what its URL suggests.
    """
    assert expected == plugins_with(*FETCHERS).fetcher_for(name, url).name


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("gopher", "http://x", "unknown fetcher 'gopher'; installed: file, http."),
        (None, "ftp://x", "unknown scheme for a fetcher 'ftp'; installed: file, http, https."),
    ],
)
def test_fetcher_that_is_not_there_is_said(name: str | None, url: str, message: str) -> None:
    """
    The entry's failure lists what would work.
    """
    with pytest.raises(PluginNotFoundError) as missing:
        plugins_with(*FETCHERS).fetcher_for(name, url)

    assert str(missing.value).startswith(message)


def test_backbone_is_chosen_by_scheme() -> None:
    """
    A server's URL says where its log is.
    """
    plugins = plugins_with(BackboneType(name="shared", summary="x", open=unused, schemes=("redis",)))

    assert "shared" == plugins.backbone_for("REDIS://x").name
    with pytest.raises(PluginNotFoundError, match=r"unknown scheme for a backbone 'amqp'; installed: redis"):
        plugins.backbone_for("amqp://x")


def test_transaction_listeners_are_those_of_the_store_and_those_of_all_stores() -> None:
    """
    A listener that renders for one engine stays away from the others.
    """
    plugins = plugins_with(
        TransactionListenerType(name="all", summary="x", open=unused),
        TransactionListenerType(name="mine", summary="x", open=unused, stores=("ENGINE",)),
        TransactionListenerType(name="other", summary="x", open=unused, stores=("else",)),
    )

    assert ["all", "mine"] == [one.name for one in plugins.transaction_listeners_for("engine")]


def test_services_and_routes_are_those_of_the_store_and_those_of_all_stores() -> None:
    """
    What goes with one engine stays away from the others.
    """
    stores = {"all": (), "mine": ("ENGINE",), "other": ("else",)}
    plugins = plugins_with(
        *(ServiceType(name=name, summary="x", open=unused, stores=of) for name, of in stores.items()),
        *(
            HttpRoutesType(name=name, summary="x", mount_path=f"/{name}", app=unused, stores=of)
            for name, of in stores.items()
        ),
    )

    assert ["all", "mine"] == [one.name for one in plugins.services_for("engine")]
    assert ["all", "mine"] == [one.name for one in plugins.http_routes_for("Engine")]
    assert ["all"] == [one.name for one in plugins.services_for("third")]
