"""Why a connection failed, in words."""

import errno
import socket
import ssl

import pytest

from cabochon.kit.http.failures import network_failure


def wrapped(cause: BaseException) -> BaseException:
    outer = RuntimeError("All connection attempts failed")
    outer.__cause__ = OSError("All connection attempts failed")
    outer.__cause__.__cause__ = cause
    return outer


def untrusted() -> ssl.SSLCertVerificationError:
    err = ssl.SSLCertVerificationError(1, "certificate verify failed")
    err.verify_message = "self-signed certificate"
    return err


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (ExceptionGroup("several", [OSError(errno.EHOSTUNREACH, "x"), OSError("y")]), "No route to host"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (untrusted(), "its certificate is not trusted (self-signed certificate)"),
        (ValueError("secret"), "the connection broke"),
    ],
    ids=["refused", "group", "unknown name", "not trusted", "no words"],
)
def test_network_failure_has_the_innermost_words(cause: BaseException, words: str) -> None:
    """What the system said is found under whatever libraries wrapped around it."""
    assert words == network_failure(wrapped(cause))


def test_network_failure_names_what_tls_did_not_like() -> None:
    """A failure of TLS has its reason's name, not an unrelated error of the system."""
    err = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    err.reason = "WRONG_VERSION_NUMBER"

    assert "TLS failed (WRONG_VERSION_NUMBER)" == network_failure(err)
