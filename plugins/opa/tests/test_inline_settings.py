"""Inline OPA's settings, its addresses and its command line: the peer's variables, the peer's meanings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cabochon import ConfigurationError, Plugins, Settings, load_settings
from cabochon.settings.model import variables_of
from cabochon.settings.page import setting_rows
from cabochon_opa import plugin
from cabochon_opa.inline.address import ListenAddress, mismatch
from cabochon_opa.inline.binary import find_opa, opa_version
from cabochon_opa.inline.command_line import opa_arguments
from cabochon_opa.inline.settings import InlineOpaSettings, OpaServerOptions
from cabochon_opa.settings import OpaStoreSettings


def settings(**variables: Any) -> InlineOpaSettings:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return load_settings(InlineOpaSettings, given)


def arguments(**variables: Any) -> list[str]:
    return opa_arguments(settings(**variables))


# -------------------------------------------------------------------------------------------------------- settings


def test_defaults_are_the_peer_s() -> None:
    """
    OPA is run, open to the network, v0, and its log is not shown.
    """
    ours = settings()

    assert ours.inline_enabled
    assert ours.v0_compatible
    assert "none" == ours.inline_log_format
    assert {
        "addr": "0.0.0.0:8181",
        "authentication": "off",
        "authorization": "off",
        "config_file": None,
        "tls_ca_cert_file": None,
        "tls_cert_file": None,
        "tls_private_key_file": None,
        "tls_cert_refresh_period": None,
        "log_level": "info",
        "files": None,
        "v0_compatible": False,
    } == ours.inline_options.model_dump()


def test_options_may_be_spelled_as_on_the_command_line() -> None:
    """
    `addr` and `--addr` are one.
    """
    spelled = {"--addr": ":1", "--tls-cert-file": "c", "log_level": "error", "--v0-compatible": True}
    options = settings(OPAL_INLINE_OPA_CONFIG=spelled).inline_options

    assert (":1", "c", "error", True) == (
        options.addr,
        options.tls_cert_file,
        options.log_level,
        options.v0_compatible,
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPAL_INLINE_OPA_CONFIG": "addr=:1"}, "OPAL_INLINE_OPA_CONFIG='addr=:1' should be a JSON object"),
        ({"OPAL_INLINE_OPA_CONFIG": '{"authentication": "basic"}'}, "authentication should be 'off', 'token' or 'tls'"),
        ({"OPAL_INLINE_OPA_LOG_FORMAT": "loud"}, "OPAL_INLINE_OPA_LOG_FORMAT='loud' should be 'none', 'minimal'"),
    ],
    ids=["no JSON", "authentication", "log format"],
)
def test_wrong_value_is_one_line(variables: dict[str, str], said: str) -> None:
    """
    It names the variable, the value, and what would be right.
    """
    with pytest.raises(ConfigurationError) as raised:
        load_settings(InlineOpaSettings, variables)

    assert said in str(raised.value)
    assert 1 == len(str(raised.value).splitlines())


def test_store_s_variables_mean_the_same_here() -> None:
    """
    What store and service share has one description and one default.
    """
    store: type[Settings] = OpaStoreSettings
    assert variables_of(store).items() <= variables_of(InlineOpaSettings).items()
    for name, field in store.model_fields.items():
        assert field.description == InlineOpaSettings.model_fields[name].description
        assert field.default == InlineOpaSettings.model_fields[name].default


def test_plugin_offers_inline_opa_for_its_store_alone() -> None:
    """
    And `cabochon config` lists each variable once, though store and service share most of them.
    """
    plugins = Plugins.of(("opa", plugin))
    variables = [row.variable for row in setting_rows(plugins.settings_models(), {})]

    assert ["inline-opa"] == [one.name for one in plugins.services_for("opa")]
    assert [] == plugins.services_for("MOCK")
    assert "OPAL_INLINE_OPA_CONFIG" in variables
    assert len(set(variables)) == len(variables)


# --------------------------------------------------------------------------------------------------- command line


def test_command_line_without_settings() -> None:
    """
    The defaults, v0, and nothing that calls home; silent, since nothing of its log would be shown.
    """
    assert [
        "run",
        "--server",
        "--skip-version-check",
        "--log-format=json",
        "--v0-compatible",
        "--addr=0.0.0.0:8181",
        "--authentication=off",
        "--authorization=off",
        "--log-level=error",
    ] == arguments()


def test_every_option_is_passed_on_and_files_come_last() -> None:
    """
    As the peer does it.
    """
    options = {
        "addr": "https://127.0.0.1:1",
        "authentication": "tls",
        "authorization": "basic",
        "config_file": "opa.yaml",
        "tls_ca_cert_file": "ca.pem",
        "tls_cert_file": "cert.pem",
        "tls_private_key_file": "key.pem",
        "tls_cert_refresh_period": "10m",
        "log_level": "debug",
        "files": ["authz.rego", "data.json"],
    }
    given = arguments(OPAL_INLINE_OPA_CONFIG=options, OPAL_OPA_V0_COMPAT="false")

    assert {
        "--addr=https://127.0.0.1:1",
        "--authentication=tls",
        "--authorization=basic",
        "--config-file=opa.yaml",
        "--tls-ca-cert-file=ca.pem",
        "--tls-cert-file=cert.pem",
        "--tls-private-key-file=key.pem",
        "--tls-cert-refresh-period=10m",
        "--log-level=debug",
    } <= set(given)
    assert ["authz.rego", "data.json"] == given[-2:]


@pytest.mark.parametrize(
    ("v0_compat", "option", "passed"),
    [("true", False, True), ("false", True, True), ("true", True, True), ("false", False, False)],
)
def test_either_setting_makes_v0(v0_compat: str, option: bool, passed: bool) -> None:  # noqa: FBT001 - a table
    """
    OPAL_OPA_V0_COMPAT, or the member of OPAL_INLINE_OPA_CONFIG.
    """
    given = arguments(OPAL_OPA_V0_COMPAT=v0_compat, OPAL_INLINE_OPA_CONFIG={"v0_compatible": option})

    assert passed == ("--v0-compatible" in given)


@pytest.mark.parametrize(
    ("log_format", "options", "level"),
    [("none", {}, "error"), ("none", {"log_level": "info"}, "info"), ("http", {}, "info"), ("full", {}, "info")],
)
def test_opa_writes_no_log_that_nobody_sees(log_format: str, options: dict[str, str], level: str) -> None:
    """
    Only a level that was asked for is kept with the format `none`.
    """
    given = arguments(OPAL_INLINE_OPA_LOG_FORMAT=log_format, OPAL_INLINE_OPA_CONFIG=options)

    assert [f"--log-level={level}"] == [one for one in given if one.startswith("--log-level")]


def test_bundle_delivery_configures_opa_for_our_bundle() -> None:
    """
    Service, bundle with long polling, and status; by REST nothing of it.
    """
    given = arguments(OPAL_OPA_POLICY_DELIVERY="bundle", OPAL_OPA_BUNDLE_SERVICE_ADDR="0.0.0.0:9000")

    assert {
        "--set=services.cabochon.url=http://127.0.0.1:9000",
        "--set=bundles.cabochon.service=cabochon",
        "--set=bundles.cabochon.resource=/bundles/cabochon.tar.gz",
        "--set=status.service=cabochon",
    } <= set(given)
    assert any(one.startswith("--set=bundles.cabochon.polling.long_polling_timeout_seconds=") for one in given)
    assert not any(one.startswith("--set") for one in arguments())


def test_unknown_member_is_not_passed_on() -> None:
    """
    The peer leaves it out; here a warning names it.
    """
    options = settings(OPAL_INLINE_OPA_CONFIG={"adr": ":1"}).inline_options

    assert {"adr": ":1"} == options.model_extra
    assert not any("adr=" in one.removeprefix("--addr") for one in arguments(OPAL_INLINE_OPA_CONFIG={"adr": ":1"}))


# -------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("addr", "tls", "url"),
    [
        ("0.0.0.0:8181", False, "http://127.0.0.1:8181"),
        (":8181", False, "http://127.0.0.1:8181"),
        ("[::]:8181", False, "http://[::1]:8181"),
        ("[::1]:8181", True, "https://[::1]:8181"),
        ("localhost:8181", True, "https://localhost:8181"),
        ("http://127.0.0.1:1", True, "http://127.0.0.1:1"),
        ("https://0.0.0.0:1", False, "https://127.0.0.1:1"),
        ("127.0.0.1:1,unix:///opa.sock", False, "http://127.0.0.1:1"),
        ("unix:///run/opa.sock", True, "http://opa"),
    ],
)
def test_address_is_reached_from_here(addr: str, tls: bool, url: str) -> None:  # noqa: FBT001 - a table
    """
    Every interface is this machine too.
    """
    assert url == ListenAddress.parse(addr, tls=tls).url


def test_socket_has_a_path() -> None:
    """
    And is named as in OPAL_POLICY_STORE_URL.
    """
    address = ListenAddress.parse("unix:///run/opa.sock", tls=False)

    assert ("/run/opa.sock", "unix:///run/opa.sock") == (address.socket_path, str(address))


@pytest.mark.parametrize("addr", ["", "8181", "127.0.0.1:many", "http://", "[::1", "::", "unix:"])
def test_address_that_can_t_be_read_is_left_to_opa(addr: str) -> None:
    """
    No guess is made of its port.
    """
    assert ListenAddress.parse(addr, tls=False).port is None


@pytest.mark.parametrize(
    ("url", "addr", "why"),
    [
        ("http://localhost:8181", "0.0.0.0:8181", None),
        ("http://opa.internal:8181/", ":8181", None),
        ("http://localhost", "localhost:80", None),
        ("unix:///a", "unix:///a", None),
        ("http://localhost:8181", "127.0.0.1:8182", "port 8181 is not port 8182"),
        ("http://localhost", ":8181", "port 80 is not port 8181"),
        ("https://localhost:8181", ":8181", "the one is https, the other http"),
        ("unix:///a", "unix:///b", "a Unix socket that the other is not"),
        ("http://localhost:8181", "unix:///a", "a Unix socket that the other is not"),
    ],
)
def test_store_s_url_that_leads_elsewhere_is_noticed(url: str, addr: str, why: str | None) -> None:
    """
    By port, scheme and socket; a machine has many names, so hosts are not compared.
    """
    said = mismatch(url, ListenAddress.parse(addr, tls=False))

    assert why is None if said is None else why is not None and why in said


# ------------------------------------------------------------------------------------------------------ the binary


def executable(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def test_opa_is_found_where_the_setting_says_else_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The setting wins.
    """
    on_path = executable(tmp_path / "opa", "")
    other = executable(tmp_path / "other-opa", "")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert on_path == find_opa()
    assert other == find_opa(str(other))
    assert other == find_opa("other-opa")


