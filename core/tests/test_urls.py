"""URLs in messages lead somewhere and hold no secret."""

import pytest

from cabochon.urls import masked_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://data.example/users", "http://data.example/users"),
        ("https://data.example:8443/a/b", "https://data.example:8443/a/b"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://bob:secret@data.example/users", "https://data.example/users"),
        ("https://bob:se@cret@data.example/users", "https://data.example/users"),
        ("https://token@data.example", "https://data.example"),
        ("postgresql://bob:secret@db/users?sslmode=require", "postgresql://db/users?sslmode=***"),
        ("http://h/x?token=secret&page=2", "http://h/x?token=***&page=***"),
        ("http://h/x?secret", "http://h/x?***"),
        ("http://h/x?token=secret#secret", "http://h/x?token=***"),
        ("http://h/x?", "http://h/x?***"),
        ("/users?token=secret", "/users?token=***"),
        ("http://bob:se/cret@h/x", "http://***"),
        ("http://bob:se?cret@h/x", "http://***?***"),
        ("http://bob:se#cret@h/x", "http://***"),
        ("bob:secret@h/x", "***"),
        ("http://h/a\nb", "http://h/a%0Ab"),
        ("http://h/caf\u00e9", "http://h/caf\u00e9"),
        ("", ""),
    ],
)
def test_masked_url_keeps_the_way_and_drops_the_secrets(url: str, shown: str) -> None:
    """User, password, fragment and the values of a query are never shown."""
    assert shown == masked_url(url)
