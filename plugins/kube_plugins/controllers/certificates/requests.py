"""What a CertificateSigningRequest asks for, and whether its signer may say yes.

Pure. `read` takes the PKCS #10 request apart; each signer of `kubernetes.io/` then has its rules on subject, names and
usages, and `refusal` gives the first that is broken, in upstream's words (documented under "Certificates and
Certificate Signing Requests", "Kubernetes signers"). `kubernetes.io/legacy-unknown` has none.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Final

import attrs

from kube_core.meta.documents import Document

__all__ = [
    "CLIENT",
    "KUBELET_CLIENT",
    "KUBELET_SERVING",
    "LEGACY_UNKNOWN",
    "Wanted",
    "has_condition",
    "is_kubelet_client",
    "pem_of",
    "read",
    "refusal",
]

CLIENT: Final = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"
LEGACY_UNKNOWN: Final = "kubernetes.io/legacy-unknown"

_NODES = ["system:nodes"]
_NODE = "system:node:"
_KUBELET_USAGES = {
    KUBELET_CLIENT: ("client auth", "digital signature", "key encipherment"),
    KUBELET_SERVING: ("digital signature", "key encipherment", "server auth"),
}


@attrs.frozen
class Wanted:
    """The subject and the alternative names of a request."""

    common_name: str = ""
    organizations: list[str] = attrs.field(factory=list)
    dns: bool = False
    emails: bool = False
    addresses: bool = False
    uris: bool = False


def pem_of(request: Document) -> bytes:
    """The request inside the object."""
    return base64.b64decode(request["spec"].get("request") or "")


def has_condition(request: Document, kind: str) -> bool:
    conditions = (request.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == kind and each.get("status") in ("True", "", None) for each in conditions)


def read(pem: bytes) -> Wanted:
    """Raises ValueError for what is not a request."""
    from cryptography import x509  # lazily: most clusters never see a request

    request = x509.load_pem_x509_csr(pem)
    names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    groups = request.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        kinds: set[type] = set()
    else:
        kinds = {type(name) for name in found}
    return Wanted(
        common_name=str(names[-1].value) if names else "",
        organizations=[str(group.value) for group in groups],
        dns=x509.DNSName in kinds,
        emails=x509.RFC822Name in kinds,
        addresses=x509.IPAddress in kinds,
        uris=x509.UniformResourceIdentifier in kinds,
    )


def refusal(signer: str, wanted: Wanted, usages: Collection[str]) -> str | None:
    """Why the signer does not sign this; None when it does."""
    if signer == CLIENT:
        return _client_refusal(usages)
    if signer in _KUBELET_USAGES:
        return _kubelet_refusal(signer, wanted, usages)
    return None


def is_kubelet_client(request: Document, wanted: Wanted) -> bool:
    """Whether it is what a kubelet asks to reach the server with."""
    spec = request["spec"]
    return (
        spec.get("signerName") == KUBELET_CLIENT and refusal(KUBELET_CLIENT, wanted, spec.get("usages") or ()) is None
    )


def _client_refusal(usages: Collection[str]) -> str | None:
    for usage in usages:
        if usage not in ("digital signature", "key encipherment", "client auth"):
            return f"invalid usage for client certificate: {usage}"
    return None if "client auth" in usages else "missing required usage for client certificate: client auth"


def _kubelet_refusal(signer: str, wanted: Wanted, usages: Collection[str]) -> str | None:
    serving = signer == KUBELET_SERVING
    required = _KUBELET_USAGES[signer]
    if wanted.organizations != _NODES:
        return "subject organization is not system:nodes"
    if serving and not (wanted.dns or wanted.addresses):
        return "DNS or IP subjectAltName is required"
    if not serving and wanted.dns:
        return "DNS subjectAltNames are not allowed"
    if wanted.emails:
        return "Email subjectAltNames are not allowed"
    if not serving and wanted.addresses:
        return "IP subjectAltNames are not allowed"
    if wanted.uris:
        return "URI subjectAltNames are not allowed"
    # Keys that are not RSA cannot encipher others.
    if {*usages, "key encipherment"} != set(required):
        return f"usages did not match [{' '.join(required)}]"
    return None if wanted.common_name.startswith(_NODE) else "subject common name does not begin with system:node:"
