"""Certificate requests, as `openssl req` would make them, for tests."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

__all__ = ["KEY", "key_pem", "pem", "signing_request"]

KEY = ec.generate_private_key(ec.SECP256R1())


def key_pem() -> bytes:
    return KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@functools.cache
def pem(name: str, groups: tuple[str, ...] = (), names: tuple[x509.GeneralName, ...] = ()) -> bytes:
    """A request for user `name` in `groups`, with subject alternative names."""
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def signing_request(
    name: str, signer: str, usages: Sequence[str], request: bytes, *, seconds: int | None = None
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "signerName": signer,
        "usages": list(usages),
        "request": base64.b64encode(request).decode(),
    }
    if seconds is not None:
        spec["expirationSeconds"] = seconds
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    }
