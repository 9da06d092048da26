"""Chains of certificates as authorities make them, and as they should not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kube_core.auth.certificates import KeyPair

__all__ = ["Certificate", "issue"]

DAY = timedelta(days=1)


@attrs.frozen(eq=False)
class Certificate:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def pair(self, *more: Certificate) -> KeyPair:
        """With its key, and with what leads to it."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(b"".join([self.pem, *(each.pem for each in more)]), key)


def issue(
    name: str,
    by: Certificate | KeyPair | None = None,
    *,
    groups: Sequence[str] = (),
    ca: bool = False,
    path_length: int | None = None,
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    now: float,
    starts: float = -1.0,
    ends: float = 30.0,
    critical: x509.ExtensionType | None = None,
) -> Certificate:
    """A certificate that `by` (None: itself) has signed; `starts` and `ends` in days from `now`."""
    if isinstance(by, KeyPair):
        loaded = serialization.load_pem_private_key(by.key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        by = Certificate(x509.load_pem_x509_certificate(by.certificate), loaded)
    key = ec.generate_private_key(ec.SECP256R1())
    named = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    named += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name(named)
    moment = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + DAY * starts)
        .not_valid_after(moment + DAY * ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    return Certificate(builder.sign(by.key if by is not None else key, hashes.SHA256()), key)
