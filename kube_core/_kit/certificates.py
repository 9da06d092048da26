"""Certificate authorities, and the certificates that they issue: of a cluster, of a front proxy, of webhooks.

Keys are ECDSA P-256, which take a millisecond to make. Files are written with mode 0600 for keys, in one step each
(a temporary file, renamed), so that a crash leaves either nothing or a whole file.

`cryptography` is imported when the first certificate is made or read, not when a program merely imports kube_core.
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs

__all__ = [
    "Authority",
    "KeyPair",
    "ReadCertificate",
    "load_or_create",
    "make_request",
    "read_certificate",
    "write_file",
]

_CA_DAYS = 3650
_LEAF_DAYS = 365
_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@attrs.frozen
class KeyPair:
    """A certificate (chain) and its private key, in PEM."""

    certificate: bytes
    key: bytes


@attrs.frozen
class ReadCertificate:
    """Whose it is (its common name), and from when to when it holds, in seconds since the epoch."""

    name: str
    begin: float
    end: float


class Authority:
    """A certificate authority that can issue certificates. `now` is in seconds since the epoch."""

    def __init__(self, pair: KeyPair) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self.pair = pair
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        self._key = load_pem_private_key(pair.key, None)

    @classmethod
    def create(cls, name: str, *, now: float) -> Authority:
        """A new authority with a self-signed certificate."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        start = _moment(now)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=_CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(KeyPair(_pem(certificate), _key_pem(key)))

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, in PEM: what clients trust."""
        return self.pair.certificate

    @property
    def is_whole(self) -> bool:
        """Whether certificate and key belong together."""
        return bool(self._certificate.public_key() == self._key.public_key())

    @property
    def expires(self) -> float:
        """When it is no longer valid, in seconds since the epoch."""
        end: float = self._certificate.not_valid_after_utc.timestamp()
        return end

    def issue_server(self, name: str, hosts: Sequence[str], *, now: float, days: float = _LEAF_DAYS) -> KeyPair:
        """A serving certificate for host names and addresses, for some days from `now`."""
        return self._issue(name, (), hosts, server=True, now=now, days=days)

    def issue_client(self, name: str, groups: Sequence[str] = (), *, now: float) -> KeyPair:
        """A client certificate: user `name`, in `groups` (upstream's reading of CN and O)."""
        return self._issue(name, groups, (), server=False, now=now, days=_LEAF_DAYS)

    def certify(
        self,
        request: bytes,
        *,
        key_usages: Collection[str],
        extended_usages: Collection[str],
        start: float,
        end: float,
    ) -> bytes:
        """A certificate for what a request in PEM names, in PEM; subject and alternative names are the request's.

        `key_usages`: attributes of `cryptography.x509.KeyUsage`; `extended_usages`: dotted object identifiers.
        `start`, `end`: seconds since the epoch; it ends with the authority at the latest. Raises ValueError for a
        request that cannot be read, whose signature is wrong, or that comes when the authority has expired.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        wanted = x509.load_pem_x509_csr(request)
        if not wanted.is_signature_valid:
            raise ValueError("unable to verify certificate request signature")
        if start >= self.expires:
            raise ValueError(f"the signer has expired: NotAfter={self._certificate.not_valid_after_utc}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(wanted.subject)
            .issuer_name(self._certificate.subject)
            .public_key(wanted.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(int(start), UTC))
            .not_valid_after(datetime.fromtimestamp(int(min(end, self.expires)), UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        if key_usages:
            used = dict.fromkeys(_KEY_USAGES, False) | dict.fromkeys(key_usages, True)
            builder = builder.add_extension(x509.KeyUsage(**used), critical=True)
        if extended_usages:
            listed = [x509.ObjectIdentifier(each) for each in extended_usages]
            builder = builder.add_extension(x509.ExtendedKeyUsage(listed), critical=False)
        try:
            named = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            pass
        else:
            builder = builder.add_extension(named.value, critical=not list(wanted.subject))
        return _pem(builder.sign(self._key, hashes.SHA256()))  # type: ignore[arg-type]

    def _issue(
        self, name: str, groups: Sequence[str], hosts: Sequence[str], *, server: bool, now: float, days: float
    ) -> KeyPair:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        start = _moment(now)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(attributes))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Strict verifiers (OpenSSL as Python 3.13 sets it up) demand both of these.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        if hosts:
            names = [_general_name(host) for host in dict.fromkeys(hosts)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())  # type: ignore[arg-type]
        return KeyPair(_pem(certificate), _key_pem(key))


def load_or_create(directory: Path, name: str, *, now: float, file_name: str = "ca") -> Authority:
    """The authority kept in `directory` (`ca.crt`, `ca.key`, or by another name); made where there is none.

    Raises OSError, and `ValueError` with one clear line for files that are damaged, which stay as they are.
    """
    certificate, key = directory / f"{file_name}.crt", directory / f"{file_name}.key"
    if certificate.exists() and key.exists():
        try:
            authority = Authority(KeyPair(certificate.read_bytes(), key.read_bytes()))
        except (ValueError, TypeError):
            raise ValueError(f"{certificate} or {key} is damaged; restore them, or remove both") from None
        if not authority.is_whole:
            raise ValueError(f"{certificate} and {key} do not belong together; restore them, or remove both")
        return authority
    authority = Authority.create(name, now=now)
    write_file(key, authority.pair.key, mode=0o600)
    write_file(certificate, authority.pair.certificate, mode=0o644)
    return authority


def make_request(name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """A new key, and the request for a certificate for it, both in PEM: for `name` in `groups`, and for hosts.

    Returns request and key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if hosts:
        named = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(named, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key)


def read_certificate(content: bytes) -> ReadCertificate:
    """The first certificate of a PEM file. Raises `ValueError`."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(content)
    names = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    return ReadCertificate(name, found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _moment(now: float) -> datetime:
    # Clocks of clients may be a little behind.
    return datetime.fromtimestamp(int(now), UTC) - timedelta(minutes=5)


def _general_name(host: str):  # type: ignore[no-untyped-def]
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, authority: bool):  # type: ignore[no-untyped-def]
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate) -> bytes:  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.serialization import Encoding

    pem: bytes = certificate.public_bytes(Encoding.PEM)
    return pem


def _key_pem(key) -> bytes:  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem
