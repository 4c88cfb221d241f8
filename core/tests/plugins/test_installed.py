"""Discovery: every way in which a plugin can break has a name, a culprit and no victims."""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from cabochon import (
    CallbackReporterType,
    CommandType,
    FetcherType,
    HttpRoutesType,
    PluginConflictError,
    Plugins,
    PolicyStoreType,
    hookimpl,
)
from cabochon.plugins.installed import InstalledPlugin

Discover = Callable[..., Plugins]


def unused(*_arguments: Any) -> NoReturn:
    raise AssertionError


def state_of(plugins: Plugins, name: str) -> InstalledPlugin:
    return next(plugin for plugin in plugins.installed if plugin.name == name)


def offering(hook: str, *registrations: object) -> SimpleNamespace:
    """A plugin that answers one hook with these registrations."""

    def answer() -> Iterable[object]:
        return registrations

    answer.__name__ = hook
    return SimpleNamespace(**{hook: hookimpl(answer)})


def fetcher(name: str, **more: Any) -> FetcherType:
    return FetcherType(name=name, summary=name, open=unused, **more)


# ------------------------------------------------------------------------------------------------------- discovery


def test_plugins_are_found_by_their_entry_points(on_path: Callable[[Path], None]) -> None:
    """
    Without being told, every distribution on the path with an entry point in the group is a plugin.
    """
    on_path(Path(__file__).parents[1] / "data" / "good")

    assert "cabochon-test-good" in {plugin.distribution for plugin in Plugins.load(strict=False).installed}


def test_plugin_that_loads_is_listed_with_distribution_version_and_hooks(discover: Discover) -> None:
    """
    `installed` says what came from where.
    """
    plugins = discover("good")

    (good,) = plugins.installed
    assert ("good", "cabochon-test-good", "1.2.3") == (good.name, good.distribution, good.version)
    assert ("loaded", "") == (good.state, good.reason)
    assert ("cabochon_commands", "cabochon_fetchers") == good.hooks
    assert {"fetcher": ("Good",), "command": ("broken", "greet", "interrupted")} == plugins.offered_by(good)


def test_registered_keeps_where_it_comes_from(discover: Discover) -> None:
    """
    Whoever uses a registration can name its plugin.
    """
    good = discover("good").fetchers["good"]

    assert ("Good", "good", "cabochon-test-good", "1.2.3") == (good.name, good.plugin, good.distribution, good.version)
    assert "good (cabochon-test-good 1.2.3)" == str(good)


def test_registered_loads_its_settings(discover: Discover) -> None:
    """
    `load_settings` gives what `open` takes.
    """
    settings: Any = discover("good").fetchers["good"].load_settings({"OPAL_GOOD_TOKEN": "t"})

    assert "t" == settings.good_token.get_secret_value()


def test_registered_without_settings_model_loads_none() -> None:
    """
    A registration without settings is opened with None.
    """
    plugins = Plugins.of(("a", offering("cabochon_fetchers", fetcher("x"))))

    assert plugins.fetchers["x"].load_settings({}) is None


def test_names_are_looked_up_without_case_and_listed_as_spelled_and_sorted() -> None:
    """
    `OPAL_POLICY_STORE_TYPE=opa` finds OPA, and lists read the same on every machine.
    """
    plugins = Plugins.of(
        ("z", offering("cabochon_fetchers", fetcher("b"))),
        ("a", offering("cabochon_fetchers", fetcher("C"), fetcher("A"))),
    )

    assert ["A", "b", "C"] == list(plugins.fetchers)
    assert "c" in plugins.fetchers
    assert 3 == len(plugins.fetchers)
    assert 7 not in plugins.fetchers


def test_two_objects_of_plugins_know_nothing_of_each_other(discover: Discover) -> None:
    """
    There is no global state: each application and each test has its own.
    """
    assert ["Good"] == list(discover("good").fetchers)
    assert [] == list(Plugins.of().fetchers)


def test_settings_models_are_listed_once_with_their_plugin(discover: Discover) -> None:
    """
    `cabochon config` and the search for misspelt variables go through all of them.
    """
    assert [("good", "GoodSettings")] == [(name, model.__name__) for name, model in discover("good").settings_models()]


# ------------------------------------------------------------------------------------------- pluggy's traps, guarded


