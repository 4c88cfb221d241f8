"""Settings: read in one place, with the peer's names and units, and one line for each mistake."""

from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

from cabochon import ConfigurationError, Masked, Seconds, Settings, load_settings
from cabochon.schemas import UpdateCallback
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.settings.core import CoreSettings
from cabochon.settings.model import NotBlank, variables_of


class Inner(BaseModel):
    depth: int = 1


class PluginSettings(Settings):
    token: SecretStr = Field(default=SecretStr(""), validation_alias="OPAL_T_TOKEN")
    template: str = Field(default="", validation_alias="OPAL_T_TEMPLATE")
    inner: Inner | None = Field(default=None, validation_alias="OPAL_T_INNER")
    guard: Annotated[SecretStr | None, NotBlank] = Field(default=None, validation_alias="OPAL_T_GUARD")
    patience: Seconds = Field(default=timedelta(seconds=1), validation_alias="OPAL_T_PATIENCE")


def core(**environ: str) -> CoreSettings:
    return load_settings(CoreSettings, {f"OPAL_{name}": value for name, value in environ.items()})


def complaint(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        core(**environ)
    return str(refused.value)


def test_every_variable_of_the_core_has_the_prefix_a_meaning_and_a_default() -> None:
    """
    `cabochon config` explains each of them, and an agent starts with none of them set.
    """
    for names in variables_of(CoreSettings).values():
        assert all(name.startswith("OPAL_") for name in names)
    assert all(field.description for field in CoreSettings.model_fields.values())
    assert isinstance(load_settings(CoreSettings, {}), CoreSettings)


def test_defaults_are_the_peers_where_it_has_the_variable() -> None:
    """
    Read off opal-client 0.9.6; the count of fetches side by side is ours on purpose.
    """
    settings = load_settings(CoreSettings, {})

    assert timedelta(seconds=10) == settings.fetching_callback_timeout
    assert (True, True) == (settings.data_updater_enabled, settings.policy_updater_enabled)
    assert settings.should_report_on_data_updates is False
    assert {
        "method": "post",
        "headers": {"content-type": "application/json"},
        "process_data": False,
    } == settings.default_update_callback_config
    assert ("random_exponential", timedelta(seconds=1), timedelta(seconds=10), 5) == (
        settings.data_updater_conn_retry.wait_strategy,
        settings.data_updater_conn_retry.wait_time,
        settings.data_updater_conn_retry.max_wait,
        settings.data_updater_conn_retry.attempts,
    )


def test_settings_are_frozen() -> None:
    """
    Built once at the edge and passed in.
    """
    settings: Any = CoreSettings()

    with pytest.raises(ValueError, match=r"frozen"):
        settings.log_level = "DEBUG"


def test_building_settings_by_hand_does_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A test gets what it asks for, whatever the machine has set.
    """
    monkeypatch.setenv("OPAL_LOG_LEVEL", "DEBUG")

    assert "INFO" == CoreSettings().log_level
    assert "ERROR" == CoreSettings(log_level="ERROR").log_level
    assert "DEBUG" == load_settings(CoreSettings).log_level


def test_empty_variable_counts_as_not_set() -> None:
    """
    Compose files write `OPAL_X=${OPAL_X:-}`.
    """
    assert core(FETCHING_WORKER_COUNT="").fetching_worker_count == CoreSettings().fetching_worker_count


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_blank_value_of_what_lets_people_in_is_an_error(blank: str) -> None:
    """
    It would leave open what it was meant to guard, and nobody would notice.
    """
    with pytest.raises(ConfigurationError, match=r"^OPAL_T_GUARD=.* is set and blank"):
        load_settings(PluginSettings, {"OPAL_T_GUARD": blank})
    assert load_settings(PluginSettings, {}).guard is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("0.5", 0.5), (" 3 ", 3), ("1e-3", 0.001)], ids=["int", "float", "space", "exp"]
)
def test_time_is_plain_seconds_in_the_environment(text: str, seconds: float) -> None:
    """
    As the peer writes it; a `timedelta` in Python.
    """
    assert timedelta(seconds=seconds) == core(REPORT_TIMEOUT=text).report_timeout


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "1e300", "PT5S", "true"])
def test_time_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    """
    The line says the unit.
    """
    assert f"OPAL_REPORT_TIMEOUT='{text}' should be a number of seconds" == complaint(REPORT_TIMEOUT=text)


@pytest.mark.parametrize("text", ["a,b", " a , b ,", '["a", "b"]'])
def test_names_are_written_with_commas_or_as_json(text: str) -> None:
    """
    Both ways that people write lists.
    """
    assert ("a", "b") == core(PLUGINS_DISABLED=text).plugins_disabled


@pytest.mark.parametrize(
    ("text", "level"), [("debug", "DEBUG"), ("WARN", "WARNING"), ("Trace", "DEBUG"), ("SUCCESS", "INFO")]
)
def test_log_level_takes_the_peers_levels(text: str, level: str) -> None:
    """
    The peer logs with levels of its own beside the usual ones.
    """
    assert level == core(LOG_LEVEL=text).log_level


def test_conn_retry_left_out_members_are_the_peers_model_defaults() -> None:
    """
    A partial JSON value means in the peer: fixed, 2 s, 2 attempts for what it leaves out.
    """
    assert ConnRetryOptions(attempts=7) == core(DATA_UPDATER_CONN_RETRY='{"attempts": 7}').data_updater_conn_retry
    assert ("fixed", timedelta(seconds=2)) == (ConnRetryOptions().wait_strategy, ConnRetryOptions().wait_time)


def test_conn_retry_is_read_under_its_older_name() -> None:
    """
    The peer still takes `OPAL_DATA_STORE_CONN_RETRY`.
    """
    assert 3 == core(DATA_STORE_CONN_RETRY='{"attempts": 3}').data_updater_conn_retry.attempts


@pytest.mark.parametrize(
    ("value", "longest_s"),
    [
        ('{"wait_strategy": "fixed", "wait_time": 3, "max_wait": 30}', 3),
        ('{"wait_strategy": "exponential", "wait_time": 3, "max_wait": 30}', 30),
        ('{"wait_strategy": "random_exponential", "wait_time": 3}', 60),
    ],
    ids=["fixed", "exponential", "no limit"],
)
def test_conn_retry_strategy_bounds_the_wait(value: str, longest_s: int) -> None:
    """
    A fixed wait does not grow; one that grows stops at `max_wait`, or at a minute.
    """
    assert timedelta(seconds=longest_s) == core(DATA_UPDATER_CONN_RETRY=value).data_updater_conn_retry.longest_wait


URL = "http://server:7002/data/callback_report"


@pytest.mark.parametrize(
    ("text", "callbacks"),
    [
        (URL, (URL,)),
        (f"{URL}, http://other", (URL, "http://other")),
        (f'["{URL}"]', (URL,)),
        (f'{{"callbacks": ["{URL}"]}}', (URL,)),
        (
            f'{{"callbacks": [["{URL}", {{"headers": {{"a": "b"}}}}], "http://other"]}}',
            ((URL, {"headers": {"a": "b"}}), "http://other"),
        ),
        (f'[["{URL}"]]', ((URL,),)),
        (f'["{URL}", {{"method": "put"}}]', ((URL, {"method": "put"}),)),
        (f'[("{URL}", {{"headers": {{"a": "b"}}}})]', ((URL, {"headers": {"a": "b"}}),)),
        (
            f'{{"callbacks":[("{URL}",{{"process_data":False,"is_json":true}})]}}',
            ((URL, {"process_data": False, "is_json": True}),),
        ),
        ("[]", ()),
    ],
    ids=["url", "urls", "list", "object", "pairs", "url-alone", "one-pair", "tuple", "mixed-literal", "none"],
)
def test_default_callbacks_are_read_in_every_notation(text: str, callbacks: tuple[object, ...]) -> None:
    """
    JSON, bare URLs, and the Python literal with tuples that the peer's page shows.
    """
    assert UpdateCallback(callbacks=callbacks) == core(DEFAULT_UPDATE_CALLBACKS=text).default_update_callbacks  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "text",
    ['[__import__("os").system("id")]', "[", "[5]", '{"callbacks": "x"}', "(" * 100_000, "[" * 100_000],
    ids=["code", "open", "number", "text", "deep-literal", "deep-json"],
)
def test_default_callbacks_that_are_none_are_refused_and_never_run(text: str) -> None:
    """
    A literal is read, not executed; the value may hold secrets and is not shown.
    """
    assert complaint(DEFAULT_UPDATE_CALLBACKS=text).startswith("OPAL_DEFAULT_UPDATE_CALLBACKS=******** should ")


def test_default_callback_config_keeps_what_it_leaves_out() -> None:
    """
    Headers alone must not turn the report's POST into a GET.
    """
    config = core(DEFAULT_UPDATE_CALLBACK_CONFIG='{"headers": {"authorization": "x"}}').default_update_callback_config

    assert {"method": "post", "headers": {"authorization": "x"}, "process_data": False} == config


def test_default_callback_config_that_is_no_object_is_refused() -> None:
    """
    Neither as text nor as another JSON value.
    """
    for text in ("post", "5"):
        assert complaint(DEFAULT_UPDATE_CALLBACK_CONFIG=text).startswith(
            "OPAL_DEFAULT_UPDATE_CALLBACK_CONFIG=******** should be a JSON object"
        )


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"FETCHING_WORKER_COUNT": "many"}, "OPAL_FETCHING_WORKER_COUNT='many' should be a whole number"),
        ({"FETCHING_WORKER_COUNT": "0"}, "OPAL_FETCHING_WORKER_COUNT='0' should be greater than or equal to 1"),
        ({"DATA_UPDATER_ENABLED": "maybe"}, "OPAL_DATA_UPDATER_ENABLED='maybe' should be true or false"),
        ({"PROBE_INTERVAL": "0"}, "OPAL_PROBE_INTERVAL='0' should be greater than 0 seconds"),
        (
            {"POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS": "often"},
            "OPAL_POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS='often' should be a number of seconds",
        ),
        (
            {"POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS": "-1"},
            "OPAL_POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS='-1' should be greater than 0 seconds",
        ),
        (
            {"POLICY_STORE_LIVENESS_PROBE_ENABLED": "maybe"},
            "OPAL_POLICY_STORE_LIVENESS_PROBE_ENABLED='maybe' should be true or false",
        ),
        ({"COMMIT_TIMEOUT": "0"}, "OPAL_COMMIT_TIMEOUT='0' should be greater than 0 seconds"),
        (
            {"LOG_LEVEL": "loud"},
            "OPAL_LOG_LEVEL='loud' should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'",
        ),
        ({"DATA_UPDATER_CONN_RETRY": "5"}, "OPAL_DATA_UPDATER_CONN_RETRY='5' should be a JSON object"),
        (
            {"DATA_STORE_CONN_RETRY": '{"attempts": "x"}'},
            'OPAL_DATA_STORE_CONN_RETRY=\'{"attempts": "x"}\' attempts should be a whole number',
        ),
    ],
)
def test_wrong_value_is_one_line_with_variable_value_and_what_would_be_right(
    environ: dict[str, str], line: str
) -> None:
    """
    The start stops with a line that can be acted on.
    """
    assert line == complaint(**environ)


def test_several_wrong_values_are_all_said() -> None:
    """
    Nobody wants to learn of them one start at a time.
    """
    lines = complaint(LOG_SERIALIZE="x", PIPELINE_MAX_BYTES="y").splitlines()

    assert ["OPAL_LOG_SERIALIZE='x'", "OPAL_PIPELINE_MAX_BYTES='y'"] == [line.partition(" ")[0] for line in lines]


def test_wrong_value_shows_no_password_and_no_end() -> None:
    """
    A URL's password is masked, and a long value is cut.
    """
    line = complaint(FETCHING_WORKER_COUNT="http://bob:hunter2@host/" + "x" * 500)

    assert "hunter2" not in line
    assert len(line) < 200


def test_wrong_secret_is_not_shown() -> None:
    """
    The line names the variable only.
    """

    class Short(Settings):
        key: SecretStr = Field(default=SecretStr(""), validation_alias="OPAL_T_KEY", max_length=3)

    with pytest.raises(ConfigurationError, match=r"^OPAL_T_KEY=\*\*\*\*\*\*\*\* ") as refused:
        load_settings(Short, {"OPAL_T_KEY": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_wrong_value_with_a_secret_inside_is_not_shown() -> None:
    """
    Also where the secret is in a model in a list of a union, and where a model holds itself.
    """

    class Login(BaseModel):
        password: SecretStr
        user: int
        next: "Login | None" = None

    class Deep(Settings):
        logins: list[Login] | None = Field(default=None, validation_alias="OPAL_T_LOGINS")
        marked: Annotated[int, Masked] = Field(default=0, validation_alias="OPAL_T_MARKED")

    with pytest.raises(ConfigurationError) as refused:
        load_settings(Deep, {"OPAL_T_LOGINS": '[{"password": "hunter2", "user": "bob"}]', "OPAL_T_MARKED": "hunter2"})
    assert [
        "OPAL_T_LOGINS=******** 0.user should be a whole number",
        "OPAL_T_MARKED=******** should be a whole number",
    ] == str(refused.value).splitlines()


def test_missing_required_value_says_what_it_is_for() -> None:
    """
    A field without default is asked for by its meaning.
    """

    class Required(Settings):
        url: str = Field(validation_alias="OPAL_T_URL", description="Where the engine is.")

    with pytest.raises(ConfigurationError, match=r"^OPAL_T_URL must be set: Where the engine is.$"):
        load_settings(Required, {})


def test_values_that_contradict_each_other_name_the_variables() -> None:
    """
    A check of the whole model belongs to no single variable.
    """

    class Pair(Settings):
        low: int = Field(default=1, validation_alias="OPAL_T_LOW")
        high: int = Field(default=0, validation_alias="OPAL_T_HIGH")

        @model_validator(mode="after")
        def check(self) -> "Pair":
            if self.low > self.high:
                raise ValueError("low must not be above high")
            return self

    with pytest.raises(ConfigurationError, match=r"^OPAL_T_LOW, OPAL_T_HIGH: low must not be above high$"):
        load_settings(Pair, {})


def test_text_that_looks_like_json_stays_text() -> None:
    """
    A template or a token may start with a brace.
    """
    settings = load_settings(PluginSettings, {"OPAL_T_TEMPLATE": '{"a": 1}', "OPAL_T_TOKEN": "[x]"})

    assert ('{"a": 1}', "[x]") == (settings.template, settings.token.get_secret_value())


def test_model_inside_a_model_is_written_as_json() -> None:
    """
    Also where it is optional.
    """
    assert Inner(depth=3) == load_settings(PluginSettings, {"OPAL_T_INNER": '{"depth": 3}'}).inner


def test_any_model_of_pydantic_settings_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A plugin is not forced to derive from ours.
    """

    class Plain(BaseSettings):
        url: str = Field(default="x", alias="OPAL_T_URL")
        many: list[int] = Field(default=[], alias="OPAL_T_MANY")

    assert "y" == load_settings(Plain, {"OPAL_T_URL": "y"}).url
    monkeypatch.setenv("OPAL_T_MANY", "[")
    with pytest.raises(ConfigurationError):
        load_settings(Plain)
