"""Client certificates: a user by common name, its groups by organisations (upstream's x509 authentication).

TLS has seen that the client holds the key, and nothing else. Here it is seen whether the certificate leads to one of
the authorities, by way of those that the client sent along if need be, and what each of them may be used for.
Signatures are checked once for each certificate, times on every request, by the project's clock.

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
#: How many certificates may lead from an authority to a client's, and how many signatures are checked to find them.
_LONGEST, _MOST_CHECKS = 5, 32


@attrs.frozen
class TrustedCertificate:
    """What a certificate says, that was issued by an authority that is trusted for it.

    `not_before` and `not_after`: the time in which it and all that lead to it are valid, in seconds.
    """

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

    def read(self, shown: tuple[bytes, ...]) -> TrustedCertificate | None:
        """What the first of the certificates in DER says; None where none of the authorities vouches for it.

        Raises `Unauthorized` for one that is not valid now.
        """
        found = _read(shown, self._authorities)
        if found is None:
            return None
        if not found.not_before <= self._clock.now() <= found.not_after:
            raise Unauthorized("Unauthorized")
        return found

    def user_of(self, shown: tuple[bytes, ...]) -> User | None:
        """The user that a certificate stands for; None where it is none of ours. Raises `Unauthorized`."""
        found = self.read(shown)
        if found is None or not found.name:
            return None
        return User(found.name, found.groups, found.uid, {_CREDENTIAL: [f"X509SHA256={found.fingerprint}"]})


@lru_cache(maxsize=1024)
def _read(shown: tuple[bytes, ...], authorities: bytes) -> TrustedCertificate | None:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        own, *between = (x509.load_der_x509_certificate(each) for each in shown[:_LONGEST])
        path = _Search(_loaded(authorities), between).path(own) if _is_for_clients(own) else None
        subject = own.subject
    except ValueError:
        return None
    if path is None:
        return None

    def all_of(attribute: Any) -> tuple[str, ...]:
        return tuple(str(each.value) for each in subject.get_attributes_for_oid(attribute))

    names, uids = all_of(NameOID.COMMON_NAME), all_of(x509.ObjectIdentifier(_UID))
    return TrustedCertificate(
        names[0] if names else "",
        all_of(NameOID.ORGANIZATION_NAME),
        uids[0] if uids else "",
        hashlib.sha256(shown[0]).hexdigest(),
        max(each.not_valid_before_utc.timestamp() for each in path),
        min(each.not_valid_after_utc.timestamp() for each in path),
    )


@lru_cache(maxsize=8)
def _loaded(authorities: bytes) -> Sequence[Any]:
    from cryptography import x509

    return x509.load_pem_x509_certificates(authorities) if authorities else ()


class _Search:
    """The way from a certificate to an authority, by certificates that somebody has sent and that prove nothing yet."""

    def __init__(self, authorities: Sequence[Any], between: Sequence[Any]) -> None:
        self._authorities = authorities
        self._between = between
        self._checks = 0

    def path(self, certificate: Any, below: tuple[Any, ...] = ()) -> Sequence[Any] | None:
        """The certificates from `below` on up to an authority, that included."""
        passed = (*below, certificate)
        for authority in self._authorities:
            if self._issued(certificate, authority):
                return (*passed, authority)
        for each in self._between:
            if each not in passed and _may_issue(each, len(below)) and self._issued(certificate, each):
                found = self.path(each, passed)
                if found is not None:
                    return found
        return None

    def _issued(self, certificate: Any, by: Any) -> bool:
        from cryptography.exceptions import InvalidSignature

        if certificate.issuer != by.subject or self._checks >= _MOST_CHECKS:
            return False
        self._checks += 1
        try:
            certificate.verify_directly_issued_by(by)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def _may_issue(certificate: Any, below: int) -> bool:
    """Whether a certificate is an authority's, and of certificates of clients, with so many other authorities below."""
    from cryptography import x509

    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return False
    if constraints.path_length is not None and constraints.path_length < below:
        return False
    usage = _extension(certificate, x509.KeyUsage)
    return (usage is None or bool(usage.key_cert_sign)) and _is_for_clients(certificate)


def _is_for_clients(certificate: Any) -> bool:
    """Whether a certificate may be used by clients, and nothing else is demanded of who looks at it."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    known = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
    if any(each.critical and not isinstance(each.value, known) for each in certificate.extensions):
        return False
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    wanted = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usages is None or any(each in wanted for each in usages)


def _extension(certificate: Any, kind: Any) -> Any:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