def test_trap_async_hook_is_refused_at_registration(discover: Discover) -> None:
    """
    Trap 1: an `async def` implementation would return a coroutine that nobody awaits.
    """
    plugins = discover("async_hook", "good")

    assert "cabochon_fetchers is async: hooks are plain functions, what they offer is opened later" == (
        state_of(plugins, "async-hook").reason
    )
    assert ["Good"] == list(plugins.fetchers)


def test_trap_async_hook_is_refused_even_in_disguise() -> None:
    """
    Trap 1: a plain function that returns a coroutine does not get away with it, and no warning of Python's escapes.
    """

    async def later() -> None: ...

    def cabochon_fetchers() -> object:
        return later()

    plugins = Plugins.of(("sly", SimpleNamespace(cabochon_fetchers=hookimpl(cabochon_fetchers))))

    assert "cabochon_fetchers returned a coroutine: hooks are plain functions" == state_of(plugins, "sly").reason


def test_trap_generator_that_raises_is_blamed_on_its_plugin(discover: Discover) -> None:
    """
    Trap 2: a generator raises while it is iterated; it counts as its plugin's failure, and all of that plugin is out.
    """
    plugins = discover("good", "raising_generator")

    broken = state_of(plugins, "raising-generator")
    assert broken.reason.startswith(
        "cabochon_fetchers raised OSError: no licence file (cabochon_test_raising_generator.py:"
    )
    assert isinstance(broken.error, OSError)
    assert ["Good"] == list(plugins.fetchers)


def test_trap_raising_hook_does_not_stop_the_others() -> None:
    """
    Trap 3: implementations are called one by one, so those before and after a failure count.
    """

    def cabochon_fetchers() -> NoReturn:
        raise ZeroDivisionError

    plugins = Plugins.of(
        ("a", offering("cabochon_fetchers", fetcher("first"))),
        ("b", SimpleNamespace(cabochon_fetchers=hookimpl(cabochon_fetchers))),
        ("c", offering("cabochon_fetchers", fetcher("last"))),
    )

    assert ["first", "last"] == list(plugins.fetchers)
    assert ["loaded", "failed", "loaded"] == [plugin.state for plugin in plugins.installed]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_trap_load_order_chooses_nothing(order: tuple[str, str]) -> None:
    """
    Trap 4: whatever was installed first, the same name gives the same thing.
    """
    stores = {
        name: offering("cabochon_policy_stores", PolicyStoreType(name=name, summary=name, open=unused))
        for name in ("a", "b")
    }
    plugins = Plugins.of(*((name, stores[name]) for name in order))

    assert "a" == plugins.choose_policy_store("A").plugin
    assert ["a", "b"] == list(plugins.policy_stores)


def test_trap_misspelt_hook_is_found_and_the_right_one_named(discover: Discover) -> None:
    """
    Trap 5: an implementation of a hook that does not exist would never be called.
    """
    plugins = discover("misspelt_hook", "good")

    assert "unknown hook cabochon_fetcher; did you mean cabochon_fetchers?" == state_of(plugins, "misspelt-hook").reason
    assert ["Good"] == list(plugins.fetchers)


def test_trap_import_error_stops_only_its_own_entry_point(discover: Discover) -> None:
    """
    Trap 6: each entry point is loaded by itself; distribution, version and exception are kept.
    """
    plugins = discover("import_error", "good")

    broken = state_of(plugins, "import-error")
    assert ("failed", "cabochon-test-import-error", "0.1") == (broken.state, broken.distribution, broken.version)
    assert isinstance(broken.error, ModuleNotFoundError)
    assert ["Good"] == list(plugins.fetchers)


def test_plugin_that_exits_when_imported_ends_nothing_but_itself(discover: Discover) -> None:
    """
    `sys.exit` in a plugin is that plugin's failure.
    """
    reason = state_of(discover("import_exits"), "import-exits").reason

    assert reason.startswith("import of cabochon_test_import_exits failed: SystemExit: not on this machine (")


def test_hook_without_its_mark_is_found(discover: Discover) -> None:
    """
    A forgotten `@hookimpl` would leave a plugin that does nothing, silently.
    """
    plugins = discover("unmarked_hook")

    assert "cabochon_fetchers is not marked: write @hookimpl above it" == state_of(plugins, "unmarked-hook").reason


def test_hook_that_wraps_others_is_refused() -> None:
    """
    Plugins are asked one by one: a wrapper would wrap nothing.
    """

    def cabochon_fetchers() -> Generator[None, object, object]:
        return (yield)

    plugins = Plugins.of(("wrapper", SimpleNamespace(cabochon_fetchers=hookimpl(wrapper=True)(cabochon_fetchers))))

    assert "hook wrapper" in state_of(plugins, "wrapper").reason


def test_hook_with_arguments_is_refused() -> None:
    """
    Hooks take none; pluggy says so in one line.
    """

    def cabochon_fetchers(config: object) -> object:
        return (config,)

    plugins = Plugins.of(("asks", SimpleNamespace(cabochon_fetchers=hookimpl(cabochon_fetchers))))

    assert "config" in state_of(plugins, "asks").reason


def test_module_under_two_names_counts_once() -> None:
    """
    Two entry points for one module offer everything twice: the second is refused.
    """
    module = offering("cabochon_fetchers", fetcher("x"))
    plugins = Plugins.of(("a", module), ("b", module))

    assert ["loaded", "failed"] == [plugin.state for plugin in plugins.installed]


# -------------------------------------------------------------------------------------------- what hooks may return


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "cabochon_fetchers returned NoneType: return a list of FetcherType, or yield them"),
        (fetcher("x"), "cabochon_fetchers returned one FetcherType: return a list of them, or yield it"),
        (["x"], "cabochon_fetchers gave str 'x' instead of FetcherType"),
        ([None], "cabochon_fetchers gave None instead of FetcherType"),
        ([FetcherType], "cabochon_fetchers gave the class FetcherType instead of FetcherType"),
        ([fetcher("")], "name must be letters, digits and _ . + -"),
        ([fetcher("two words")], "name must be letters, digits and _ . + -"),
        ([FetcherType(name="x", summary=" ", open=unused)], "summary must be a line of text"),
        ([FetcherType(name="x", summary="x", open=None)], "open must be callable"),  # pyright: ignore[reportArgumentType]
        ([fetcher("x", schemes="http")], "schemes must be a tuple of names"),
        ([fetcher("x", schemes=("http://",))], "schemes must be a tuple of names"),
        ([fetcher("x", aliases=[""])], "aliases must be a tuple of names"),
        ([fetcher("x", settings=dict)], "settings must be a class derived from cabochon.Settings"),
    ],
)
def test_answer_that_can_not_be_used_fails_its_plugin(answer: object, reason: str) -> None:
    """
    What a hook returned is checked at start-up, and the message says what would be right.
    """

    def cabochon_fetchers() -> object:
        return answer

    plugins = Plugins.of(("odd", SimpleNamespace(cabochon_fetchers=hookimpl(cabochon_fetchers))))

    assert reason in state_of(plugins, "odd").reason
    assert [] == list(plugins.fetchers)


def test_mount_path_starts_with_a_slash() -> None:
    """
    `callbacks` instead of `/callbacks` would never be reached.
    """
    routes = HttpRoutesType(name="x", summary="x", mount_path="callbacks", app=unused)

    plugins = Plugins.of(("odd", offering("cabochon_http_routes", routes)))

    assert "mount_path must start with '/'" in state_of(plugins, "odd").reason


# --------------------------------------------------------------------------------------------------------- conflicts


def test_name_claimed_by_two_distributions_stops_the_start(discover: Discover) -> None:
    """
    Even if nobody selected it: the message names both.
    """
    with pytest.raises(PluginConflictError) as conflict:
        discover("good", "duplicate_name")

    assert (
        "fetcher 'good' is claimed twice, by duplicate-name (cabochon-test-duplicate-name 2.0) and "
        "good (cabochon-test-good 1.2.3): uninstall one, or name one plugin in OPAL_PLUGINS_DISABLED"
    ) == str(conflict.value)


def test_name_claimed_twice_is_nobodys_where_conflicts_are_listed(discover: Discover) -> None:
    """
    `strict=False` is for looking around: what is contested can't be used, the rest can.
    """
    plugins = discover("good", "duplicate_name", strict=False)

    assert 1 == len(plugins.conflicts)
    assert [] == list(plugins.fetchers)
    assert "greet" in plugins.commands


def test_conflict_ends_when_one_plugin_is_disabled(discover: Discover) -> None:
    """
    The way out that the message shows works.
    """
    plugins = discover("good", "duplicate_name", disabled=["duplicate-name"])

    assert "good" == plugins.fetchers["GOOD"].plugin