def test_without_opa_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And the two settings that solve it.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "no-program").touch()
    for exec_path, why in {
        None: "there is none on PATH",
        "/no/such/opa": "OPAL_INLINE_OPA_EXEC_PATH='/no/such/opa' does not exist",
        str(tmp_path / "no-program"): "can't be executed",
    }.items():
        with pytest.raises(ConfigurationError) as raised:
            find_opa(exec_path)
        said = str(raised.value)
        assert why in said
        assert 1 == len(said.splitlines())
        for needed in (
            "openpolicyagent.org",
            "go install github.com/open-policy-agent/opa@latest",
            "OPAL_INLINE_OPA_EXEC_PATH",
            "OPAL_INLINE_OPA_ENABLED=False",
        ):
            assert needed in said


async def test_binary_says_its_version(opa_path: Path, tmp_path: Path) -> None:
    """
    What is no OPA does not, and is named.
    """
    assert (1, 0) < await opa_version(opa_path)
    for other in (executable(tmp_path / "sh", "#!/bin/sh\necho no opa\n"), tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match=str(other)):
            await opa_version(other)


def test_options_are_frozen() -> None:
    """
    Settings do not change while the agent runs.
    """
    with pytest.raises(ValueError, match="frozen"):
        OpaServerOptions().addr = "x"  # type: ignore[misc]
