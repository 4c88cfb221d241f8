"""Where an agent may be sent, address by address."""

from __future__ import annotations

import socket

import pytest
from pydantic import Field

from cabochon import ConfigurationError, Settings, load_settings
from cabochon.kit.http.reach import OutOfReachError, Places, Reach, literal_address

OWN = ("http://127.0.0.1:8181", "http://localhost:7000", "http://0.0.0.0:7001", "http://[::1]:7002", "unix:///run/opa")


def reach(allowed: str = "", denied: str = "") -> Reach:
    lists = load_settings(Lists, {"OPAL_T_ALLOWED": allowed, "OPAL_T_DENIED": denied})
    made = Reach("OPAL_T", lists.allowed, lists.denied)
    made.avoid(OWN)
    return made


class Lists(Settings):
    allowed: Places = Field(default=(), validation_alias="OPAL_T_ALLOWED")
    denied: Places = Field(default=(), validation_alias="OPAL_T_DENIED")


async def is_within(bounds: Reach, host: str, port: int, address: str) -> bool:
    try:
        await bounds.check(host, port, address)
    except OutOfReachError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "port", "address", "expected"),
    [
        ("127.0.0.1", 8000, "127.0.0.1", True),
        ("data.example", 443, "93.184.216.34", True),
        ("intranet", 8181, "10.0.0.7", True),
        ("127.0.0.1", 8181, "127.0.0.1", False),
        ("rebound.example", 8181, "127.0.0.1", False),
        ("127.0.0.2", 8181, "127.0.0.2", False),
        ("0.0.0.0", 8181, "0.0.0.0", False),
        ("x", 8181, "::1", False),
        ("x", 8181, "::ffff:127.0.0.1", False),
        ("LOCALHOST.", 7000, "127.0.0.1", False),
        ("x", 7001, "127.0.0.1", False),
        ("x", 7002, "127.0.0.1", False),
        ("169.254.169.254", 80, "169.254.169.254", False),
        ("metadata.example", 80, "169.254.169.254", False),
        ("x", 80, "::ffff:169.254.169.254", False),
        ("x", 80, "64:ff9b::a9fe:a9fe", False),
        ("x", 80, "fe80::1%eth0", False),
        ("x", 80, "fd00:ec2::254", False),
        ("x", 80, "100.100.100.200", False),
    ],
)
async def test_engine_agent_and_metadata_are_out_of_bounds(
    host: str, port: int, address: str, *, expected: bool
) -> None:
    """
    By whatever name or notation they are reached; other ports of this machine, and other machines, are not.
    """
    assert expected == await is_within(reach(), host, port, address)


async def test_other_addresses_of_this_machine_lead_to_the_same_engine() -> None:
    """
    An engine that listens on all of them is found on each.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no other address")
        address = str(probe.getsockname()[0])

    assert not await is_within(reach(), "me.example", 8181, address)
    assert await is_within(reach(), "me.example", 8182, address)


async def test_what_is_allowed_is_all_that_is() -> None:
    """
    Hosts with and without a port, names below one, networks; what is denied stays so.
    """
    bounds = reach("data.example, *.corp.example:8443, 10.0.0.0/8", "10.9.0.0/16")
    within = [
        ("data.example", 443, "203.0.113.1"),
        ("a.corp.example", 8443, "203.0.113.1"),
        ("x", 80, "10.1.2.3"),
        ("corp.example", 8443, "203.0.113.1"),
        ("a.corp.example", 443, "203.0.113.1"),
        ("other.example", 443, "203.0.113.1"),
        ("data.example.evil", 443, "203.0.113.1"),
        ("x", 80, "10.9.0.1"),
        ("127.0.0.1", 80, "127.0.0.1"),
    ]
    assert [True] * 3 + [False] * 6 == [await is_within(bounds, *one) for one in within]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("", (False, False)),
        ("*", (False, False)),
        ("*,169.254.169.254", (True, False)),
        ("*,127.0.0.1", (False, False)),
        ("*,127.0.0.1:8181", (False, True)),
    ],
)
async def test_what_is_out_of_bounds_by_default_is_allowed_by_name_alone(
    allowed: str, expected: tuple[bool, bool]
) -> None:
    """
    The engine and the agent only with their port: whoever allows a machine may not think of them.
    """
    bounds = reach(allowed)

    assert expected == (
        await is_within(bounds, "169.254.169.254", 80, "169.254.169.254"),
        await is_within(bounds, "127.0.0.1", 8181, "127.0.0.1"),
    )


async def test_schemes_are_bounds_of_their_own() -> None:
    """
    Beside hosts, which go on counting.
    """
    for bounds in (reach("https:"), reach("https://, *"), reach(denied="http:")):
        await bounds.check_url("https", "data.example", 443)
        with pytest.raises(OutOfReachError, match=r"OPAL_T_.* http"):
            await bounds.check_url("http", "data.example", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "::1", "0177.0.0.1"])
async def test_url_with_an_address_is_checked_at_once(host: str) -> None:
    """
    In all ways in which systems take one.
    """
    with pytest.raises(OutOfReachError, match="own engine"):
        await reach().check_url("http", host, 8181)
    assert literal_address("data.example") is None


async def test_name_that_a_proxy_is_to_resolve_is_resolved_here_too() -> None:
    """
    What can't be is the proxy's to bound.
    """
    await reach().check_url("http", "localhost", 8181)
    with pytest.raises(OutOfReachError):
        await reach().check_url("http", "localhost", 8181, at_a_distance=True)
    await reach().check_url("http", "nowhere.invalid", 8181, at_a_distance=True)


@pytest.mark.parametrize("item", ["http://host/path", "host:port", "ho st", "10.0.0.0/99", "a*b"])
def test_list_that_is_none_names_the_variable(item: str) -> None:
    """
    With the item, and what one looks like.
    """
    with pytest.raises(ConfigurationError, match=r"^OPAL_T_DENIED=.*is no place.*data\.example"):
        load_settings(Lists, {"OPAL_T_DENIED": item})