@pytest.mark.parametrize(
    ("hook", "one", "other", "claim"),
    [
        ("cabochon_fetchers", fetcher("x", aliases=("Y",)), fetcher("y"), "fetcher 'y'"),
        (
            "cabochon_fetchers",
            fetcher("x", schemes=("HTTP",)),
            fetcher("y", schemes=("http",)),
            "fetcher scheme 'http'",
        ),
        (
            "cabochon_callback_reporters",
            CallbackReporterType(name="x", summary="x", open=unused, schemes=("http",)),
            CallbackReporterType(name="y", summary="y", open=unused, schemes=("http",)),
            "callback reporter scheme 'http'",
        ),
        (
            "cabochon_http_routes",
            HttpRoutesType(name="x", summary="x", mount_path="/a", app=unused),
            HttpRoutesType(name="y", summary="y", mount_path="/a/", app=unused),
            "mount path '/a'",
        ),
        (
            "cabochon_commands",
            CommandType(name="sync", summary="x", load=unused),
            CommandType(name="Sync", summary="y", load=unused),
            "command 'sync'",
        ),
    ],
    ids=["alias", "scheme", "reporter-scheme", "mount-path", "command"],
)
def test_everything_that_must_be_unique_is(hook: str, one: object, other: object, claim: str) -> None:
    """
    Names, aliases, schemes and mount paths each belong to one plugin.
    """
    with pytest.raises(PluginConflictError, match=f"^{claim} is claimed twice, by a .* and b "):
        Plugins.of(("a", offering(hook, one)), ("b", offering(hook, other)))


def test_command_of_the_core_can_not_be_claimed() -> None:
    """
    `cabochon config` stays what the documentation says.
    """
    command = CommandType(name="Config", summary="x", load=unused)

    with pytest.raises(PluginConflictError, match=r"^command 'config' is claimed twice, by a \(a 0\) and the core: "):
        Plugins.of(("a", offering("cabochon_commands", command)))


def test_plugin_name_claimed_twice_stops_the_start() -> None:
    """
    `OPAL_PLUGINS_DISABLED` could not tell them apart.
    """
    with pytest.raises(PluginConflictError, match=r"^plugin name 'a' is claimed twice, by "):
        Plugins.of(("a", SimpleNamespace()), ("A", SimpleNamespace(x=1)))


def test_same_name_for_things_of_different_kinds_is_fine() -> None:
    """
    A store and a fetcher may share a name.
    """
    store = PolicyStoreType(name="x", summary="x", open=unused)

    plugins = Plugins.of(
        ("a", offering("cabochon_fetchers", fetcher("x"))), ("b", offering("cabochon_policy_stores", store))
    )

    assert () == plugins.conflicts


# ---------------------------------------------------------------------------------------- disabled, traced, complained


def test_disabled_plugin_is_not_even_imported(discover: Discover) -> None:
    """
    A plugin that ends the process on import can be left out.
    """
    plugins = discover("import_exits", "good", disabled=["Import-Exits"])

    blocked = state_of(plugins, "import-exits")
    assert ("blocked", "left out by OPAL_PLUGINS_DISABLED") == (blocked.state, blocked.reason)


def test_disabled_plugin_that_is_not_installed_is_said(discover: Discover) -> None:
    """
    A misspelt name would leave the plugin running.
    """
    with capture_logs() as events:
        discover("good", disabled=["goood"])

    assert [{"event": "plugin.disabled_unknown", "log_level": "warning", "plugin": "goood", "installed": ["good"]}] == (
        events
    )


def test_failed_plugin_is_one_warning_with_its_cause(discover: Discover) -> None:
    """
    The line names distribution, entry point and cause; where it was raised is for debugging.
    """
    with capture_logs() as events:
        discover("import_error", "good")

    (warning,) = [event for event in events if event["log_level"] == "warning"]
    assert "plugin.load_failed" == warning["event"]
    assert ("cabochon-test-import-error", "cabochon_test_import_error") == (
        warning["distribution"],
        warning["entry_point"],
    )
    assert "No module named 'cabochon_test_dependency_that_is_missing'" in warning["cause"]
    assert "\n" not in warning["cause"]


def test_trace_logs_each_hook_call_with_plugin_and_duration(discover: Discover) -> None:
    """
    `OPAL_PLUGINS_TRACE` shows who is slow.
    """
    with capture_logs() as events:
        discover("good", trace=True)

    calls = [event for event in events if event["event"] == "plugin.hook_called"]
    assert [("good", "cabochon_fetchers", 1), ("good", "cabochon_commands", 3)] == [
        (call["plugin"], call["hook"], call["offered"]) for call in calls
    ]
    assert all(call["duration_s"] >= 0 for call in calls)
