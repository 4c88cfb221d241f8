"""Which trace an update belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon_opentelemetry.trace_ids import ChosenIds, links_to, trace_id_of


@given(st.text())
def test_every_name_has_a_valid_trace_id_that_stays(name: str) -> None:
    assert 0 < trace_id_of(name) < 2**128
    assert trace_id_of(name) == trace_id_of(name)


def test_uuid_is_the_trace_id() -> None:
    assert 0x0AF7651916CD43DD8448EB211C80319C == trace_id_of("0af76519-16cd-43dd-8448-eb211c80319c")


def test_no_uuid_of_zeros() -> None:
    assert 0 != trace_id_of("00000000-0000-0000-0000-000000000000")


def test_chosen_id_counts_once() -> None:
    ids = ChosenIds()
    ids.next_trace_id = 7
    assert 7 == ids.generate_trace_id()
    assert 7 != ids.generate_trace_id()


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-0-0-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_malformed_header_links_to_nothing(header: str | None) -> None:
    assert [] == links_to(header)


def test_header_links_to_its_span() -> None:
    (link,) = links_to("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert 0xB7AD6B7169203331 == link.context.span_id
