"""What `cabochon demo` is given to run an OPA of its own."""

import json
from pathlib import Path

import pytest

from cabochon.errors import ConfigurationError
from cabochon_opa.inline.sandbox import sandbox


def test_sandbox_listens_on_this_machine_alone_whatever_the_operator_has_set(opa_path: Path) -> None:
    """The operator's OPA is neither written to nor in the way, and credentials for it go nowhere."""
    theirs = {
        "OPAL_INLINE_OPA_EXEC_PATH": str(opa_path),
        "OPAL_POLICY_STORE_URL": "https://opa.example:8181",
        "OPAL_POLICY_STORE_AUTH_TYPE": "token",
        "OPAL_POLICY_STORE_AUTH_TOKEN": "SECRET",
        "OPAL_INLINE_OPA_CONFIG": '{"addr": "0.0.0.0:8181"}',
    }

    ours = sandbox(theirs)

    address = json.loads(ours["OPAL_INLINE_OPA_CONFIG"])["addr"]
    assert address.startswith("127.0.0.1:")
    assert f"http://{address}" == ours["OPAL_POLICY_STORE_URL"]
    assert ours["OPAL_OPA_BUNDLE_SERVICE_ADDR"].startswith("127.0.0.1:")
    assert ours["OPAL_OPA_BUNDLE_SERVICE_ADDR"] != address
    assert "none" == ours["OPAL_POLICY_STORE_AUTH_TYPE"]


def test_opa_that_runs_elsewhere_is_taken_as_it_is() -> None:
    """Whoever switches inline OPA off has an OPA to spare."""
    assert {} == sandbox({"OPAL_INLINE_OPA_ENABLED": "false"})


def test_missing_opa_is_said_before_anything_starts() -> None:
    """In one line, with how to get it."""
    with pytest.raises(ConfigurationError, match="go install") as caught:
        sandbox({"OPAL_INLINE_OPA_EXEC_PATH": "/nowhere/opa"})

    assert "\n" not in str(caught.value)
