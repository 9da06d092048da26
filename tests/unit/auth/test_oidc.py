"""Tokens of other issuers: which hold, whose they are, and when keys are fetched."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fakes.server import Caller, running
from kube_core._kit.clock import FakeClock
from kube_core.api.config_files import ConfigFileError
from kube_core.auth.jwt_issuers import ClaimMapping, ExtraMapping, Issuer, Rule, issuer_of_flags, read_config
from kube_core.auth.oidc import REFRESH, JwtTokens
from kube_core.auth.options import SecurityOptions
from kube_core.auth.webhook_client import HttpsClient, WebhookError, WebhookServer
from kube_core.meta.status import Unauthorized

pytestmark = pytest.mark.anyio

URL = "https://issuer.example"
PLAIN = Issuer(URL, ("kube",), ClaimMapping("sub", f"{URL}#"), ClaimMapping("groups", "oidc:"))


@lru_cache(maxsize=4)
def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(name: str) -> dict[str, str]:
    numbers = key(name).public_key().public_numbers()

    def text(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    return {"kty": "EC", "crv": "P-256", "x": text(numbers.x), "y": text(numbers.y), "kid": name, "use": "sig"}


class FakeIssuer(HttpsClient):
    """Answers what the issuer would."""

    def __init__(self, clock: FakeClock, *keys: str) -> None:
        super().__init__(WebhookServer(URL), clock)
        self.keys = list(keys)
        self.asked: list[str] = []
        self.says_it_is = URL

    async def get(self, url: str) -> Any:
        self.asked.append(url)
        if url == f"{URL}/.well-known/openid-configuration":
            return {"issuer": self.says_it_is, "jwks_uri": f"{URL}/keys"}
        if url == f"{URL}/keys":
            return {"keys": [jwk(name) for name in self.keys]}
        raise WebhookError(f"{url}: status 404")


class World:
    def __init__(self, issuer: Issuer = PLAIN, *keys: str) -> None:
        self.clock = FakeClock()
        self.there = FakeIssuer(self.clock, *(keys or ("one",)))
        self.tokens = JwtTokens(issuer, self.clock, self.there)

    def token(self, signed_by: str = "one", **claims: Any) -> str:
        now = int(self.clock.now())
        whole = {"iss": URL, "aud": "kube", "exp": now + 60, "sub": "ann", **claims}
        kept = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(kept, key(signed_by), algorithm="ES256", headers={"kid": signed_by})

    async def user(self, token: str) -> Any:
        found = await self.tokens.authenticate(token, ("here",))
        assert found is not None
        assert found.audiences == ("here",)
        return found.user


async def test_a_token_that_holds_is_its_user_and_keys_are_fetched_once() -> None:
    world = World()
    for _ in range(3):
        user = await world.user(world.token(groups=["crew", "ops"]))
        assert (user.name, user.groups) == (f"{URL}#ann", ("oidc:crew", "oidc:ops"))
    assert len(world.there.asked) == 2


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "other"}, "expected audience"),
        ({"aud": None}, "expected audience"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"nbf": 9_999_999_999}, "not valid yet"),
        ({"sub": None}, "claim not present"),
        ({"sub": ""}, "claim not present"),
        ({"groups": [1]}, "neither a string"),
    ],
)
async def test_a_token_that_does_not_hold_is_refused(claims: dict[str, Any], why: str) -> None:
    world = World()
    with pytest.raises(Unauthorized, match=why):
        await world.user(world.token(**claims))


async def test_what_can_be_told_from_the_token_itself_costs_no_request() -> None:
    world = World()
    for claims in ({"aud": "other"}, {"exp": 1}):
        with pytest.raises(Unauthorized):
            await world.user(world.token(**claims))
    assert await world.tokens.authenticate(world.token(iss="https://other.example"), ()) is None
    assert await world.tokens.authenticate("rubbish", ()) is None
    assert await world.tokens.authenticate("a.b.c", ()) is None
    assert world.there.asked == []


async def test_a_signature_of_somebody_else_is_refused() -> None:
    world = World()
    forged = jwt.encode(
        {"iss": URL, "aud": "kube", "exp": int(world.clock.now()) + 60, "sub": "boss"},
        key("two"),
        algorithm="ES256",
        headers={"kid": "one"},
    )
    with pytest.raises(Unauthorized, match="failed to verify signature"):
        await world.user(forged)
    unsigned = jwt.encode({"iss": URL, "aud": "kube", "exp": int(world.clock.now()) + 60}, "", algorithm="none")
    with pytest.raises(Unauthorized, match="unexpected signature algorithm"):
        await world.user(unsigned)


async def test_a_new_key_is_looked_for_but_not_for_every_stranger() -> None:
    world = World()
    await world.user(world.token())
    world.there.keys.append("two")
    with pytest.raises(Unauthorized):
        await world.user(world.token("two"))
    assert len(world.there.asked) == 2
    await world.clock.advance(REFRESH)
    assert (await world.user(world.token("two"))).name == f"{URL}#ann"
    for _ in range(5):
        with pytest.raises(Unauthorized):
            await world.user(world.token("three"))
    assert len(world.there.asked) == 4


async def test_an_issuer_that_says_that_it_is_another_is_not_believed() -> None:
    world = World()
    world.there.says_it_is = "https://elsewhere.example"
    with pytest.raises(Unauthorized, match="another issuer"):
        await world.user(world.token())


async def test_an_address_must_be_verified() -> None:
    world = World(Issuer(URL, ("kube",), ClaimMapping("email")))
    assert (await world.user(world.token(email="ann@x.example"))).name == "ann@x.example"
    assert (await world.user(world.token(email="ann@x.example", email_verified=True))).name == "ann@x.example"
    with pytest.raises(Unauthorized, match="not verified"):
        await world.user(world.token(email="ann@x.example", email_verified=False))


async def test_expressions_map_claims_and_refuse_users() -> None:
    world = World(
        Issuer(
            URL,
            ("kube", "other"),
            ClaimMapping(expression="'dex:' + claims.sub"),
            ClaimMapping(expression="claims.roles.split(',')"),
            ClaimMapping("uid"),
            (ExtraMapping("example.org/tenant", "claims.tenant"),),
            (Rule("claims.tenant == 'blue'", "only blue ones"), Rule(claim="hd", value="x.example")),
            (Rule("!user.username.startsWith('dex:system:')", "not the system's"),),
        )
    )
    good = {"roles": "a,b", "tenant": "blue", "hd": "x.example", "uid": "u7", "jti": "t1"}
    user = await world.user(world.token(**good))
    assert (user.name, user.groups, user.uid) == ("dex:ann", ("a", "b"), "u7")
    assert user.extra == {
        "example.org/tenant": ["blue"],
        "authentication.kubernetes.io/credential-id": ["JTI=t1"],
    }
    changes: list[tuple[dict[str, Any], str]] = [
        ({"tenant": "red"}, "only blue ones"),
        ({"hd": "y.example"}, "required claim hd"),
        ({"sub": "system:admin"}, "not the system's"),
        ({"roles": None}, "no such key"),
    ]
    for change, why in changes:
        with pytest.raises(Unauthorized, match=why):
            await world.user(world.token(**{**good, **change}))


def test_the_flags_are_one_issuer() -> None:
    assert issuer_of_flags(SecurityOptions()) is None
    found = issuer_of_flags(SecurityOptions(oidc_issuer_url=URL, oidc_client_id="kube"))
    assert found is not None
    assert found.username == ClaimMapping("sub", f"{URL}#")
    by_address = issuer_of_flags(
        SecurityOptions(
            oidc_issuer_url=URL,
            oidc_client_id="kube",
            oidc_username_claim="email",
            oidc_groups_claim="groups",
            oidc_groups_prefix="oidc:",
            oidc_required_claim=["hd=x.example"],
        )
    )
    assert by_address is not None
    assert by_address.username == ClaimMapping("email", "")
    assert by_address.groups == ClaimMapping("groups", "oidc:")
    assert by_address.claim_rules == (Rule(claim="hd", value="x.example"),)
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"oidc_issuer_url": "http://x"}, "oidc-issuer-url: .*https"),
        ({"oidc_issuer_url": URL}, "oidc-client-id: required"),
        ({"oidc_issuer_url": URL, "oidc_client_id": "k", "oidc_signing_algs": "HS256"}, "oidc-signing-algs: HS256"),
    ]
    for options, why in mistakes:
        with pytest.raises(ConfigFileError, match=why):
            issuer_of_flags(SecurityOptions(**options))


CONFIG = """
kind: AuthenticationConfiguration
apiVersion: apiserver.config.k8s.io/v1
jwt:
- issuer:
    url: https://issuer.example
    audiences: [kube]
  claimMappings:
    username: {claim: sub, prefix: "dex:"}
    groups: {expression: "claims.roles.split(',')"}
    extra: [{key: example.org/tenant, valueExpression: claims.tenant}]
  claimValidationRules: [{claim: hd, requiredValue: x.example}]
  userValidationRules: [{expression: "user.username != 'x'", message: "no"}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
"""


def test_a_configuration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "authentication.yaml"
    file.write_text(CONFIG)
    found = read_config(file)
    (issuer,) = found.issuers
    assert issuer.username == ClaimMapping("sub", "dex:")
    assert issuer.user_rules == (Rule("user.username != 'x'", "no"),)
    assert found.anonymity is not None
    assert found.anonymity.allows("/livez")
    assert not found.anonymity.allows("/version")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("https://issuer", "http://issuer", r"jwt\[0\]\.issuer\.url: URL scheme must be https"),
        ("[kube]", "[]", r"jwt\[0\]\.issuer\.audiences: at least one"),
        ("[kube]", "[kube, other]", "audienceMatchPolicy: must be MatchAny"),
        (', prefix: "dex:"', "", r"claimMappings\.username\.prefix: required when claim is set"),
        ("claims.roles.split(',')", "claims.roles.split(", r"claimMappings\.groups\.expression: .*does not compile"),
        ("example.org/tenant", "tenant", r"extra\[0\]\.key: .*domain-prefixed"),
        ("example.org/tenant", "k8s.io/tenant", r"extra\[0\]\.key: .*reserved"),
        ("requiredValue", "requiredvalue", r"claimValidationRules\[0\]\.requiredvalue: unknown field"),
        ("enabled: true", "enabled: false", "anonymous.conditions: enabled should be set to true"),
        (
            "audiences: [kube]",
            "discoveryURL: https://issuer.example/, audiences: [kube]".replace(", ", "\n    "),
            "discoveryURL: discoveryURL must be different from URL",
        ),
        ("https://issuer", "https://ann:x@issuer", "issuer.url: URL must not contain a username or password"),
        ("issuer.example", "issuer.example?a=b", "issuer.url: URL must not contain a query"),
        ("issuer.example", "issuer.example#a", "issuer.url: URL must not contain a fragment"),
        ("[kube]", '["kube", "kube"]', r'audiences\[1\]: "kube" is there twice'),
        ("[kube]", "[kube]\n    audienceMatchPolicy: MatchAll", "must be empty or MatchAny for single audience"),
        (
            "[kube]",
            "[kube]\n    certificateAuthority: nothing",
            "certificateAuthority: does not contain any",
        ),
        ("[kube]", "[kube]\n    egressSelectorType: cluster", "egressSelectorType: there are no egress selectors"),
        (
            "{claim: hd, requiredValue: x.example}",
            "{expression: claims.admin}",
            r"Rules\[0\]\.expression: must evaluate to bool",
        ),
        ("requiredValue: x.example", "message: nope", r"Rules\[0\]\.message: may not be specified when claim is set"),
        ("[{claim: hd, requiredValue: x.example}]", "[{claim: hd}, {claim: hd}]", r"Rules\[1\]\.claim: is there twice"),
        ("user.username != 'x'", "user.name != 'x'", "undefined field 'name'"),
        (
            '{claim: sub, prefix: "dex:"}',
            "{expression: claims.email}",
            r"username\.expression: claims\.email_verified",
        ),
    ],
)
def test_a_configuration_that_is_wrong_is_told_with_its_field(tmp_path: Path, old: str, new: str, wanted: str) -> None:
    file = tmp_path / "authentication.yaml"
    assert old in CONFIG
    file.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigFileError, match=wanted):
        read_config(file)


@pytest.mark.parametrize(
    "rule",
    [
        "claims.?email_verified.orValue(true) == true",
        "has(claims.email_verified) && claims.email_verified == true",
    ],
)
def test_an_address_names_users_where_something_asks_whether_it_is_theirs(tmp_path: Path, rule: str) -> None:
    file = tmp_path / "authentication.yaml"
    text = CONFIG.replace('{claim: sub, prefix: "dex:"}', "{expression: claims.email}")
    file.write_text(text.replace("{claim: hd, requiredValue: x.example}", f'{{expression: "{rule}"}}'))
    assert read_config(file).issuers[0].username == ClaimMapping(expression="claims.email")


def test_the_servers_own_issuer_is_not_for_others(tmp_path: Path) -> None:
    file = tmp_path / "authentication.yaml"
    file.write_text(CONFIG)
    with pytest.raises(ConfigFileError, match="this server's own issuer"):
        read_config(file, disallowed=("https://issuer.example",))


async def test_the_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "authentication.yaml"
    file.write_text(CONFIG)
    async with running(security=SecurityOptions(authentication_config=file)) as api:
        assert await _anonymously(api, "/livez") == 200
        file.write_text(CONFIG.replace("/livez", "/healthz/ping"))
        await api.clock.advance(61.0)
        assert await _anonymously(api, "/livez") == 401
        assert await _anonymously(api, "/healthz/ping") == 403  # let through to the authorizers
        file.write_text(CONFIG.replace("/livez", "/version").replace("jwt:", "jvt:"))
        await api.clock.advance(61.0)  # a mistake is told to the log, and what there was goes on
        assert await _anonymously(api, "/healthz/ping") == 403  # let through to the authorizers


async def _anonymously(api: Caller, path: str) -> int:
    return (await api.ask("GET", path, token="")).status
