"""Which certificate requests are signed, for how long, and when they are cleaned away."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import pytest
from cryptography import x509

from fakes.objects import NOW, metadata
from fakes.requests import pem, signing_request
from kube_core._kit.certificates import Authority
from kube_core.meta.times import format_time
from kube_plugins.controllers.certificates.approving import recognised
from kube_plugins.controllers.certificates.cleaning import expiry, pod_request_expiry
from kube_plugins.controllers.certificates.requests import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, read, refusal
from kube_plugins.controllers.certificates.signing import lifetime, usages_of
from kube_plugins.controllers.certificates.trustbundle import SIGNER, Plan, plan

NODE = ("system:node:n1", ("system:nodes",))
DNS = x509.DNSName("n1.example")
ADDRESS = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))
EMAIL = x509.RFC822Name("a@example.dev")
URI = x509.UniformResourceIdentifier("https://example.dev")
CLIENT_USAGES = ("digital signature", "client auth")
SERVER_USAGES = ("digital signature", "server auth")
HOUR = 3600.0


@pytest.mark.parametrize(
    ("signer", "request_pem", "usages", "why"),
    [
        (CLIENT, pem("ann"), ("client auth",), None),
        (CLIENT, pem("ann"), ("client auth", "digital signature", "key encipherment"), None),
        (CLIENT, pem("ann"), ("digital signature",), "missing required usage for client certificate: client auth"),
        (CLIENT, pem("ann"), ("client auth", "server auth"), "invalid usage for client certificate: server auth"),
        (KUBELET_CLIENT, pem(*NODE), CLIENT_USAGES, None),
        (KUBELET_CLIENT, pem(*NODE), (*CLIENT_USAGES, "key encipherment"), None),
        (KUBELET_CLIENT, pem("system:node:n1"), CLIENT_USAGES, "subject organization is not system:nodes"),
        (KUBELET_CLIENT, pem("n1", NODE[1]), CLIENT_USAGES, "subject common name does not begin with system:node:"),
        (KUBELET_CLIENT, pem(*NODE, (DNS,)), CLIENT_USAGES, "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT, pem(*NODE, (EMAIL,)), CLIENT_USAGES, "Email subjectAltNames are not allowed"),
        (KUBELET_CLIENT, pem(*NODE, (ADDRESS,)), CLIENT_USAGES, "IP subjectAltNames are not allowed"),
        (KUBELET_CLIENT, pem(*NODE, (URI,)), CLIENT_USAGES, "URI subjectAltNames are not allowed"),
        (
            KUBELET_CLIENT,
            pem(*NODE),
            ("client auth",),
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (KUBELET_SERVING, pem(*NODE, (DNS,)), SERVER_USAGES, None),
        (KUBELET_SERVING, pem(*NODE, (ADDRESS,)), (*SERVER_USAGES, "key encipherment"), None),
        (KUBELET_SERVING, pem(*NODE), SERVER_USAGES, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, pem(*NODE, (DNS, EMAIL)), SERVER_USAGES, "Email subjectAltNames are not allowed"),
        (KUBELET_SERVING, pem(*NODE, (DNS, URI)), SERVER_USAGES, "URI subjectAltNames are not allowed"),
        (
            KUBELET_SERVING,
            pem(*NODE, (DNS,)),
            CLIENT_USAGES,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        ("example.dev/any", pem("ann"), ("any",), None),
    ],
)
def test_each_signer_has_its_rules(signer: str, request_pem: bytes, usages: tuple[str, ...], why: str | None) -> None:
    assert refusal(signer, read(request_pem), usages) == why


@pytest.mark.parametrize(
    ("author", "signer", "found"),
    [
        ("system:node:n1", KUBELET_CLIENT, ["selfnodeclient", "nodeclient"]),
        ("system:bootstrap:abcdef", KUBELET_CLIENT, ["nodeclient"]),
        ("system:node:n1", CLIENT, []),
        ("system:node:n1", KUBELET_SERVING, []),
    ],
)
def test_only_client_certificates_of_nodes_are_approved_by_themselves(
    author: str, signer: str, found: list[str]
) -> None:
    request = signing_request("csr", signer, CLIENT_USAGES, pem(*NODE))
    request["spec"]["username"] = author
    assert [permission for permission, _ in recognised(request, read(pem(*NODE)))] == found


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        (None, 365 * 24 * HOUR - 300),
        (600, 600),
        (60, 600),
        (3600, 3600),
        (8 * 3600, 8 * HOUR - 300),
        (10**9, 365 * 24 * HOUR - 300),
    ],
)
def test_a_certificate_holds_as_long_as_was_asked_within_bounds(asked: int | None, holds: float) -> None:
    assert lifetime(asked, NOW) == (NOW - 300, NOW + holds)


def test_a_certificate_says_what_was_asked_and_never_outlives_its_authority() -> None:
    authority = Authority.create("test", now=NOW)
    key_usages, extended = usages_of(("key encipherment", "server auth", "client auth"))
    names = (DNS, ADDRESS)
    signed = authority.certify(
        pem(*NODE, names), key_usages=key_usages, extended_usages=extended, start=NOW, end=NOW + 100 * 365 * 24 * HOUR
    )
    certificate = x509.load_pem_x509_certificate(signed)
    assert certificate.not_valid_after_utc.timestamp() == authority.expires
    assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_encipherment, usage.digital_signature) == (True, False)
    listed = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in listed] == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
    assert list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == list(names)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))
    with pytest.raises(ValueError, match="the signer has expired"):
        authority.certify(pem("ann"), key_usages=(), extended_usages=(), start=authority.expires, end=NOW)


def decided(kind: str | None, *, certificate: bytes = b"") -> dict[str, Any]:
    status: dict[str, Any] = {}
    if kind is not None:
        status["conditions"] = [{"type": kind, "status": "True", "lastUpdateTime": format_time(NOW + 60)}]
    if certificate:
        status["certificate"] = base64.b64encode(certificate).decode()
    return {"metadata": metadata("csr"), "status": status}


def certificate_for(seconds: float) -> bytes:
    authority = Authority.create("test", now=NOW)
    return authority.certify(pem("ann"), key_usages=(), extended_usages=(), start=NOW, end=NOW + seconds)


@pytest.mark.parametrize(
    ("request_", "moment"),
    [
        (decided(None), NOW + 24 * HOUR),
        (decided("Denied"), NOW + 60 + HOUR),
        (decided("Failed"), NOW + 60 + HOUR),
        (decided("Approved"), NOW + 60 + 24 * HOUR),
        (decided("Approved", certificate=b"unreadable"), NOW + 60 + HOUR),
        (decided("Approved", certificate=certificate_for(24 * HOUR)), NOW + 60 + HOUR),
        (decided("Approved", certificate=certificate_for(600)), NOW + 600),
        (decided("example.dev/Seen"), None),
    ],
)
def test_a_request_is_kept_for_a_while_after_it_was_answered(request_: dict[str, Any], moment: float | None) -> None:
    assert expiry(request_) == moment


def test_a_pods_request_is_kept_for_a_quarter_of_an_hour() -> None:
    assert pod_request_expiry({"metadata": metadata("pcr")}) == NOW + 900


def bundle(name: str, content: str) -> dict[str, Any]:
    return {"metadata": metadata(name), "spec": {"signerName": SIGNER, "trustBundle": content}}


def test_the_trust_bundle_is_named_by_its_content_and_replaces_those_before() -> None:
    made = plan("CA", [bundle("kubernetes.io:kube-apiserver-serving:old", "OLD")])
    assert made.create is not None
    name = made.create["metadata"]["name"]
    assert name.startswith("kubernetes.io:kube-apiserver-serving:")
    assert len(name.rpartition(":")[2]) == 24
    assert made.create["spec"] == {"signerName": SIGNER, "trustBundle": "CA"}
    assert made.delete == ("kubernetes.io:kube-apiserver-serving:old",)
    assert plan("CA", [bundle(name, "CA")]) == Plan()
    repaired = plan("CA", [bundle(name, "changed")])
    assert repaired.update is not None
    assert repaired.update["spec"]["trustBundle"] == "CA"
