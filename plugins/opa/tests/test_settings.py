"""The peer's variables with the peer's values, and what is said to values that are wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon.settings.conn_retry import ConnRetryOptions
from cabochon.settings.core import load_settings
from cabochon_opa.open_store import open_opa_store
from cabochon_opa.settings import OpaStoreSettings

TYPE = "OPAL_POLICY_STORE_AUTH_TYPE"
STORE = "OPAL_POLICY_STORE_"


def settings_of(**environ: str) -> OpaStoreSettings:
    return load_settings(OpaStoreSettings, {STORE + name: value for name, value in environ.items()})


def complaint_of(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(**environ)
    return str(caught.value)


def test_defaults_are_the_peers() -> None:
    """Where the peer has a variable of that name."""
    usual = settings_of()

    assert usual.policy_store_url == "http://localhost:8181"
    assert usual.auth_type == "none"
    assert usual.policy_paths_to_ignore == ()
    assert usual.v0_compatible
    assert not usual.split_root_data
    assert {
        None,
        *(usual.auth_token, usual.oauth_server, usual.oauth_client_id, usual.oauth_client_secret),
        *(usual.tls_ca, usual.tls_client_cert, usual.tls_client_key),
    } == {None}


def test_no_connection_is_tried_twice_unless_that_is_asked_for() -> None:
    """Unlike in the peer, where everything is done twice: here what could not be written is written later anyway."""
    assert settings_of().conn_retry is None
    assert settings_of(CONN_RETRY='{"attempts": 5, "wait_time": 0.5}').conn_retry == ConnRetryOptions(
        attempts=5, wait_time=timedelta(seconds=0.5)
    )


@pytest.mark.parametrize("text", ["token", "TOKEN", " Token "])
def test_type_of_authentication_in_any_case(text: str) -> None:
    """The peer wants lower case."""
    assert settings_of(AUTH_TYPE=text, AUTH_TOKEN="t").auth_type == "token"


def test_a_token_from_a_file_may_end_with_a_newline() -> None:
    """As `$(cat token)` does not, but a mounted secret does."""
    token = settings_of(AUTH_TYPE="token", AUTH_TOKEN="letmein\n").auth_token

    assert token is not None
    assert token.get_secret_value() == "letmein"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"URL": "localhost:8181"},
            f"{STORE}URL='localhost:8181' should be http://host:port, https://host:port or unix:///path/of/a/socket",
        ),
        (
            {"URL": "http://me:hidden@opa:port/"},
            f"{STORE}URL='http://***' should be http://host:port, https://host:port or unix:///path/of/a/socket",
        ),
        (
            {"URL": "http://"},
            f"{STORE}URL='http://' should be http://host:port, https://host:port or unix:///path/of/a/socket",
        ),
        (
            {"URL": "http://[::1"},
            f"{STORE}URL='http://***' should be http://host:port, https://host:port or unix:///path/of/a/socket",
        ),
        (
            {"URL": "unix://opa.sock"},
            f"{STORE}URL='unix://opa.sock' should give the whole path of the socket, as in unix:///run/opa.sock",
        ),
        ({"TIMEOUT": "0"}, f"{STORE}TIMEOUT='0' should be greater than 0 seconds"),
        ({"AUTH_TYPE": "basic"}, f"{STORE}AUTH_TYPE='basic' should be 'none', 'token', 'oauth' or 'tls'"),
        (
            {"AUTH_TYPE": "token"},
            f"{STORE}AUTH_TOKEN must be set: Bearer token for the engine, with OPAL_POLICY_STORE_AUTH_TYPE=token.",
        ),
        (
            {"AUTH_TYPE": "token", "AUTH_TOKEN": "two\nlines"},
            f"{STORE}AUTH_TOKEN=******** should be one line of ASCII characters",
        ),
        (
            {"AUTH_TYPE": "token", "AUTH_TOKEN": "schlüssel"},
            f"{STORE}AUTH_TOKEN=******** should be one line of ASCII characters",
        ),
        (
            {"AUTH_TYPE": "oauth", "AUTH_OAUTH_SERVER": "https://login/", "AUTH_OAUTH_CLIENT_ID": "agent"},
            (
                f"{STORE}AUTH_OAUTH_CLIENT_SECRET must be set:"
                " Our client secret at the OAuth server, with OPAL_POLICY_STORE_AUTH_TYPE=oauth."
            ),
        ),
        (
            {"AUTH_OAUTH_SERVER": "login.example"},
            f"{STORE}AUTH_OAUTH_SERVER='login.example' should be a URL such as https://login.example.com/oauth/token",
        ),
        (
            {"AUTH_TYPE": "tls"},
            (
                f"{STORE}TLS_CLIENT_CERT must be set: PEM file with our certificate,"
                " for OPAL_POLICY_STORE_AUTH_TYPE=tls; shown with other types, too."
            ),
        ),
        (
            {"TLS_CLIENT_KEY": "k.pem"},
            f"{STORE}TLS_CLIENT_KEY='k.pem' is of no use without OPAL_POLICY_STORE_TLS_CLIENT_CERT",
        ),
        ({"CONN_RETRY": "often"}, f"{STORE}CONN_RETRY='often' should be a JSON object"),
        (
            {"CONN_RETRY": '{"attempts": 0}'},
            f"{STORE}CONN_RETRY='{{\"attempts\": 0}}' attempts should be greater than or equal to 1",
        ),
        (
            {"POLICY_PATHS_TO_IGNORE": "[a"},
            (
                f"{STORE}POLICY_PATHS_TO_IGNORE='[a' should be names separated by commas, or a JSON list"
                " (Expecting value: line 1 column 2 (char 1))"
            ),
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_would_be_right(environ: dict[str, str], line: str) -> None:
    """It names the variable, and shows no secret."""
    assert complaint_of(**environ) == line


def test_all_that_oauth_needs_is_asked_for_at_once() -> None:
    """One line for each variable."""
    assert [line.partition(" ")[0] for line in complaint_of(AUTH_TYPE="oauth").splitlines()] == [
        f"{STORE}AUTH_OAUTH_CLIENT_ID",
        f"{STORE}AUTH_OAUTH_CLIENT_SECRET",
        f"{STORE}AUTH_OAUTH_SERVER",
    ]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"TLS_CA": "missing.pem"}, f"{STORE}TLS_CA: ca_file '"),
        ({"TLS_CA": "garbage.pem"}, f"{STORE}TLS_CA: ca_file '"),
        ({"TLS_CLIENT_CERT": "missing.pem"}, f"{STORE}TLS_CLIENT_CERT: client_cert '"),
        (
            {"TLS_CLIENT_CERT": "garbage.pem", "TLS_CLIENT_KEY": "missing.pem"},
            f"{STORE}TLS_CLIENT_CERT, {STORE}TLS_CLIENT_KEY: client_cert '",
        ),
    ],
)
async def test_a_wrong_file_is_named_with_its_variable(tmp_path: Path, variables: dict[str, str], named: str) -> None:
    """Before anything is sent, so that the start stops."""
    (tmp_path / "garbage.pem").write_text("this is no certificate")
    settings = settings_of(
        URL="https://localhost:8181", **{name: str(tmp_path / file) for name, file in variables.items()}
    )

    with pytest.raises(ConfigurationError) as caught:
        async with open_opa_store(settings):
            pytest.fail("opened")

    assert str(caught.value).startswith(named)
    assert "\n" not in str(caught.value)
