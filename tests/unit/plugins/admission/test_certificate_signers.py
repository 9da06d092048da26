"""Who may approve, sign and attest for a signer."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fakes.server import ALICE, Caller, running

pytestmark = pytest.mark.anyio

GROUP = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SIGNER = "example.org/clients"


def request() -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann")])
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running() as caller:
        spec = {"request": request(), "signerName": SIGNER, "usages": ["client auth"]}
        await caller.post(GROUP, {"metadata": {"name": "r"}, "spec": spec})
        await allow(caller, "writes", ["get", "update", "patch"], "certificatesigningrequests/approval")
        await allow(caller, "reports", ["get", "update", "patch"], "certificatesigningrequests/status")
        yield caller


async def allow(api: Caller, name: str, verbs: list[str], resource: str, *names: str) -> None:
    rule: dict[str, Any] = {"verbs": verbs, "apiGroups": ["certificates.k8s.io"], "resources": [resource]}
    if names:
        rule["resourceNames"] = list(names)
    await api.post(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": ALICE.name}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    await api.post(
        f"{RBAC}/clusterrolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    )


CONDITION = {"type": "Approved", "status": "True", "reason": "Known"}
MERGE: dict[str, Any] = {"content_type": "application/merge-patch+json", "token": "alice-token"}


@pytest.mark.parametrize("named", [SIGNER, "example.org/*"])
async def test_approving_needs_the_signers_permission(api: Caller, named: str) -> None:
    change = {"status": {"conditions": [CONDITION]}}
    answer = await api.ask("PATCH", f"{GROUP}/r/approval", change, **MERGE)
    assert answer.status == 403
    assert answer.decoded()["message"].endswith(f'user not permitted to approve requests with signerName "{SIGNER}"')
    await allow(api, "approves", ["approve"], "signers", named)
    assert (await api.ask("PATCH", f"{GROUP}/r/approval", change, **MERGE)).status == 200


async def test_signing_needs_the_signers_permission(api: Caller) -> None:
    change = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "No"}]}}
    answer = await api.ask("PATCH", f"{GROUP}/r/status", change, **MERGE)
    assert answer.status == 403
    assert "user not permitted to sign requests" in answer.decoded()["message"]
    await allow(api, "signs", ["sign"], "signers", SIGNER)
    assert (await api.ask("PATCH", f"{GROUP}/r/status", change, **MERGE)).status == 200


async def test_the_permission_for_one_signer_is_none_for_another(api: Caller) -> None:
    await allow(api, "approves", ["approve"], "signers", "example.com/*", "example.org/others")
    change = {"status": {"conditions": [CONDITION]}}
    assert (await api.ask("PATCH", f"{GROUP}/r/approval", change, **MERGE)).status == 403
