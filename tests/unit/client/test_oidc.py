"""Identity tokens of an issuer, against a small one of the test's own, over TLS."""

from __future__ import annotations

import base64
import datetime
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from aiohttp import web

from kube_core._kit.certificates import Authority
from kube_core._kit.clock import FakeClock
from kube_core.client.connection import Connection
from kube_core.client.credentials import Credentials
from kube_core.client.kubeconfig import load, load_connection, merge_context
from kube_core.client.oidc import IdentityTokens
from kube_core.meta.status import ServiceUnavailable, Unauthorized

pytestmark = pytest.mark.anyio


def token(expires: float, name: str = "") -> str:
    parts: tuple[dict[str, Any], ...] = ({"alg": "none"}, {"exp": expires, "name": name}, {})
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=") for part in parts)


@attrs.define
class Issuer:
    """Gives `answer` for refresh tokens; `forms` are what it was asked, `told` who asked."""

    clock: FakeClock
    authority: Authority
    answer: dict[str, Any] = attrs.field(factory=dict)
    status: int = 200
    methods: list[str] | None = None
    forms: list[dict[str, Any]] = attrs.field(factory=list)
    told: list[str | None] = attrs.field(factory=list)
    url: str = ""

    async def discovery(self, _request: web.Request) -> web.Response:
        document: dict[str, Any] = {"issuer": self.url, "token_endpoint": f"{self.url}/token"}
        if self.methods is not None:
            document["token_endpoint_auth_methods_supported"] = self.methods
        return web.json_response(document)

    async def refresh(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        self.told.append(request.headers.get("Authorization"))
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def issuer(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Issuer]:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    issuer = Issuer(clock, Authority.create("issuer", now=now))
    pair = issuer.authority.issue_server("issuer", ["127.0.0.1"], now=now)
    pem = tmp_path / "issuer.pem"
    pem.write_bytes(pair.certificate + pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", issuer.discovery)
    application.router.add_post("/token", issuer.refresh)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    issuer.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    issuer.answer = {"id_token": token(clock.now() + 3600, "new"), "refresh_token": "second"}
    yield issuer
    await runner.cleanup()


def written(path: Path, issuer: Issuer, **changes: str) -> Path:
    config = {
        "idp-issuer-url": issuer.url,
        "client-id": "kubectl",
        "client-secret": "s:1",
        "id-token": token(issuer.clock.now() + 60, "old"),
        "refresh-token": "first",
        "idp-certificate-authority-data": base64.b64encode(issuer.authority.certificate).decode(),
        **changes,
    }
    user = {"auth-provider": {"name": "oidc", "config": config}}
    merge_context(path / "config", "me", cluster={"server": "https://x"}, user=user)
    return path / "config"


def kept(path: Path) -> dict[str, str]:
    config: dict[str, str] = load(path).users["me"]["auth-provider"]["config"]
    return config


def shown(credentials: Credentials) -> str:
    return dict(credentials.headers())["Authorization"]


async def test_the_token_is_used_while_it_is_good_and_then_refreshed(
    issuer: Issuer, clock: FakeClock, tmp_path: Path
) -> None:
    path = written(tmp_path, issuer)
    credentials = Credentials(load_connection(path), clock)
    await credentials.refresh()
    assert shown(credentials) == f"Bearer {kept(path)['id-token']}"
    assert issuer.forms == []

    await clock.advance(51)  # ten seconds before the end
    await credentials.refresh()
    await credentials.refresh()
    assert shown(credentials) == f"Bearer {issuer.answer['id_token']}"
    assert issuer.forms == [{"grant_type": "refresh_token", "refresh_token": "first"}]
    assert issuer.told == ["Basic " + base64.b64encode(b"kubectl:s%3A1").decode()]


async def test_new_tokens_are_written_where_the_old_ones_were(issuer: Issuer, clock: FakeClock, tmp_path: Path) -> None:
    path = written(tmp_path, issuer)
    path.write_text("# mine\n" + path.read_text())
    await clock.advance(60)
    await Credentials(load_connection(path), clock).refresh()
    assert path.read_text().startswith("# mine\n")
    assert kept(path)["id-token"] == issuer.answer["id_token"]
    assert kept(path)["refresh-token"] == "second"
    assert kept(path)["client-secret"] == "s:1"

    # The next program has them, and asks nobody.
    await Credentials(load_connection(path), clock).refresh()
    assert len(issuer.forms) == 1


async def test_tokens_that_another_program_refreshed_are_taken(
    issuer: Issuer, clock: FakeClock, tmp_path: Path
) -> None:
    path = written(tmp_path, issuer)
    credentials = Credentials(load_connection(path), clock)
    await clock.advance(60)
    theirs = token(clock.now() + 600, "theirs")
    written(tmp_path, issuer, **{"id-token": theirs})
    await credentials.refresh()
    assert shown(credentials) == f"Bearer {theirs}"
    assert issuer.forms == []


async def test_tokens_that_cannot_be_kept_are_used_all_the_same(
    issuer: Issuer, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    path = written(tmp_path, issuer)
    before = path.read_text()
    monkeypatch.setattr(os, "replace", fail)
    credentials = Credentials(load_connection(path), clock)
    await clock.advance(60)
    await credentials.refresh()
    assert shown(credentials) == f"Bearer {issuer.answer['id_token']}"
    assert path.read_text() == before

    # The file still has the first refresh token, which the issuer has replaced.
    await clock.advance(3600)
    await credentials.refresh()
    assert [form["refresh_token"] for form in issuer.forms] == ["first", "second"]


@pytest.mark.parametrize(
    ("secret", "methods", "expected"),
    [
        ("", None, {"client_id": "kubectl"}),
        ("s", ["client_secret_post"], {"client_id": "kubectl", "client_secret": "s"}),
    ],
)
async def test_the_issuer_says_where_the_client_is_named(
    issuer: Issuer, clock: FakeClock, tmp_path: Path, secret: str, methods: list[str] | None, expected: dict[str, str]
) -> None:
    issuer.methods = methods
    connection = load_connection(written(tmp_path, issuer, **{"client-secret": secret, "id-token": ""}))
    await Credentials(connection, clock).refresh()
    assert issuer.told == [None]
    assert issuer.forms == [{"grant_type": "refresh_token", "refresh_token": "first", **expected}]


@pytest.mark.parametrize(
    ("changes", "status", "answer", "complaint"),
    [
        ({"refresh-token": ""}, 200, {}, "No valid id-token, and cannot refresh without refresh-token"),
        ({}, 200, {"access_token": "x"}, "gave no id_token"),
        ({}, 400, {"error": "invalid_grant"}, "does not refresh the tokens: invalid_grant"),
        ({}, 502, {}, "it answers 502"),
        ({"id-token": "x"}, 200, {}, "cannot be read"),
    ],
)
async def test_what_goes_wrong_is_one_clear_line(
    issuer: Issuer,
    clock: FakeClock,
    tmp_path: Path,
    changes: dict[str, str],
    status: int,
    answer: dict[str, Any],
    complaint: str,
) -> None:
    issuer.status, issuer.answer = status, answer
    connection = load_connection(written(tmp_path, issuer, **{"id-token": "", **changes}))
    with pytest.raises(Unauthorized, match=complaint) as caught:
        await Credentials(connection, clock).refresh()
    assert "\n" not in caught.value.message


async def test_an_issuer_of_another_authority_is_not_believed(issuer: Issuer, clock: FakeClock, tmp_path: Path) -> None:
    stranger = Authority.create("other", now=datetime.datetime.now(datetime.UTC).timestamp())
    provider = load_connection(written(tmp_path, issuer, **{"id-token": ""})).oidc
    assert provider is not None
    tokens = IdentityTokens(attrs.evolve(provider, certificate_authority=stranger.certificate, kubeconfig=""), clock)
    with pytest.raises(ServiceUnavailable, match="cannot reach the issuer"):
        await tokens.current()
    assert issuer.forms == []


async def test_tokens_are_not_shown(issuer: Issuer, tmp_path: Path) -> None:
    connection: Connection = load_connection(written(tmp_path, issuer))
    text = repr(connection)
    assert issuer.url in text
    assert not any(secret in text for secret in ("s:1", "first", kept(tmp_path / "config")["id-token"]))
