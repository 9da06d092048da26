"""What a node may write: its own objects, and the pods that are bound to it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakes.server import Caller, running
from kube_core.abc.transport import User

pytestmark = pytest.mark.anyio

NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
PODS = "/api/v1/namespaces/default/pods"
CONTAINERS = [{"name": "main", "image": "app"}]


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running() as caller:
        await caller.post("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        await caller.post("/api/v1/nodes", {"metadata": {"name": "n2"}})
        await as_node(caller, "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
        for name, node in (("mine", "n1"), ("other", "n2")):
            spec = {"containers": CONTAINERS, "nodeName": node}
            await caller.post(PODS, {"metadata": {"name": name}, "spec": spec})
        yield caller


async def as_node(api: Caller, method: str, path: str, body: Any = None, **options: Any) -> Any:
    return (await api.ask(method, path, body, token="", user=NODE, **options)).decoded()


async def refused(api: Caller, method: str, path: str, body: Any = None, **options: Any) -> str:
    answer = await api.ask(method, path, body, token="", user=NODE, **options)
    assert answer.status == 403, answer.decoded()
    return str(answer.decoded()["message"])


MERGE: dict[str, Any] = {"content_type": "application/merge-patch+json"}


async def test_a_node_changes_itself_and_no_other(api: Caller) -> None:
    change = {"metadata": {"labels": {"kubernetes.io/arch": "amd64", "mine": "x", "node.kubernetes.io/y": "z"}}}
    assert (await as_node(api, "PATCH", "/api/v1/nodes/n1", change, **MERGE))["metadata"]["labels"]["mine"] == "x"
    assert 'not allowed to modify node "n2"' in await refused(api, "PATCH", "/api/v1/nodes/n2", change, **MERGE)
    assert "cannot delete resource" in await refused(api, "DELETE", "/api/v1/nodes/n1")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": {"node-restriction.kubernetes.io/zone": "a"}}}, "modify labels: node-restriction"),
        ({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}, "modify labels: node-role"),
        ({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, "not allowed to modify taints"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]}},
            "not allowed to modify ownerReferences",
        ),
    ],
)
async def test_a_node_does_not_say_of_itself_what_others_rely_on(api: Caller, change: Any, why: str) -> None:
    assert why in await refused(api, "PATCH", "/api/v1/nodes/n1", change, **MERGE)


async def test_a_node_reports_and_deletes_its_own_pods_only(api: Caller) -> None:
    status = {"status": {"phase": "Running"}}
    assert (await as_node(api, "PATCH", f"{PODS}/mine/status", status, **MERGE))["status"]["phase"] == "Running"
    assert "can only update pod status" in await refused(api, "PATCH", f"{PODS}/other/status", status, **MERGE)
    labels = {"metadata": {"labels": {"x": "y"}}}
    assert "cannot update labels" in await refused(api, "PATCH", f"{PODS}/mine/status", labels, **MERGE)
    assert "can only delete pods" in await refused(api, "DELETE", f"{PODS}/other")
    assert "can only evict pods" in await refused(
        api, "POST", f"{PODS}/other/eviction", {"metadata": {"name": "other"}}
    )
    assert (await as_node(api, "DELETE", f"{PODS}/mine"))["kind"] in ("Pod", "Status")


async def test_a_node_makes_mirror_pods_only(api: Caller) -> None:
    uid = (await api.get("/api/v1/nodes/n1"))["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True}
    mirror: dict[str, Any] = {
        "metadata": {
            "name": "static-n1",
            "annotations": {"kubernetes.io/config.mirror": "h"},
            "ownerReferences": [owner],
        },
        "spec": {"containers": CONTAINERS, "nodeName": "n1"},
    }
    metadata, spec = mirror["metadata"], mirror["spec"]
    for changed, why in (
        ({**mirror, "metadata": {**metadata, "annotations": {}}}, "can only create mirror pods"),
        ({**mirror, "spec": {**spec, "nodeName": "n2"}}, "spec.nodeName set to itself"),
        ({**mirror, "metadata": {**metadata, "ownerReferences": []}}, "owner reference set to itself"),
        (
            {**mirror, "metadata": {**metadata, "ownerReferences": [owner, {**owner, "uid": "x"}]}},
            "a single owner reference",
        ),
        ({**mirror, "metadata": {**metadata, "ownerReferences": [{**owner, "controller": False}]}}, "controller owner"),
        ({**mirror, "metadata": {**metadata, "ownerReferences": [{**owner, "uid": "x"}]}}, "UID mismatch: expected x"),
        ({**mirror, "spec": {**spec, "volumes": [_volume(configMap={"name": "a"})]}}, "reference configmaps"),
        ({**mirror, "spec": {**spec, "volumes": [_volume(csi={"driver": "a.b"})]}}, "csidrivers (via CSI volumes)"),
    ):
        assert why in await refused(api, "POST", PODS, changed)
    assert (await as_node(api, "POST", PODS, mirror))["metadata"]["name"] == "static-n1"


async def test_a_node_gets_tokens_for_pods_that_run_on_it(api: Caller) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"

    async def asked(name: str, **changes: Any) -> dict[str, Any]:
        uid = (await api.get(f"{PODS}/{name}"))["metadata"]["uid"]
        reference = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid, **changes}
        return {"spec": {"boundObjectRef": reference}}

    assert "not bound to a pod" in await refused(api, "POST", path, {"spec": {}})
    assert "without a uid" in await refused(api, "POST", path, await asked("mine", uid=""))
    assert "on a different node" in await refused(api, "POST", path, await asked("other"))
    assert (await as_node(api, "POST", path, await asked("mine")))["status"]["token"]


async def test_a_nodes_tokens_are_for_audiences_that_the_pods_volumes_name(api: Caller) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    vault = {"serviceAccountToken": {"audience": "vault", "path": "t"}}
    driver = {"tokenRequests": [{"audience": "storage"}]}
    await api.post("/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": "a.b"}, "spec": driver})
    volumes = [_volume(projected={"sources": [vault]}), {"name": "w", "csi": {"driver": "a.b"}}]
    spec = {"containers": CONTAINERS, "nodeName": "n1", "volumes": volumes}
    uid = (await api.post(PODS, {"metadata": {"name": "asks"}, "spec": spec}))["metadata"]["uid"]
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "asks", "uid": uid}

    def wanted(*audiences: str) -> dict[str, Any]:
        return {"spec": {"boundObjectRef": reference, "audiences": audiences}}

    for audience in ("vault", "storage"):
        assert (await as_node(api, "POST", path, wanted(audience)))["status"]["token"]
    assert 'to request tokens for audience "else"' in await refused(api, "POST", path, wanted("else"))
    assert "0 or 1 audiences" in await refused(api, "POST", path, wanted("vault", "storage"))
    rbac, group = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    rule = {"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["else"]}
    await api.post(f"{rbac}/clusterroles", {"metadata": {"name": "else"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "else"},
        "roleRef": {"kind": "ClusterRole", "name": "else", "apiGroup": group},
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": group}],
    }
    await api.post(f"{rbac}/clusterrolebindings", binding)
    assert (await as_node(api, "POST", path, wanted("else")))["status"]["token"]


async def test_a_node_does_not_say_which_claims_a_pod_has(api: Caller) -> None:
    status = {"status": {"resourceClaimStatuses": [{"name": "a", "resourceClaimName": "b"}]}}
    assert "cannot update resource claim statues" in await refused(api, "PATCH", f"{PODS}/mine/status", status, **MERGE)


async def test_a_node_says_how_large_a_claim_is_and_nothing_else(api: Caller) -> None:
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    resources = {"requests": {"storage": "1Gi"}}
    claim = {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}
    await api.post(path, claim)
    spec = {
        "containers": CONTAINERS,
        "nodeName": "n1",
        "volumes": [_volume(persistentVolumeClaim={"claimName": "c"})],
    }
    await api.post(PODS, {"metadata": {"name": "uses"}, "spec": spec})
    size = {"status": {"capacity": {"storage": "1Gi"}}}
    found = await as_node(api, "PATCH", f"{path}/c/status", size, **MERGE)
    assert found["status"]["capacity"] == {"storage": "1Gi"}
    for change in ({"status": {"phase": "Lost"}}, {"metadata": {"labels": {"a": "b"}}}):
        assert "fields other than status.quantity" in await refused(api, "PATCH", f"{path}/c/status", change, **MERGE)


async def test_a_node_asks_for_certificates_in_its_own_name(api: Caller) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    def wanted(name: str) -> dict[str, Any]:
        return {
            "metadata": {"generateName": "csr-"},
            "spec": {
                "signerName": "kubernetes.io/kubelet-serving",
                "usages": ["digital signature", "server auth"],
                "request": base64.b64encode(_signing_request(name)).decode(),
            },
        }

    why = await refused(api, "POST", path, wanted("system:node:n2"))
    assert "can only create a node CSR with CN=system:node:n1" in why
    assert (await as_node(api, "POST", path, wanted("system:node:n1")))["metadata"]["name"].startswith("csr-")


def _volume(**source: Any) -> dict[str, Any]:
    return {"name": "v", **source}


def _signing_request(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    organisation = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:nodes")
    subject = x509.Name([organisation, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName("n1")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def test_a_nodes_lease_has_its_name(api: Caller) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert "same name as the requesting node" in await refused(api, "POST", path, {"metadata": {"name": "n2"}})
    assert (await as_node(api, "POST", path, {"metadata": {"name": "n1"}}))["metadata"]["name"] == "n1"


async def test_nobody_else_is_concerned(api: Caller) -> None:
    await api.patch("/api/v1/nodes/n1", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
