"""How an idle policy store is looked at: the peer's names, within our promises."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from cabochon.settings.core import CoreSettings, load_settings
from cabochon.sync.engine.options import ProbeOptions

ENABLED = "OPAL_POLICY_STORE_LIVENESS_PROBE_ENABLED"
INTERVAL = "OPAL_POLICY_STORE_LIVENESS_PROBE_INTERVAL_SECONDS"
TIMEOUT = "OPAL_POLICY_STORE_LIVENESS_PROBE_TIMEOUT_SECONDS"


def probing_of(**environ: str) -> ProbeOptions:
    return ProbeOptions.of(load_settings(CoreSettings, environ))


def test_a_hung_engine_is_found_within_five_seconds_by_default() -> None:
    """
    Interval and timeout together; the peer's 10 s and 2 s would not do.
    """
    usual = probing_of()

    assert ProbeOptions(enabled=True, interval_s=1.0, timeout_s=3.0) == usual
    assert usual.interval_s + usual.timeout_s < 5


def test_peers_names_are_read() -> None:
    """
    What is within the promises is used as it is.
    """
    with capture_logs() as logs:
        assert ProbeOptions(enabled=False, interval_s=2.0, timeout_s=4.0) == probing_of(
            **{ENABLED: "False", INTERVAL: "2", TIMEOUT: "4"}
        )
    assert not logs


def test_our_older_name_is_read_too() -> None:
    """
    The peer's name wins where both are set.
    """
    assert 0.5 == probing_of(OPAL_PROBE_INTERVAL="0.5").interval_s
    assert 2.0 == probing_of(**{"OPAL_PROBE_INTERVAL": "0.5", INTERVAL: "2"}).interval_s


@pytest.mark.parametrize(("variable", "attribute"), [(INTERVAL, "interval_s"), (TIMEOUT, "timeout_s")])
def test_what_is_too_long_is_cut_with_a_warning(variable: str, attribute: str) -> None:
    """
    Who moves over from the peer with its 10 seconds must get an agent that starts.
    """
    with capture_logs() as logs:
        cut = probing_of(**{variable: "10"})

    assert 5.0 == getattr(cut, attribute)
    assert [
        {"event": "probe.shortened", "log_level": "warning", "variable": variable, "wanted_s": 10.0, "used_s": 5.0}
    ] == logs
