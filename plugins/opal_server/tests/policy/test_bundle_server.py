"""Servers of bundles: what is no bundle, and S3's signature."""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.bundle_server import BundleServer, Credentials
from cabochon_opal_server.policy.repository import RepositoryError

from .commits import tarball

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # the example of AWS's own documentation


class Answers(BaseHTTPRequestHandler):
    """Answers with what it is told to."""

    content: ClassVar[bytes] = b""
    status: ClassVar[int] = 200
    asked: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Say nothing."""


@contextmanager
def serving(handler: type[Answers]) -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/bucket"
        finally:
            server.shutdown()
            thread.join()


def link() -> bytes:
    """An archive with links out of it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, kind in (("a.rego", tarfile.SYMTYPE), ("b.rego", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    return packed.getvalue()


WRONG: dict[str, tuple[bytes, int]] = {
    "no archive": (b"no archive", 200),
    "empty": (b"", 200),
    "cut off": (tarball({"a.rego": b"x" * 9000})[:60], 200),
    "missing": (b"", 404),
    "failed": (b"", 500),
    "unchanged since never": (b"", 304),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_what_is_no_bundle_is_refused(kind: str) -> None:
    content, status = WRONG[kind]
    handler = type("Handler", (Answers,), {"content": content, "status": status, "asked": []})
    with serving(handler) as url, pytest.raises(RepositoryError):
        await BundleServer(url, Credentials(), BundleRules()).newest()


async def test_links_lead_nowhere() -> None:
    with serving(type("Handler", (Answers,), {"content": link(), "asked": []})) as url:
        assert {} == (await BundleServer(url, Credentials(), BundleRules()).newest()).files


async def test_equal_content_has_an_equal_hash() -> None:
    found: list[str] = []
    for files in ({"a.rego": b"1", "b.rego": b"2"}, {"b.rego": b"2", "a.rego": b"1"}, {"a.rego": b"12", "b.rego": b""}):
        with serving(type("Handler", (Answers,), {"content": tarball(files), "asked": []})) as url:
            found.append((await BundleServer(url, Credentials(), BundleRules()).newest()).hash)
    assert found[0] == found[1] != found[2]


async def test_request_to_s3_is_signed() -> None:
    """
    The signature is made again from what was sent, as "Signature Version 4" of AWS says.
    """
    handler = type("Handler", (Answers,), {"content": tarball({"a.rego": b"package a"}), "asked": []})
    with serving(handler) as url:
        credentials = Credentials(token=SECRET, token_id="AKIDEXAMPLE", region="eu-west-1")
        await BundleServer(url, credentials, BundleRules()).newest()
    (asked,) = handler.asked
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(\d{8})/eu-west-1/s3/aws4_request, "
        r"SignedHeaders=([\w;-]+), Signature=([0-9a-f]{64})",
        asked["authorization"],
    )
    assert found is not None
    day, names, signature = found.groups()
    headers = "".join(f"{name}:{asked[name]}\n" for name in names.split(";"))
    request = f"GET\n/bucket/bundle.tar.gz\n\n{headers}\n{names}\n{asked['x-amz-content-sha256']}"
    scope = f"{day}/eu-west-1/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{asked['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, "eu-west-1", "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == signature
