"""CertificateApproval, CertificateSigning and ClusterTrustBundleAttest: who may speak for a signer.

Approving a request, signing it and publishing a signer's trust anchors need the verbs `approve`, `sign` and `attest`
on `signers` of the signer's name, or of `domain/*`, besides the permission for the write itself. Mirrors upstream's
plugins of these names (documented under "Certificates and Certificate Signing Requests").
"""

from __future__ import annotations

from typing import ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document
from kube_core.meta.status import forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["CertificateApproval", "CertificateSigning", "ClusterTrustBundleAttest"]

_SIGNERS = ResourceType("certificates.k8s.io", "*", "Signer", "signers", False)


class _SignerPlugin(AdmissionPlugin):
    """A plugin that asks whether the writer may speak for a signer."""

    operations: ClassVar[frozenset[Operation]] = frozenset({"UPDATE"})
    verb: ClassVar[str]
    what: ClassVar[str]

    async def _check(self, attributes: Attributes, signer: str) -> None:
        permissions, user = self.context.permissions, attributes.user
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            if await permissions.allowed(user, self.verb, _SIGNERS, name):
                return
        why = f'user not permitted to {self.what} signerName "{signer}"'
        raise forbidden(attributes.resource.group_resource, attributes.key.name, why)


class CertificateApproval(_SignerPlugin):
    name: ClassVar[str] = "CertificateApproval"
    resources: ClassVar[frozenset[str]] = frozenset({"certificatesigningrequests"})
    verb: ClassVar[str] = "approve"
    what: ClassVar[str] = "approve requests with"

    async def validate(self, attributes: Attributes) -> None:
        if attributes.subresource == "approval" and attributes.old is not None:
            await self._check(attributes, _signer(attributes.old))


class CertificateSigning(_SignerPlugin):
    name: ClassVar[str] = "CertificateSigning"
    resources: ClassVar[frozenset[str]] = frozenset({"certificatesigningrequests"})
    verb: ClassVar[str] = "sign"
    what: ClassVar[str] = "sign requests with"

    async def validate(self, attributes: Attributes) -> None:
        if attributes.subresource != "status" or attributes.old is None or attributes.object is None:
            return
        before, after = attributes.old.get("status") or {}, attributes.object.get("status") or {}
        if any(before.get(field) != after.get(field) for field in ("certificate", "conditions")):
            await self._check(attributes, _signer(attributes.old))


class ClusterTrustBundleAttest(_SignerPlugin):
    name: ClassVar[str] = "ClusterTrustBundleAttest"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "UPDATE"})
    resources: ClassVar[frozenset[str]] = frozenset({"clustertrustbundles"})
    verb: ClassVar[str] = "attest"
    what: ClassVar[str] = "attest for"

    async def validate(self, attributes: Attributes) -> None:
        signer = _signer(attributes.object or {})
        # A bundle without a signer is nobody's word but the writer's.
        if signer and not attributes.subresource:
            await self._check(attributes, signer)


def _signer(document: Document) -> str:
    return str((document.get("spec") or {}).get("signerName") or "")
