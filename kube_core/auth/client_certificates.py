"""Client certificates: a user by common name, its groups by organisations (upstream's x509 authentication).

TLS has seen that the client holds the key, and that somebody whom the server trusts vouches for it. That may be the
authority of front proxies too, so here the issuer is looked at again: only certificates that lead to an authority of
clients are users. Signatures are checked once for each certificate, its time on every request, by the project's clock.

`cryptography` is imported when the first certificate comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.transport import User
from kube_core.meta.status import Unauthorized

__all__ = ["ClientCertificates", "TrustedCertificate"]

_CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"
#: The attribute of a subject that carries a user's uid.
_UID: Final = "1.3.6.1.4.1.57683.2"


@attrs.frozen
class TrustedCertificate:
    """What a certificate says, that was issued by an authority that is trusted for it. Times in seconds."""

    name: str
    groups: tuple[str, ...]
    uid: str
    fingerprint: str
    not_before: float
    not_after: float


class ClientCertificates:
    """Reads certificates of the authorities of clients."""

    def __init__(self, authorities: bytes, clock: Clock) -> None:
        """`authorities`: certificates in PEM, one or more."""
        self._authorities = authorities
        self._clock = clock

    def read(self, certificate: bytes) -> TrustedCertificate | None:
        """What a certificate in DER says; None where none of the authorities issued it.

        Raises `Unauthorized` for one that is not valid now.
        """
        found = _read(certificate, self._authorities)
        if found is None:
            return None
        if not found.not_before <= self._clock.now() <= found.not_after:
            raise Unauthorized("Unauthorized")
        return found

    def user_of(self, certificate: bytes) -> User | None:
        """The user that a certificate in DER stands for; None where it is none of ours. Raises `Unauthorized`."""
        found = self.read(certificate)
        if found is None or not found.name:
            return None
        return User(found.name, found.groups, found.uid, {_CREDENTIAL: [f"X509SHA256={found.fingerprint}"]})


@lru_cache(maxsize=1024)
def _read(certificate: bytes, authorities: bytes) -> TrustedCertificate | None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        if not any(_issued(parsed, authority) for authority in _loaded(authorities)):
            return None
        try:
            usages: Sequence[Any] = list(parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        except x509.ExtensionNotFound:
            usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        subject = parsed.subject
    except ValueError:
        return None
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.intersection(usages):
        return None

    def all_of(attribute: Any) -> tuple[str, ...]:
        return tuple(str(each.value) for each in subject.get_attributes_for_oid(attribute))

    names, uids = all_of(NameOID.COMMON_NAME), all_of(x509.ObjectIdentifier(_UID))
    return TrustedCertificate(
        names[0] if names else "",
        all_of(NameOID.ORGANIZATION_NAME),
        uids[0] if uids else "",
        hashlib.sha256(certificate).hexdigest(),
        parsed.not_valid_before_utc.timestamp(),
        parsed.not_valid_after_utc.timestamp(),
    )


@lru_cache(maxsize=8)
def _loaded(authorities: bytes) -> Sequence[Any]:
    from cryptography import x509

    return x509.load_pem_x509_certificates(authorities) if authorities else ()


def _issued(certificate: Any, authority: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
