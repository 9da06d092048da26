"""Service account tokens: they hold for their time, for their audience, and while what they are bound to is there."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest

from fakes.objects import pod
from fakes.server import Caller, running
from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.auth.tokens import BoundObject, SigningKey, TokenClaims, TokenIssuer
from kube_core.meta.status import Unauthorized

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example"
CLAIMS = TokenClaims("a", "robot", "uid-1", BoundObject("Pod", "p", "uid-2"), BoundObject("Node", "n", "uid-3"))
ROOT = "/api/v1/namespaces/default"


class Tokens:
    """An issuer whose accounts are there until `gone` says otherwise."""

    def __init__(self, clock: FakeClock, path: Path | None = None) -> None:
        self.clock = clock
        self.gone = False
        self.asked: list[TokenClaims] = []
        self.issuer = TokenIssuer(
            SigningKey(clock, path),
            clock,
            Random(1),
            issuer=ISSUER,
            audiences=(ISSUER, "api"),
            is_current=self._current,
        )

    def _current(self, claims: TokenClaims) -> bool:
        self.asked.append(claims)
        return not self.gone


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signing key, made once."""
    path = tmp_path_factory.mktemp("key") / "service-account.key"
    asyncio.run(SigningKey(FakeClock(), path).private())
    return path


@pytest.fixture
def tokens(kept: Path) -> Tokens:
    return Tokens(FakeClock(), kept)


async def test_a_token_is_its_service_account_with_what_it_is_bound_to(tokens: Tokens) -> None:
    token, expires = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    assert expires == tokens.clock.now() + 600
    found = tokens.issuer.verify(token)
    assert found is not None
    user, audiences = found
    assert (user.name, user.uid, audiences) == ("system:serviceaccount:a:robot", "uid-1", ("api",))
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:a")
    extra = {name.rpartition("/")[2]: list(values) for name, values in user.extra.items()}
    assert extra.pop("credential-id")[0].startswith("JTI=")
    assert extra == {"pod-name": ["p"], "pod-uid": ["uid-2"], "node-name": ["n"], "node-uid": ["uid-3"]}
    assert tokens.asked == [CLAIMS]


async def test_a_token_holds_until_its_time_is_over_and_not_before_it_begins(tokens: Tokens) -> None:
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    await tokens.clock.advance(599)
    assert tokens.issuer.verify(token) is not None
    await tokens.clock.advance(1)
    with pytest.raises(Unauthorized):
        tokens.issuer.verify(token)
    early = Tokens(FakeClock(0.0))
    early.issuer.key = tokens.issuer.key
    with pytest.raises(Unauthorized):
        early.issuer.verify(token)


async def test_a_token_for_others_is_not_for_us(tokens: Tokens) -> None:
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["vault"], seconds=600)
    with pytest.raises(Unauthorized):
        tokens.issuer.verify(token)
    found = tokens.issuer.verify(token, ["other", "vault"])
    assert found is not None
    assert found[1] == ("vault",)


async def test_a_token_of_what_is_gone_does_not_hold(tokens: Tokens) -> None:
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    assert tokens.issuer.verify(token) is not None
    tokens.gone = True
    with pytest.raises(Unauthorized):
        tokens.issuer.verify(token)


async def test_a_token_that_we_did_not_sign_is_none_of_ours(tokens: Tokens) -> None:
    key = await tokens.issuer.key.private()
    payload = {"iss": ISSUER, "exp": 1 << 40, "nbf": 0, "aud": ["api"]}
    foreign = [
        "",
        "a.b",
        "a.b.c",
        "\udc80.b.c",
        jwt.encode(payload, "x" * 32, algorithm="HS256"),
        jwt.encode(payload, "", algorithm="none"),
        jwt.encode({**payload, "iss": "https://other.example"}, key, algorithm="RS256"),
        jwt.encode({name: value for name, value in payload.items() if name != "iss"}, key, algorithm="RS256"),
    ]
    assert [tokens.issuer.verify(token) for token in foreign] == [None] * len(foreign)
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    head, body, signature = token.split(".")
    assert tokens.issuer.verify(f"{head}.{body[:-2]}AA.{signature}") is None


async def test_tokens_hold_over_a_restart_before_any_new_one_is_issued(tokens: Tokens, kept: Path) -> None:
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    restarted = Tokens(tokens.clock, kept)
    found = restarted.issuer.verify(token)
    user = found[0] if found is not None else None
    assert user is not None
    assert user.name == "system:serviceaccount:a:robot"


def test_the_signing_key_is_kept_for_its_owner_only(kept: Path) -> None:
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_verifiers_can_read_the_public_half(tokens: Tokens) -> None:
    token, _ = await tokens.issuer.issue(CLAIMS, audiences=["api"], seconds=600)
    (described,) = (await tokens.issuer.key.jwks())["keys"]
    assert jwt.get_unverified_header(token)["kid"] == described["kid"]
    read = jwt.PyJWK(described)
    times: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    assert jwt.decode(token, read.key, ["RS256"], audience="api", options=times)["sub"].endswith(":robot")


# -- in a server ---------------------------------------------------------------------------------------------------


async def issued(api: Caller, spec: dict[str, Any]) -> str:
    made = await api.post(f"{ROOT}/serviceaccounts/default/token", {"spec": spec})
    return str(made["status"]["token"])


async def review(api: Caller, token: str) -> Any:
    made = await api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    return made["status"]


async def test_a_token_goes_with_its_pod_its_account_and_its_time(kept: Path) -> None:
    async with running(state_directory=kept.parent) as api:
        await api.post(f"{ROOT}/serviceaccounts", {"metadata": {"name": "default"}})
        await api.post(f"{ROOT}/pods", {"metadata": {"name": "p"}, "spec": pod("p")["spec"]})
        free = await issued(api, {})
        bound = await issued(api, {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}})
        brief = await issued(api, {"expirationSeconds": 600})
        for token in (free, bound, brief):
            status = await review(api, token)
            assert status["authenticated"]
            assert status["user"]["username"] == "system:serviceaccount:default:default"
        await api.delete(f"{ROOT}/pods/p", {"gracePeriodSeconds": 0})
        await api.clock.advance(601)
        held = [bool((await review(api, token)).get("authenticated")) for token in (free, bound, brief)]
        assert held == [True, False, False]
        # An account of the same name is another one.
        await api.delete(f"{ROOT}/serviceaccounts/default")
        await api.post(f"{ROOT}/serviceaccounts", {"metadata": {"name": "default"}})
        assert not (await review(api, free)).get("authenticated")
        assert (await api.ask("GET", "/api", token=free)).status == 401


@pytest.mark.parametrize(
    ("spec", "code", "why"),
    [
        ({"expirationSeconds": 599}, 422, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 1 << 33}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"kind": "Pod", "name": "nosuch"}}, 404, 'pods "nosuch" not found'),
        ({"boundObjectRef": {"kind": "Secret", "name": "s", "uid": "other"}}, 409, "does not match the UID in record"),
        (
            {"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "d"}},
            400,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
    ],
)
async def test_a_token_that_cannot_be_is_not_issued(spec: dict[str, Any], code: int, why: str) -> None:
    async with running() as api:
        await api.post(f"{ROOT}/serviceaccounts", {"metadata": {"name": "default"}})
        await api.post(f"{ROOT}/secrets", {"metadata": {"name": "s"}})
        response = await api.ask("POST", f"{ROOT}/serviceaccounts/default/token", {"spec": spec})
        assert (response.status, why in response.decoded()["message"]) == (code, True)
