"""TLS as the server speaks it: its own certificate, and whatever certificate a client shows.

As with upstream's server (Go's `RequestClientCert`), the handshake takes any certificate of a client, or none, and only
proves that the client has its key. Who issued it, until when, and whom it names is looked at with the request
(`kube_core.serving.client_certificates`); so whoever comes with a bad one is told 401, or is known by another
credential, instead of being cut off without a word.

Python's ssl asks for a certificate only together with OpenSSL's own verification of it, so OpenSSL is given a verifier
that lets everything pass. Where that cannot be done (another Python than those whose contexts are known), OpenSSL
verifies against the given authorities: nobody more gets in, and a bad certificate ends the handshake.

Sessions are not resumed: a resumed one has lost the intermediate certificates that its client showed.
"""

from __future__ import annotations

import ssl
import sys
from typing import Any, Final

from kube_core._kit.logs import get_logger

__all__ = ["peer_chain", "server_context", "show"]

_log = get_logger("kube_core.serving.tls")
#: Pythons of which it is known that a context's structure begins with the pointer to OpenSSL's.
_KNOWN: Final = sys.implementation.name == "cpython" and (3, 11) <= sys.version_info[:2] <= (3, 14)
#: OpenSSL keeps no reference to the verifier, so it is kept here.
_kept: list[Any] = []


def server_context(certificate: bytes, key: bytes, authorities: bytes) -> ssl.SSLContext:
    """What connections are made with, all of it PEM.

    `authorities`: whose certificates pass where not all of them can be let pass.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    show(context, certificate, key)
    context.load_verify_locations(cadata=authorities.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    if not _let_all_pass(context):
        _log.info("bad certificates of clients end the handshake, instead of being answered with 401")
    context.set_alpn_protocols(["http/1.1"])
    return context


def show(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Have the connections from now on begin with this certificate, PEM."""
    import tempfile

    # The ssl module reads keys from files only; this one is ours alone and gone at once.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)


def peer_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """The client's certificate and those that it sent along, in DER; empty where it has none."""
    if connection.getpeercert(binary_form=True) is None:
        return ()
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # since Python 3.13
        return tuple(public())
    import _ssl

    found = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return tuple(each.public_bytes(_ssl.ENCODING_DER) for each in found)


def _let_all_pass(context: ssl.SSLContext) -> bool:
    """Whether OpenSSL has been told to verify nothing but the client's hold of its key."""
    import _ssl
    import ctypes

    if not _KNOWN:
        return False
    try:
        # A handle of the very library that the ssl module is linked to.
        library = ctypes.CDLL(_ssl.__file__)
        set_verifier, verify_mode = library.SSL_CTX_set_cert_verify_callback, library.SSL_CTX_get_verify_mode
    except (AttributeError, OSError):
        return False
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    verify_mode.argtypes = [ctypes.c_void_p]
    if verify_mode(pointer) != int(context.verify_mode):
        return False
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    if not _kept:
        _kept.append(kind(_passes))
    set_verifier.argtypes = [ctypes.c_void_p, kind, ctypes.c_void_p]
    set_verifier.restype = None
    set_verifier(pointer, _kept[0], None)
    return True


def _passes(_store: Any, _argument: Any) -> int:
    return 1
