"""Who asks: front proxy, certificate, then token, then nobody in particular."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from kube_core._kit.clock import FakeClock
from kube_core.abc.transport import Request, User
from kube_core.auth.authentication import (
    ANONYMOUS,
    AUTHENTICATED,
    Anonymity,
    Authentication,
    Authenticator,
    StaticTokens,
    TokenAuthenticator,
)
from kube_core.auth.certificates import Authority
from kube_core.auth.request_headers import RequestHeaders
from kube_core.meta.status import Unauthorized
from kube_core.serving.client_certificates import ClientCertificates

pytestmark = pytest.mark.anyio

ALICE = User("alice", ("developers",))
CLOCK = FakeClock()
NOW = CLOCK.now()
CLIENTS, PROXIES, OTHERS = (Authority.create(name, now=NOW) for name in ("clients", "proxies", "others"))


class Robots(TokenAuthenticator):
    async def authenticate(self, token: str, audiences: Sequence[str]) -> Authentication | None:
        if token == "expired":
            raise Unauthorized("it is over")
        return Authentication(User("robot"), tuple(audiences)) if token == "robot" else None


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator(
        [StaticTokens({"alice-token": ALICE}), Robots()],
        audiences=("here",),
        certificates=ClientCertificates(CLIENTS.certificate, CLOCK),
        front_proxy=RequestHeaders(ClientCertificates(PROXIES.certificate, CLOCK), ("proxy",)),
    )


def certificate(authority: Authority, name: str, *groups: str, now: float = NOW) -> bytes:
    pair = authority.issue_client(name, groups, now=now)
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def request(authorization: str = "", certificate: bytes | None = None, **headers: str) -> Request:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if authorization:
        sent["authorization"] = authorization
    return Request("GET", "/", (), sent, peer_certificates=(certificate,) if certificate is not None else ())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_known_token_is_its_user_who_is_authenticated(authenticator: Authenticator, scheme: str) -> None:
    found = await authenticator.authenticate(request(f"{scheme} alice-token"))
    assert (found.name, found.groups) == ("alice", ("developers", AUTHENTICATED))


async def test_others_are_asked_for_other_tokens(authenticator: Authenticator) -> None:
    assert await authenticator.authenticate(request("Bearer robot")) == User("robot", (AUTHENTICATED,))


async def test_a_browser_brings_its_token_as_a_subprotocol(authenticator: Authenticator) -> None:
    encoded = base64.urlsafe_b64encode(b"alice-token").decode().rstrip("=")
    offered = f"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}"
    found = await authenticator.authenticate(request(sec_websocket_protocol=offered))
    assert found.name == "alice"
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(
            request(sec_websocket_protocol="base64url.bearer.authorization.k8s.io.bm9ib2R5")
        )


@pytest.mark.parametrize("token", ["nobody's", "expired", "alice-token2"])
async def test_a_token_that_does_not_hold_is_an_error_not_anonymity(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        await authenticator.authenticate(request(f"Bearer {token}"))


async def test_a_reviewer_is_told_why_a_token_does_not_hold(authenticator: Authenticator) -> None:
    with pytest.raises(Unauthorized, match="it is over"):
        await authenticator.find("expired", ("here",))
    assert await authenticator.find("nobody's", ("here",)) is None


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer  ", "alice-token"])
async def test_without_a_token_nobody_in_particular_asks(authenticator: Authenticator, header: str) -> None:
    assert await authenticator.authenticate(request(header)) == ANONYMOUS


async def test_anonymity_may_end_at_a_few_paths() -> None:
    health_only = Authenticator(anonymity=Anonymity(paths=frozenset({"/livez"})))
    assert await health_only.authenticate(Request("GET", "/livez")) == ANONYMOUS
    for authenticator in (health_only, Authenticator(anonymity=Anonymity(enabled=False))):
        with pytest.raises(Unauthorized):
            await authenticator.authenticate(Request("GET", "/version"))


async def test_a_certificate_comes_before_a_token(authenticator: Authenticator) -> None:
    found = await authenticator.authenticate(request("Bearer alice-token", certificate(CLIENTS, "carol", "g1", "g2")))
    assert (found.name, found.groups) == ("carol", ("g1", "g2", AUTHENTICATED))
    (credential,) = found.extra["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("X509SHA256=")


@pytest.mark.parametrize(
    "presented",
    [
        certificate(OTHERS, "carol"),
        certificate(PROXIES, "carol"),
        certificate(CLIENTS, "carol", now=NOW - 400 * 86_400),
        certificate(CLIENTS, "carol", now=NOW + 86_400),
        b"no certificate at all",
    ],
    ids=["wrong authority", "front proxies' authority", "expired", "of tomorrow", "rubbish"],
)
async def test_a_certificate_that_does_not_hold_is_an_error_not_anonymity(
    authenticator: Authenticator, presented: bytes
) -> None:
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(request(certificate=presented))


def nameless(authority: Authority) -> bytes:
    """A certificate of a subject that has a group and no name."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "g1")])
    wanted = x509.CertificateSigningRequestBuilder().subject_name(subject)
    content = wanted.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    usages = {"extended_usages": ["1.3.6.1.5.5.7.3.2"], "key_usages": ["digital_signature"]}
    made = authority.certify(content, start=NOW - 60, end=NOW + 3600, **usages)
    return x509.load_pem_x509_certificate(made).public_bytes(Encoding.DER)


async def test_a_certificate_that_names_nobody_is_as_good_as_none(authenticator: Authenticator) -> None:
    assert (await authenticator.authenticate(request(certificate=nameless(CLIENTS)))).name == "system:anonymous"
    assert (await authenticator.authenticate(request("Bearer alice-token", nameless(CLIENTS)))).name == "alice"
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(request(certificate=nameless(OTHERS)))


async def test_a_front_proxy_is_believed(authenticator: Authenticator) -> None:
    found = await authenticator.authenticate(
        request(
            certificate=certificate(PROXIES, "proxy"),
            x_remote_user="dave",
            x_remote_uid="7",
            x_remote_group="g1\ng2",
            **{"x_remote_extra_example.org%2ffloor": "three"},
        )
    )
    assert found == User("dave", ("g1", "g2", AUTHENTICATED), "7", {"example.org/floor": ["three"]})


async def test_nobody_else_may_say_who_asks(authenticator: Authenticator) -> None:
    assert await authenticator.authenticate(request(x_remote_user="dave")) == ANONYMOUS
    found = await authenticator.authenticate(request(certificate=certificate(CLIENTS, "proxy"), x_remote_user="dave"))
    assert found.name == "proxy"
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(request(certificate=certificate(PROXIES, "other"), x_remote_user="dave"))


async def test_a_caller_who_is_known_already_is_asked_nothing(authenticator: Authenticator) -> None:
    known = Request("GET", "/", (), {"authorization": "Bearer wrong"}, user=ALICE)
    assert await authenticator.authenticate(known) is ALICE


async def test_nobody_is_authenticated_twice() -> None:
    user = User("a", (AUTHENTICATED,))
    assert await Authenticator([StaticTokens({"t": user})]).authenticate(request("Bearer t")) is user
