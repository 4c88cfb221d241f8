"""What HTTP's rules mean for retries and headers."""

import pytest

from cabochon.kit.http.semantics import HeaderError, header_fields, may_succeed_later, retry_after_s

EPOCH = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, RFC 9110's example


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:50:07 GMT", 30.0),
        ("Sun Nov  6 08:50:07 1994", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("9" * 400, None),
        ("Sun, 06 Nov 99999 08:50:07 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both notations of RFC 9110 are honoured; nonsense counts as no wish."""
    assert seconds == retry_after_s(value, now=lambda: EPOCH)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_status_that_asks_for_patience_may_succeed_later(status: int) -> None:
    """Overload and failures of the server pass."""
    assert may_succeed_later(status)


@pytest.mark.parametrize("status", [301, 304, 400, 401, 403, 404, 409, 410, 422])
def test_status_that_refuses_does_not_change_by_itself(status: int) -> None:
    """What the request itself caused stays."""
    assert not may_succeed_later(status)


def test_headers_take_the_place_of_defaults_without_case() -> None:
    """A configured header replaces the default of the same name."""
    fields = header_fields({"ACCEPT": "text/plain", "X-Name": " J\u00f6rg "}, [("accept", "*/*"), ("user-agent", "us")])

    assert [(b"ACCEPT", b"text/plain"), (b"user-agent", b"us"), (b"X-Name", "J\u00f6rg".encode())] == fields


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"X-Token": "sec\nret"}, "X-Token"),
        ({"X-Token": "sec\x00ret"}, "X-Token"),
        ({"X Token": "secret"}, "X Token"),
        ({"": "secret"}, "''"),
        ({"Content-Length": "5"}, "Content-Length"),
        ({"Transfer-Encoding": "chunked"}, "Transfer-Encoding"),
    ],
)
def test_header_that_cannot_be_sent_is_named_without_its_value(headers: dict[str, str], named: str) -> None:
    """A header that would break or smuggle a request is refused by name."""
    with pytest.raises(HeaderError) as caught:
        header_fields(headers)

    assert named in str(caught.value)
    assert "ret" not in str(caught.value).replace("header", "")
