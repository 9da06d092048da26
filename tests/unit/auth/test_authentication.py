"""Who asks: certificate, then token, then nobody in particular."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kube_core.abc.transport import Request, User
from kube_core.auth.authentication import ANONYMOUS, AUTHENTICATED, Authenticator
from kube_core.auth.certificates import Authority
from kube_core.meta.status import Unauthorized

ALICE = User("alice", ("developers",))


def verifier(token: str) -> User | None:
    if token == "expired":
        raise Unauthorized("Unauthorized")
    return User("robot") if token == "robot" else None


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator({"alice-token": ALICE}, [verifier])


def request(authorization: str = "", certificate: bytes | None = None, user: User | None = None) -> Request:
    headers = {"authorization": authorization} if authorization else {}
    return Request("GET", "/", (), headers, peer_certificate=certificate, user=user)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_known_token_is_its_user_who_is_authenticated(authenticator: Authenticator, scheme: str) -> None:
    found = authenticator.authenticate(request(f"{scheme} alice-token"))
    assert (found.name, found.groups) == ("alice", ("developers", AUTHENTICATED))


def test_verifiers_are_asked_for_other_tokens(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(request("Bearer robot")) == User("robot", (AUTHENTICATED,))


@pytest.mark.parametrize("token", ["nobody's", "expired", "alice-token2"])
def test_a_token_that_does_not_hold_is_an_error_not_anonymity(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        authenticator.authenticate(request(f"Bearer {token}"))


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer  ", "alice-token"])
def test_without_a_token_nobody_in_particular_asks(authenticator: Authenticator, header: str) -> None:
    assert authenticator.authenticate(request(header)) == ANONYMOUS


def test_a_certificate_comes_before_a_token(authenticator: Authenticator) -> None:
    pair = Authority.create("test", now=0.0).issue_client("carol", ["g1", "g2"], now=0.0)
    der = x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)
    found = authenticator.authenticate(request("Bearer alice-token", der))
    assert (found.name, found.groups) == ("carol", ("g1", "g2", AUTHENTICATED))


def test_a_caller_who_is_known_already_is_asked_nothing(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(request("Bearer wrong", user=ALICE)) is ALICE


def test_nobody_is_authenticated_twice() -> None:
    user = User("a", (AUTHENTICATED,))
    assert Authenticator({"t": user}).authenticate(request("Bearer t")) is user
