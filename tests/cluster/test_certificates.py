"""Certificate requests in a cluster: approved, signed, used, and cleaned away when their time has come."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.requests import pem, signing_request
from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.auth.certificates import subject_of
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio

CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-cleaner-controller",
    "podcertificaterequest-cleaner-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
)
CLIENT_USAGES = ("digital signature", "client auth")
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, listen=False, controllers=CONTROLLERS, seed=1, clock=FakeClock()) as cluster:
        yield cluster


async def ask(cluster: Cluster, document: dict[str, Any], *, as_user: User | None = None) -> Document:
    """The request, once everything that follows from it has happened."""
    client = cluster.client if as_user is None else cluster.client_for(as_user)
    await client.create(resources.CERTIFICATE_SIGNING_REQUESTS, document)
    await cluster.settled()
    return await cluster.client.get(resources.CERTIFICATE_SIGNING_REQUESTS, document["metadata"]["name"])


async def approve(cluster: Cluster, request: Document) -> Document:
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "yes"}
    decided = {**request, "status": {"conditions": [condition]}}
    await cluster.client.update(resources.CERTIFICATE_SIGNING_REQUESTS, decided, subresource="approval")
    await cluster.settled()
    return await cluster.client.get(resources.CERTIFICATE_SIGNING_REQUESTS, request["metadata"]["name"])


def subject(request: Document) -> tuple[str, tuple[str, ...]]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = x509.load_pem_x509_certificate(base64.b64decode(request["status"]["certificate"]))
    return subject_of(certificate.public_bytes(Encoding.DER))


async def test_a_request_waits_for_approval_and_is_then_signed(cluster: Cluster) -> None:
    wanted = signing_request("ann", "kubernetes.io/kube-apiserver-client", CLIENT_USAGES, pem("ann", ("crew",)))
    request = await ask(cluster, wanted)
    assert not request.get("status")
    assert subject(await approve(cluster, request)) == ("ann", ("crew",))


async def test_a_node_renews_its_client_certificate_by_itself_once_a_role_lets_it(cluster: Cluster) -> None:
    signer = "kubernetes.io/kube-apiserver-client-kubelet"
    wanted = signing_request("own", signer, CLIENT_USAGES, pem(NODE.name, ("system:nodes",)))
    assert not (await ask(cluster, wanted, as_user=NODE)).get("status")
    binding = {
        "metadata": {"name": "nodes-renew"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        },
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}],
    }
    await cluster.client.create(resources.CLUSTER_ROLE_BINDINGS, binding)
    await cluster.advance(minutes=2)
    own = await cluster.client.get(resources.CERTIFICATE_SIGNING_REQUESTS, "own")
    [condition] = own["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    assert condition["message"] == "Auto approving self kubelet client certificate after SubjectAccessReview."
    assert subject(own) == (NODE.name, ("system:nodes",))


async def test_a_request_that_breaks_its_signers_rules_fails_for_good(cluster: Cluster) -> None:
    wanted = signing_request("odd", "kubernetes.io/kubelet-serving", CLIENT_USAGES, pem("ann"))
    failed = await approve(cluster, await ask(cluster, wanted))
    condition = failed["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("Failed", "SignerValidationFailure")
    assert condition["message"] == "subject organization is not system:nodes"
    assert "certificate" not in failed["status"]


async def test_other_signers_requests_are_theirs(cluster: Cluster) -> None:
    wanted = signing_request("theirs", "example.dev/signer", CLIENT_USAGES, pem("ann"))
    approved = await approve(cluster, await ask(cluster, wanted))
    assert [each["type"] for each in approved["status"]["conditions"]] == ["Approved"]
    assert "certificate" not in approved["status"]


async def test_requests_go_when_their_time_has_come(cluster: Cluster) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    await approve(cluster, await ask(cluster, signing_request("issued", signer, CLIENT_USAGES, pem("ann"))))
    await ask(cluster, signing_request("pending", signer, CLIENT_USAGES, pem("ann")))

    async def names() -> list[str]:
        return [
            each["metadata"]["name"]
            for each in (await cluster.client.list(resources.CERTIFICATE_SIGNING_REQUESTS)).items
        ]

    await cluster.advance(minutes=59)
    assert await names() == ["issued", "pending"]
    await cluster.advance(minutes=2)
    assert await names() == ["pending"]
    await cluster.advance(hours=24)
    assert await names() == []


async def test_the_servers_authority_is_published_as_a_trust_bundle(cluster: Cluster) -> None:
    async def bundles() -> list[Document]:
        return list((await cluster.client.list(resources.CLUSTER_TRUST_BUNDLES)).items)

    await cluster.settled()
    [bundle] = await bundles()
    assert bundle["spec"] == {
        "signerName": "kubernetes.io/kube-apiserver-serving",
        "trustBundle": cluster.authority.certificate.decode(),
    }
    await cluster.client.delete(resources.CLUSTER_TRUST_BUNDLES, bundle["metadata"]["name"])
    await cluster.settled()
    assert [each["spec"] for each in await bundles()] == [bundle["spec"]]
