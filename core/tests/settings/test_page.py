"""The page of all settings: sorted, explained, without secrets; and the variables that nobody reads."""

from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr
from structlog.testing import capture_logs

from cabochon import Masked, Settings
from cabochon.settings.core import CoreSettings
from cabochon.settings.page import SettingRow, setting_rows, unknown_variables, warn_of_unknown_variables
from cabochon.settings.peer_variables import peer_variables


class Login(BaseModel):
    user: str
    password: SecretStr


class StoreSettings(Settings):
    token: SecretStr = Field(default=SecretStr(""), validation_alias="OPAL_S_TOKEN", description="The key.")
    url: str = Field(default="http://localhost", validation_alias="OPAL_S_URL", description="Where it is.")
    login: Login | None = Field(default=None, validation_alias="OPAL_S_LOGIN", description="Who we are.")
    rules: Annotated[dict[str, Any], Masked()] = Field(default={}, validation_alias="OPAL_S_RULES", description="How.")


def row(variable: str, environ: Mapping[str, str]) -> SettingRow:
    rows = setting_rows([("core", CoreSettings), ("store", StoreSettings)], environ)
    return next(row for row in rows if row.variable == variable)


def test_rows_are_sorted_by_variable_and_name_their_owner() -> None:
    """
    Core and plugins share one list.
    """
    rows = setting_rows([("store", StoreSettings), ("core", CoreSettings)], {})

    assert sorted(row.variable for row in rows) == [row.variable for row in rows]
    assert {"core", "store"} == {row.owner for row in rows}


def test_variable_that_two_parts_of_one_owner_share_has_one_row() -> None:
    """
    A store and its service read the same address; another owner's variable of that name is listed beside it.
    """

    class ServiceSettings(StoreSettings):
        port: int = Field(default=1, validation_alias="OPAL_S_PORT", description="Which.")

    models = [("store", StoreSettings), ("store", ServiceSettings), ("other", StoreSettings)]
    rows = setting_rows(models, {"OPAL_S_PORT": "many"})

    assert [("OPAL_S_PORT", "store"), ("OPAL_S_URL", "other"), ("OPAL_S_URL", "store")] == [
        (row.variable, row.owner) for row in rows if row.variable in {"OPAL_S_PORT", "OPAL_S_URL"}
    ]
    assert ["OPAL_S_PORT='many' should be a whole number"] == [row.problem for row in rows if row.problem]


def test_row_of_a_default_says_so() -> None:
    """
    Times are plain seconds, as they are written.
    """
    shown = row("OPAL_REPORT_TIMEOUT", {})

    assert ("10", "10", "default") == (shown.value, shown.default, shown.source)


def test_row_of_a_given_value_keeps_the_default_beside_it() -> None:
    """
    What is in force, and what would be.
    """
    shown = row("OPAL_LOG_LEVEL", {"OPAL_LOG_LEVEL": "debug"})

    assert ("DEBUG", "INFO", "environment") == (shown.value, shown.default, shown.source)


def test_row_under_an_older_name_is_listed_under_the_present_one() -> None:
    """
    Its value counts all the same.
    """
    shown = row("OPAL_DATA_UPDATER_CONN_RETRY", {"OPAL_DATA_STORE_CONN_RETRY": '{"attempts": 9}'})

    assert '"attempts": 9' in shown.value
    assert "environment" == shown.source


