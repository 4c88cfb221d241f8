"""What all tests share: how hypothesis searches, the same in every run; that Ctrl-C counts; whom TLS trusts."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# A shell that starts tests in the background has them ignore Ctrl-C, and with them the programs that they try it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
    # Without `Phase.explain`, which traces every line and takes minutes here.
    "phases": [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
}

settings.register_profile("ci", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=5_000, **_COMMON)
settings.register_profile(
    "mutants", settings.get_profile("ci"), max_examples=200, phases=[Phase.explicit, Phase.generate], print_blob=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# hypothesis also tries numbers and words that it finds in our modules: in those that happen to be imported by then,
# which is another set for each order of the tests. So a search without chance would still not be the same twice.
providers._get_local_constants = Constants  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

_ONE_AUTHORITY = Path(__file__).parent / "tests" / "one_authority.pem"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have a test and the programs that it starts trust one authority in place of the system's hundred and fifty.

    Reading those takes up to 0.1 s of CPU for each HTTP client, and did for 60 % of what the tests of OPA took. No test
    relies on them, but those that reach the package registries.
    """
    if item.get_closest_marker("network"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(_ONE_AUTHORITY))
        return (yield)
