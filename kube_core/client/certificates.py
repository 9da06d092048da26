"""Certificates from a cluster's own signers: a CertificateSigningRequest, and what comes of it.

    pair = await obtain(client, name="node-1-", signer=CLIENT_OF_KUBELET, request=csr, key=key, usages=[...])

The key never leaves this program. Who approves is not decided here: a controller, a person, or the caller, where its
user may (`approve`). Upstream's kubelet and kubeadm do the same over the same objects.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kube_core._kit.certificates import KeyPair
from kube_core.api import resources
from kube_core.meta.documents import Document, name_of, thaw
from kube_core.meta.status import Conflict, StatusError

if TYPE_CHECKING:
    from kube_core.client.client import ApiClient

__all__ = ["KUBELET_CLIENT", "KUBELET_SERVING", "RequestRefused", "obtain"]

KUBELET_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING: Final = "kubernetes.io/kubelet-serving"


class RequestRefused(Exception):
    """A request that was denied, or that the signer could not serve; the message is one line for a person."""


async def obtain(
    client: ApiClient,
    *,
    prefix: str,
    signer: str,
    request: bytes,
    key: bytes,
    usages: Sequence[str],
    approve: bool = False,
) -> KeyPair:
    """Ask, and wait until the certificate is issued; bound the wait with a timeout of your own.

    `prefix`: of the object's name, the rest is the server's. `approve`: say yes to it as this client's user. Raises
    `RequestRefused`, and `StatusError` as requests do.
    """
    spec = {"request": base64.b64encode(request).decode(), "signerName": signer, "usages": list(usages)}
    document = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": prefix},
        "spec": spec,
    }
    made = await client.create(resources.CERTIFICATE_SIGNING_REQUESTS, document)
    if approve:
        await _approve(client, made)
    async for event in client.watch(resources.CERTIFICATE_SIGNING_REQUESTS, name=name_of(made)):
        if event.type == "DELETED":
            raise RequestRefused(f"the certificate request {name_of(made)} was removed before it was answered")
        status = event.object.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                why = condition.get("message") or condition.get("reason") or "no reason was given"
                raise RequestRefused(f"the certificate request {name_of(made)} was refused: {why}")
        if certificate := status.get("certificate"):
            return KeyPair(base64.b64decode(certificate), key)
    raise AssertionError("a watch does not end")


async def _approve(client: ApiClient, request: Document) -> None:
    """Say yes, unless a controller was faster."""
    changed = thaw(request)
    message = "This certificate was approved by whoever asked for it."
    changed.setdefault("status", {}).setdefault("conditions", []).append(
        {"type": "Approved", "status": "True", "reason": "KubeCoreNodeKubeconfig", "message": message}
    )
    try:
        await client.update(resources.CERTIFICATE_SIGNING_REQUESTS, changed, subresource="approval")
    except Conflict:
        pass  # its own approver has written it, or it will: whoever waits sees what comes of it
    except StatusError as error:
        if error.code != 403:
            raise  # who may not approve waits for who may