def test_row_of_a_wrong_value_shows_it_with_its_problem() -> None:
    """
    The page is where mistakes are looked for: it lists them instead of failing.
    """
    shown = row("OPAL_LOG_LEVEL", {"OPAL_LOG_LEVEL": "loud"})

    assert "loud" == shown.value
    assert shown.problem.startswith("OPAL_LOG_LEVEL='loud' should be 'DEBUG'")
    assert "" == row("OPAL_LOG_SERIALIZE", {"OPAL_LOG_LEVEL": "loud"}).problem


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPAL_S_TOKEN", SECRET),
        ("OPAL_S_URL", f"https://bob:{SECRET}@host/path"),
        ("OPAL_S_LOGIN", f'{{"user": "bob", "password": "{SECRET}"}}'),
        ("OPAL_S_RULES", f'{{"headers": {{"authorization": "{SECRET}"}}, "deep": [{{"api_key": "{SECRET}"}}]}}'),
        ("OPAL_S_RULES", f"{{{SECRET}"),
        (
            "OPAL_DEFAULT_UPDATE_CALLBACKS",
            f'["http://bob:{SECRET}@host", ["http://x", {{"headers": {{"a": "{SECRET}"}}}}]]',
        ),
        ("OPAL_DEFAULT_UPDATE_CALLBACKS", f"http://host/?token={SECRET}"),
        ("OPAL_DEFAULT_UPDATE_CALLBACKS", f"[{SECRET}"),
        ("OPAL_DEFAULT_UPDATE_CALLBACK_CONFIG", f'{{"headers": {{"authorization": "{SECRET}"}}}}'),
    ],
)
def test_rows_show_no_secret(variable: str, value: str) -> None:
    """
    Tokens, headers and passwords in URLs are masked, whether the value is right or wrong.
    """
    shown = row(variable, {variable: value})

    assert SECRET not in str(shown)
    assert "environment" == shown.source


def test_unknown_variable_is_found_with_the_one_that_was_meant() -> None:
    """
    Only ours: other programs have their own.
    """
    environ = {"OPAL_LOG_LEVLE": "x", "OPAL_ZZZ": "y", "PATH": "/bin", "OPAL_LOG_LEVEL": "INFO"}

    found = [(unknown.name, unknown.nearest) for unknown in unknown_variables(environ, ["OPAL_LOG_LEVEL"])]

    assert [("OPAL_LOG_LEVLE", "OPAL_LOG_LEVEL"), ("OPAL_ZZZ", None)] == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPAL_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("OPAL_SERVER_SERVICE_PORT_HTTP", "7002"),
        ("OPAL_SERVER_PORT", "tcp://10.0.0.1:7002"),
        ("OPAL_SERVER_PORT_7002_TCP_PROTO", "tcp"),
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_are_not_unknown(name: str, value: str) -> None:
    """
    A service called `opal-server` gives every pod variables with our prefix.
    """
    assert [] == unknown_variables({name: value}, [])


def test_unknown_variables_are_logged_as_warnings() -> None:
    """
    The agent starts all the same.
    """
    with capture_logs() as events:
        warn_of_unknown_variables(
            {"OPAL_S_TOKN": "x", "OPAL_DATA_STORE_CONN_RETRY": "{}"}, [CoreSettings, StoreSettings]
        )

    assert [
        {"event": "setting.unknown", "log_level": "warning", "variable": "OPAL_S_TOKN", "did_you_mean": "OPAL_S_TOKEN"}
    ] == events


def test_variable_of_opal_s_that_is_not_supported_is_warned_about_with_the_reason() -> None:
    """
    Its user set it on purpose: the nearest name would be no help.
    """
    with capture_logs() as events:
        warn_of_unknown_variables({"OPAL_LOG_DIAGNOSE": "true", "OPAL_WS_TOKEN": "x"}, [CoreSettings])

    assert [("setting.unsupported", "OPAL_LOG_DIAGNOSE"), ("setting.unsupported", "OPAL_WS_TOKEN")] == [
        (event["event"], event["variable"]) for event in events
    ]
    assert "tokens" in events[0]["why"]
    assert "a server is no client of its own" == events[1]["why"]


def test_variable_of_a_plugin_that_is_not_loaded_names_the_plugin() -> None:
    """
    The name is right; what would read it is missing.
    """
    (found,) = unknown_variables({"OPAL_INLINE_OPA_CONFIG": "{}"}, ["OPAL_POLICY_STORE_TYPE"])

    assert "what reads it is not loaded: cabochon-opa, see `cabochon plugins`" == found.why
    assert str(found).startswith("OPAL_INLINE_OPA_CONFIG is set, but what reads it is not loaded")


def test_every_reason_reads_well_in_one_line() -> None:
    """
    They are shown after "is set, but", and in a table.
    """
    for name, one in peer_variables().items():
        assert "\n" not in one.reason, name
        assert not one.reason.endswith("."), name
