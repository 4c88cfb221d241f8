"""A wrong setting leaves task groups as the one line that it is."""

import pytest

from cabochon import ConfigurationError
from cabochon.error_groups import bare_configuration_errors, configuration_error_in, described

WRONG = ConfigurationError("OPAL_PORT=80 should be another port")


def test_configuration_error_is_found_however_deep() -> None:
    """
    Groups inside groups are looked through; the first of several is taken.
    """
    group = BaseExceptionGroup("a", [ExceptionGroup("b", [WRONG]), ConfigurationError("second")])

    assert WRONG is configuration_error_in(group)


def test_other_errors_are_not_hidden_by_a_configuration_error() -> None:
    """
    A group with anything else in it stays a group.
    """
    group = ExceptionGroup("a", [WRONG, OSError("disk full")])

    assert configuration_error_in(group) is None
    with pytest.raises(ExceptionGroup), bare_configuration_errors():
        raise group


def test_configuration_error_leaves_without_its_groups() -> None:
    """
    The caller catches what was raised.
    """
    with pytest.raises(ConfigurationError) as raised, bare_configuration_errors():
        raise ExceptionGroup("a", [WRONG])

    assert WRONG is raised.value


def test_group_is_described_by_what_is_in_it() -> None:
    """
    A log line names the errors, not the groups around them.
    """
    group = ExceptionGroup("a", [ExceptionGroup("b", [OSError("disk full")]), ValueError("no number")])

    assert "OSError: disk full; ValueError: no number" == described(group)
