"""Certificates of pods: nodes ask for them, signers answer, volumes have them, and new ones in time."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from kube_core._kit.clock import FakeClock
from kube_core.api import resources
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document
from kube_core.meta.times import format_time
from kube_core.node.volumes.podcertificates import CertificateError, make_key

pytestmark = pytest.mark.anyio

SIGNER = "signer.example/x"
REQUESTS = resources.POD_CERTIFICATE_REQUESTS


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    controllers = ("serviceaccount-controller",)
    async with Cluster(nodes=1, listen=False, controllers=controllers, seed=1, clock=FakeClock()) as cluster:
        yield cluster


async def start(cluster: Cluster, name: str = "p", **source: Any) -> Document:
    certificate = {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem", **source}
    volume = {"name": "tls", "projected": {"sources": [{"podCertificate": certificate}]}}
    container = {"name": "c", "image": "x", "volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
    spec = {"automountServiceAccountToken": False, "containers": [container], "volumes": [volume], "nodeName": "node-1"}
    made = await cluster.client.create(resources.PODS, {"metadata": {"name": name}, "spec": spec}, "default")
    await cluster.settled()
    return made


async def requests(cluster: Cluster) -> Sequence[Document]:
    await cluster.settled()
    return (await cluster.client.list(REQUESTS, "default")).items


async def phase(cluster: Cluster, name: str = "p") -> str:
    await cluster.settled()
    return str((await cluster.client.get(resources.PODS, name, "default"))["status"]["phase"])


async def warnings(cluster: Cluster) -> list[tuple[str, str]]:
    await cluster.settled()
    found = (await cluster.client.list(resources.EVENTS, "default")).items
    return [(each["reason"], each["message"]) for each in found if each["type"] == "Warning"]


async def answer(cluster: Cluster, request: Document, kind: str = "Issued", **status: Any) -> None:
    now = cluster.clock.now()
    condition = {
        "type": kind,
        "status": "True",
        "reason": "Test",
        "message": "so it is",
        "lastTransitionTime": format_time(now),
    }
    document = {**request, "status": {"conditions": [condition], **status}}
    await cluster.client.update(REQUESTS, document, subresource="status")
    await cluster.settled()


async def issue(cluster: Cluster, request: Document, remarks: str = "") -> bytes:
    """Sign it for an hour; to be renewed after half of that."""
    now = cluster.clock.now()
    begin = datetime.fromtimestamp(int(now), UTC)
    asked = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
    key = ec.generate_private_key(ec.SECP256R1())
    chain = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request["spec"]["podName"])]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]))
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(hours=1))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    times = {"notBefore": 0, "beginRefreshAt": 1800, "notAfter": 3600}
    stamps = {name: format_time(begin.timestamp() + after) for name, after in times.items()}
    await answer(cluster, request, certificateChain=remarks + chain.decode(), **stamps)
    return chain


async def test_a_node_asks_for_what_its_pod_wants_and_the_pod_waits(cluster: Cluster) -> None:
    notes = {"signer.example/path": "/a"}
    pod = await start(cluster, maxExpirationSeconds=3600, userAnnotations=notes)
    [request] = await requests(cluster)
    node = await cluster.client.get(resources.NODES, "node-1")
    account = await cluster.client.get(resources.SERVICE_ACCOUNTS, "default", "default")
    spec = dict(request["spec"])
    proof = x509.load_der_x509_csr(base64.b64decode(spec.pop("stubPKCS10Request")))
    assert proof.is_signature_valid
    assert spec == {
        "signerName": SIGNER,
        "podName": "p",
        "podUID": pod["metadata"]["uid"],
        "serviceAccountName": "default",
        "serviceAccountUID": account["metadata"]["uid"],
        "nodeName": "node-1",
        "nodeUID": node["metadata"]["uid"],
        "maxExpirationSeconds": 3600,
        "unverifiedUserAnnotations": notes,
    }
    assert request["metadata"]["name"].startswith("req-")
    [owner] = request["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}
    assert await phase(cluster) == "Pending"
    problem = 'MountVolume.SetUp failed for volume "tls" : credential bundle is not issued yet'
    assert ("FailedMount", problem) in await warnings(cluster)
    await issue(cluster, request)
    assert await phase(cluster) == "Running"
    assert len(await requests(cluster)) == 1


@pytest.mark.parametrize(("kind", "told"), [("Denied", "was denied"), ("Failed", "failed")])
async def test_a_refusal_is_told_and_is_for_good(cluster: Cluster, kind: str, told: str) -> None:
    await start(cluster)
    [request] = await requests(cluster)
    await answer(cluster, request, kind)
    name = request["metadata"]["name"]
    expected = f'PodCertificateRequest default/{name} {told}, reason="Test", message="so it is"'
    assert (kind, expected) in await warnings(cluster)
    await cluster.advance(minutes=30)
    assert await phase(cluster) == "Pending"
    assert len(await requests(cluster)) == 1
    problem = f'PodCertificateRequest was permanently {kind.lower()}: reason="Test" message="so it is"'
    assert ("FailedMount", f'MountVolume.SetUp failed for volume "tls" : {problem}') in await warnings(cluster)


async def test_the_next_certificate_is_asked_for_in_time_and_its_delay_is_told(cluster: Cluster) -> None:
    await start(cluster)
    [first] = await requests(cluster)
    await issue(cluster, first)
    await cluster.advance(minutes=29)
    assert len(await requests(cluster)) == 1
    await cluster.advance(minutes=8)
    [second] = [each for each in await requests(cluster) if each["metadata"]["name"] != first["metadata"]["name"]]
    assert second["spec"]["stubPKCS10Request"] != first["spec"]["stubPKCS10Request"]
    await cluster.advance(minutes=12)
    assert ("CertificateOverdueForRefresh", "PodCertificate refresh overdue") in await warnings(cluster)
    await cluster.advance(minutes=15)
    assert ("CertificateExpired", "PodCertificate expired") in await warnings(cluster)
    assert await phase(cluster) == "Running"
    await issue(cluster, second)
    await cluster.advance(minutes=29)
    assert len(await requests(cluster)) == 2


async def test_a_request_that_somebody_deletes_is_made_anew(cluster: Cluster) -> None:
    await start(cluster)
    [request] = await requests(cluster)
    await cluster.client.delete(REQUESTS, request["metadata"]["name"], "default")
    await cluster.advance(minutes=9)
    assert not await requests(cluster)
    await cluster.advance(minutes=12)
    [again] = await requests(cluster)
    await issue(cluster, again)
    assert await phase(cluster) == "Running"


async def test_the_files_are_a_key_and_its_certificates_without_remarks(tmp_path: Path) -> None:
    async with Cluster(
        nodes=1, listen=False, controllers=("serviceaccount-controller",), runtime="process", network="fake",
        state_directory=tmp_path,
    ) as cluster:  # fmt: skip
        paths = {"keyPath": "key.pem", "certificateChainPath": "chain.pem"}
        pod = await start(cluster, keyType="ED25519", **paths)
        [request] = await requests(cluster)
        chain = await issue(cluster, request, "# a remark\n")
        volume = tmp_path / "nodes" / "node-1" / "pods" / pod["metadata"]["uid"] / "volumes" / "tls"
        key = (volume / "key.pem").read_bytes()
        assert (volume / "chain.pem").read_bytes() == chain
        assert (volume / "bundle.pem").read_bytes() == key + chain
        made = load_pem_private_key(key, None)
        assert isinstance(made, ed25519.Ed25519PrivateKey)
        assert made.public_key() == x509.load_pem_x509_certificate(chain).public_key()


@pytest.mark.parametrize(
    ("kind", "size"), [("ECDSAP256", 256), ("ECDSAP384", 384), ("ECDSAP521", 521), ("RSA3072", 3072), ("ED25519", 0)]
)
def test_keys_are_of_the_type_that_is_wanted(kind: str, size: int) -> None:
    pem, proof = make_key(kind)
    key, request = load_pem_private_key(pem, None), x509.load_der_x509_csr(proof)
    assert request.is_signature_valid
    assert not list(request.subject)
    assert request.public_key() == key.public_key()
    assert getattr(key, "key_size", 0) == size
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)


def test_there_are_no_other_keys() -> None:
    with pytest.raises(CertificateError, match='unknown key type "DSA"'):
        make_key("DSA")
