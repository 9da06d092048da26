"""CertificateSubjectRestriction: nobody asks for a client certificate in the group `system:masters`.

Mirrors upstream's plugin of this name.
"""

from __future__ import annotations

import base64
from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["CertificateSubjectRestriction"]

_SIGNER = "kubernetes.io/kube-apiserver-client"
_GROUP = "system:masters"


class CertificateSubjectRestriction(AdmissionPlugin):
    name: ClassVar[str] = "CertificateSubjectRestriction"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"certificatesigningrequests"})

    async def validate(self, attributes: Attributes) -> None:
        request = attributes.object
        if request is None or attributes.subresource or request["spec"].get("signerName") != _SIGNER:
            return
        if _GROUP in _organisations(base64.b64decode(request["spec"].get("request") or "")):
            why = f"use of {_SIGNER} signer with {_GROUP} group is not allowed"
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)


def _organisations(request: bytes) -> list[str]:
    """The groups that a request (PEM, already validated) is for."""
    # Takes a while to import, and hardly any server ever sees such a request.
    from cryptography import x509

    subject = x509.load_pem_x509_csr(request).subject
    return [str(each.value) for each in subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)]
