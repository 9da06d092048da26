"""The cluster's certificates: its authority, made at first start and kept with its state; who a client is by its own.

How authorities and certificates are made is `kube_core._kit.certificates`, which webhooks beside a cluster use too; its
names are here for the server's side.
"""

from __future__ import annotations

from kube_core._kit.certificates import Authority, KeyPair, load_or_create, write_file

__all__ = ["Authority", "KeyPair", "load_or_create", "subject_of", "write_file"]


def subject_of(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    """Common name and organisations of a certificate in DER: a user and its groups."""
    from cryptography import x509

    subject = x509.load_der_x509_certificate(certificate).subject
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    groups = subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return (str(names[0].value) if names else ""), tuple(str(group.value) for group in groups)
