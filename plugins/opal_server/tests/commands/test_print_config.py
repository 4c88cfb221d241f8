"""`cabochon server print-config`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cabochon_opal_server.commands.server_cli import server


@pytest.mark.parametrize(
    ("environ", "status", "shown"),
    [
        ({}, 0, ["OPAL_SERVER_BIND_PORT=7002  (default)", "sqlite, from cabochon-opal-server"]),
        ({"OPAL_SERVER_BIND_PORT": "1"}, 0, ["OPAL_SERVER_BIND_PORT=1\n"]),
        ({"OPAL_AUTH_MASTER_TOKEN": "secret-of-ours"}, 0, ["OPAL_AUTH_MASTER_TOKEN=****"]),
        ({"OPAL_SERVER_BIND_PORT": "many"}, 1, ["cabochon: OPAL_SERVER_BIND_PORT"]),
        ({"OPAL_BROADCAST_URI": "carrier-pigeon://loft"}, 1, ["update log       none", "carrier-pigeon"]),
        ({"OPAL_SERVER_BIND_PRT": "1"}, 0, ["did you mean OPAL_SERVER_BIND_PORT?"]),
    ],
)
def test_what_would_run_is_shown(
    environ: dict[str, str], status: int, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(server, ["print-config"], help_option_names=["-h", "--help"])
    assert status == done.exit_code, done.output
    assert all(text in done.output for text in shown), done.output
    assert "secret-of-ours" not in done.output
