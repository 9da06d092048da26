"""The HTTP transport, against a small server of the test's own on loopback."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from aiohttp import WSMsgType, web

from fakes.api import PODS
from kube_core._kit.clock import FakeClock
from kube_core._kit.random import Random
from kube_core.abc.transport import Request, WatchEvent
from kube_core.auth.certificates import Authority
from kube_core.client.client import ApiClient
from kube_core.client.connection import ClientCertificate, Connection, ExecPlugin, Impersonation
from kube_core.client.http import HttpTransport
from kube_core.client.kubeconfig import load_connection, merge_context
from kube_core.meta.status import Expired, NotFound, ServiceUnavailable, TooManyRequests, Unauthorized

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.define
class Server:
    """Answers with `answer`; `seen` are the requests, `connections` how many connections they came over."""

    answer: Handler
    url: str = ""
    seen: list[web.Request] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    connections: set[Any] = attrs.field(factory=set)
    runner: web.ServerRunner | None = None
    port: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        self.seen.append(request)  # type: ignore[arg-type]
        self.connections.add(request.transport)
        self.bodies.append(await request.read())
        return await self.answer(request)  # type: ignore[arg-type]

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self.runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = self.runner.addresses[0][1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None


async def answer_pod(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})


def failure(code: int, reason: str, **headers: str) -> web.Response:
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason.lower()}
    return web.json_response(status, status=code, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(answer_pod)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def connect(server: Server, clock: FakeClock) -> AsyncIterator[Callable[..., ApiClient]]:
    clients: list[ApiClient] = []

    def make(**options: Any) -> ApiClient:
        connection = Connection(**{"server": server.url, **options})
        clients.append(ApiClient(HttpTransport(connection, clock=clock, random=Random(1)), field_manager="me"))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def timer_set(clock: FakeClock) -> None:
    """Return once something waits for the clock."""
    async with asyncio.timeout(10):
        while clock.next_timer() is None:  # noqa: ASYNC110 (real sockets are at work: there is no event to await)
            await asyncio.sleep(0.001)


async def test_requests_reuse_their_connection(server: Server, connect: Callable[..., ApiClient]) -> None:
    client = connect()
    for _ in range(3):
        assert (await client.get(PODS, "a", "default"))["metadata"]["name"] == "a"
    assert len(server.connections) == 1


async def test_paths_and_selectors_are_escaped(server: Server, connect: Callable[..., ApiClient]) -> None:
    await connect().list(PODS, "default", label_selector="a in (b,c),d!=e&f", field_selector="spec.nodeName=n 1")
    await connect().get_path("/apis/x y/é")
    assert server.seen[0].query["labelSelector"] == "a in (b,c),d!=e&f"
    assert server.seen[0].query["fieldSelector"] == "spec.nodeName=n 1"
    assert server.seen[1].path == "/apis/x y/é"


async def test_writes_name_their_manager_and_patch_type(server: Server, connect: Callable[..., ApiClient]) -> None:
    client = connect()
    await client.patch(PODS, "a", {"metadata": {"labels": {"x": "1"}}}, "default", patch_type="strategic")
    assert server.seen[0].headers["Content-Type"] == "application/strategic-merge-patch+json"
    assert server.seen[0].query["fieldManager"] == "me"
    assert orjson.loads(server.bodies[0]) == {"metadata": {"labels": {"x": "1"}}}


async def test_failures_are_raised_as_what_they_are(server: Server, connect: Callable[..., ApiClient]) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return failure(404, "NotFound")

    server.answer = answer
    with pytest.raises(NotFound):
        await connect().get(PODS, "a", "default")


async def test_answer_of_a_proxy_that_is_no_status_is_an_error(
    server: Server, connect: Callable[..., ApiClient]
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="bad gateway")

    server.answer = answer
    with pytest.raises(Exception, match="bad gateway") as caught:
        await connect().get(PODS, "a", "default")
    assert getattr(caught.value, "code", 0) == 502


async def test_dead_peer_is_unavailable(server: Server, connect: Callable[..., ApiClient]) -> None:
    await server.stop()
    with pytest.raises(ServiceUnavailable, match=r"cannot reach http://127\.0\.0\.1:\d+: Connection refused$"):
        await connect().get(PODS, "a", "default")


async def test_answer_cut_off_half_way_is_unavailable(server: Server, connect: Callable[..., ApiClient]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"kind":')
        assert request.transport is not None
        request.transport.close()
        return response

    server.answer = answer
    with pytest.raises(ServiceUnavailable):
        await connect().create(PODS, {"metadata": {"name": "a", "namespace": "default"}})


async def test_closed_client_refuses(connect: Callable[..., ApiClient]) -> None:
    client = connect()
    await client.close()
    with pytest.raises(ServiceUnavailable, match="closed"):
        await client.get(PODS, "a", "default")


async def test_busy_server_is_asked_again_when_it_says(
    server: Server, connect: Callable[..., ApiClient], clock: FakeClock
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if len(server.seen) == 1:
            return failure(429, "TooManyRequests", **{"Retry-After": "7"})
        return await answer_pod(request)

    server.answer = answer
    asked = asyncio.ensure_future(connect().get(PODS, "a", "default"))
    await timer_set(clock)
    assert clock.next_timer() == 7.0
    await clock.advance(7)
    assert (await asked)["kind"] == "Pod"


async def test_refusal_without_retry_after_is_not_tried_again(
    server: Server, connect: Callable[..., ApiClient]
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return failure(429, "TooManyRequests")

    server.answer = answer
    with pytest.raises(TooManyRequests):
        await connect().create_subresource(PODS, "a", "eviction", {}, "default")
    assert len(server.seen) == 1


def watch_answer(*chunks: bytes, end: bool = True) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if not end:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


def line(name: str, kind: str = "ADDED", size: int = 0) -> bytes:
    return orjson.dumps({"type": kind, "object": {"metadata": {"name": name}, "x": "x" * size}}) + b"\n"


async def collect(events: AsyncIterator[WatchEvent]) -> list[str]:
    return [event.object["metadata"]["name"] async for event in events]


async def test_watch_events_come_whole_however_they_are_cut(server: Server, connect: Callable[..., ApiClient]) -> None:
    data = line("a") + line("b", size=300_000) + b"\n" + line("c")
    server.answer = watch_answer(data[:10], data[10:70], data[70:100_000], data[100_000:])
    assert await collect(connect().watch_once(PODS, "default", resource_version="5", label_selector="x=y")) == [
        "a",
        "b",
        "c",
    ]
    query = server.seen[0].query
    assert (query["watch"], query["allowWatchBookmarks"], query["resourceVersion"]) == ("true", "true", "5")
    assert 300 <= int(query["timeoutSeconds"]) <= 600


async def test_watch_that_ends_in_half_a_line_drops_the_half(server: Server, connect: Callable[..., ApiClient]) -> None:
    server.answer = watch_answer(line("a"), line("b")[:20])
    assert await collect(connect().watch_once(PODS)) == ["a"]


async def test_watch_whose_connection_breaks_is_unavailable(server: Server, connect: Callable[..., ApiClient]) -> None:
    server.answer = watch_answer(line("a"), end=False)
    events = connect().watch_once(PODS)
    assert (await anext(events)).type == "ADDED"
    with pytest.raises(ServiceUnavailable):
        await anext(events)


async def test_error_event_is_raised(server: Server, connect: Callable[..., ApiClient]) -> None:
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
    server.answer = watch_answer(orjson.dumps(gone) + b"\n")
    with pytest.raises(Expired):
        await collect(connect().watch_once(PODS))


async def test_watch_of_a_silent_peer_is_given_up(
    server: Server, connect: Callable[..., ApiClient], clock: FakeClock
) -> None:
    released = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(line("a"))
        await released.wait()
        return response

    server.answer = answer
    events = connect().watch_once(PODS)
    first = await anext(events)
    assert first.type == "ADDED"
    following = asyncio.ensure_future(collect(events))
    await timer_set(clock)
    await clock.advance(700)
    with pytest.raises(ServiceUnavailable):
        await following
    released.set()


async def test_chunks_of_a_stream_come_as_they_are_sent(server: Server, connect: Callable[..., ApiClient]) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await more.wait()
        await response.write(b"two\n")
        return response

    server.answer = answer
    chunks = connect().stream("/api/v1/namespaces/default/pods/a/log", [("follow", "true")])
    assert await anext(chunks) == b"one\n"
    more.set()
    assert [chunk async for chunk in chunks] == [b"two\n"]


async def test_upgraded_stream_carries_channel_messages(server: Server, connect: Callable[..., ApiClient]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(b"\x01" + message.data[1:].upper())
                break
        await socket.close()
        return socket

    server.answer = answer
    path = PODS.path("default", "a", "exec")
    stream = await connect().transport.connect(Request("GET", path, [("command", "cat"), ("stdin", "true")]))
    await stream.send(b"\x00hello")
    assert await stream.receive() == b"\x01HELLO"
    assert await stream.receive() == b""
    await stream.close()
    assert server.seen[0].headers["Sec-WebSocket-Protocol"] == "v5.channel.k8s.io,v4.channel.k8s.io"


async def test_refused_upgrade_is_an_error(server: Server, connect: Callable[..., ApiClient]) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return failure(404, "NotFound")

    server.answer = answer
    with pytest.raises(NotFound):
        await connect().transport.connect(Request("GET", PODS.path("default", "a", "exec")))


async def test_token_and_impersonation_are_sent(server: Server, connect: Callable[..., ApiClient]) -> None:
    acting = Impersonation(user="jane", groups=("dev", "ops"), extra={"why": ["test"]})
    await connect(token="secret", impersonate=acting).get(PODS, "a", "default")
    headers = server.seen[0].headers
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Impersonate-User"] == "jane"
    assert headers.getall("Impersonate-Group") == ["dev", "ops"]
    assert headers["Impersonate-Extra-why"] == "test"


async def test_token_file_is_read_again(
    server: Server, connect: Callable[..., ApiClient], clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    client = connect(token_file=str(path))
    await client.get(PODS, "a", "default")
    path.write_text("two\n")
    await client.get(PODS, "a", "default")
    await clock.advance(61)
    await client.get(PODS, "a", "default")
    tokens = [request.headers["Authorization"] for request in server.seen]
    assert tokens == ["Bearer one", "Bearer one", "Bearer two"]


def plugin(tmp_path: Path, body: str) -> ExecPlugin:
    script = tmp_path / "plugin.py"
    script.write_text("import json, os, pathlib\n" + body)
    return ExecPlugin(command=sys.executable, args=(str(script),), provide_cluster_info=True)


COUNTING_PLUGIN = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert info["spec"]["cluster"]["server"].startswith("http://127")
counter = pathlib.Path(__file__).with_name("count")
count = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(count))
status = {"token": f"token-{count}", "expirationTimestamp": "2026-01-01T01:00:00Z"}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


async def test_exec_plugin_is_asked_again_when_its_token_is_over(
    server: Server, connect: Callable[..., ApiClient], clock: FakeClock, tmp_path: Path
) -> None:
    client = connect(exec_plugin=plugin(tmp_path, COUNTING_PLUGIN))
    await client.get(PODS, "a", "default")
    await client.get(PODS, "a", "default")
    await clock.advance(3600)
    await client.get(PODS, "a", "default")
    tokens = [request.headers["Authorization"] for request in server.seen]
    assert tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_refused_token_is_renewed_once(server: Server, connect: Callable[..., ApiClient], tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer token-1":
            return failure(401, "Unauthorized")
        return await answer_pod(request)

    server.answer = answer
    assert (await connect(exec_plugin=plugin(tmp_path, COUNTING_PLUGIN)).get(PODS, "a", "default"))["kind"] == "Pod"
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("body", "complaint"),
    [("raise SystemExit(3)", "exit code 3"), ("print('{}')", "no usable answer"), ("print('hm')", "no usable answer")],
)
async def test_failing_exec_plugin_is_one_clear_line(
    connect: Callable[..., ApiClient], tmp_path: Path, body: str, complaint: str
) -> None:
    with pytest.raises(Unauthorized, match=complaint):
        await connect(exec_plugin=plugin(tmp_path, body)).get(PODS, "a", "default")


async def test_a_watch_with_a_refused_token_is_opened_with_another(
    server: Server, connect: Callable[..., ApiClient], tmp_path: Path
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer token-1":
            return failure(401, "Unauthorized")
        return web.Response(body=b"", content_type="application/json")

    server.answer = answer
    assert [each async for each in connect(exec_plugin=plugin(tmp_path, COUNTING_PLUGIN)).watch_once(PODS)] == []
    assert len(server.seen) == 2


async def test_an_exec_plugin_that_must_ask_somebody_is_refused_without_a_terminal(
    connect: Callable[..., ApiClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    asking = attrs.evolve(plugin(tmp_path, COUNTING_PLUGIN), interactive_mode="Always")
    with pytest.raises(Unauthorized, match="interactiveMode: Always"):
        await connect(exec_plugin=asking).get(PODS, "a", "default")


async def test_an_exec_plugin_is_told_what_the_cluster_says_for_it(
    server: Server, connect: Callable[..., ApiClient], tmp_path: Path
) -> None:
    body = """
import json, os
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
token = info["spec"]["cluster"]["config"]["audience"] + str(info["spec"]["interactive"])
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": {"token": token}}))
"""
    told = attrs.evolve(plugin(tmp_path, body), cluster_config={"audience": "here"}, interactive_mode="Never")
    await connect(exec_plugin=told).get(PODS, "a", "default")
    assert server.seen[-1].headers["Authorization"] == "Bearer hereFalse"


def issued_by(authority: Authority, name: str, host: str = "") -> ClientCertificate:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    pair = authority.issue_server(name, [host], now=now) if host else authority.issue_client(name, now=now)
    return ClientCertificate(pair.certificate, pair.key)


def an_authority() -> Authority:
    return Authority.create("ca", now=datetime.datetime.now(datetime.UTC).timestamp())


async def test_tls_checks_the_server_and_shows_the_client_certificate(tmp_path: Path) -> None:
    authority = an_authority()
    issued = issued_by(authority, "server", "kubernetes")
    pem = tmp_path / "server.pem"
    pem.write_bytes(issued.certificate + issued.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode())
    context.load_cert_chain(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    peers: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        peers.append(request.get_extra_info("peercert"))
        return await answer_pod(request)

    server = Server(answer)
    await server.start(context)
    trusted = Connection(
        server=server.url,
        certificate_authority=authority.certificate,
        tls_server_name="kubernetes",
        client_certificate=issued_by(authority, "jane"),
    )
    client = ApiClient(HttpTransport(trusted))
    stranger = ApiClient(HttpTransport(attrs.evolve(trusted, certificate_authority=an_authority().certificate)))
    wrong_name = ApiClient(HttpTransport(attrs.evolve(trusted, tls_server_name="other")))
    try:
        await client.get(PODS, "a", "default")
        assert peers[0]["subject"] == ((("commonName", "jane"),),)
        for refused in (stranger, wrong_name):
            with pytest.raises(ServiceUnavailable, match="ertificate"):
                await refused.get(PODS, "a", "default")
    finally:
        for each in (client, stranger, wrong_name):
            await each.close()
        await server.stop()


async def test_files_that_are_replaced_are_used_by_new_connections(tmp_path: Path, clock: FakeClock) -> None:
    authority, second = an_authority(), an_authority()
    contexts: list[ssl.SSLContext] = []
    for each in (authority, second):
        issued = issued_by(each, "server", "127.0.0.1")
        (tmp_path / "server.pem").write_bytes(issued.certificate + issued.key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=each.certificate.decode())
        context.load_cert_chain(tmp_path / "server.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)

    async def answer(request: web.Request) -> web.StreamResponse:
        names = request.get_extra_info("peercert")["subject"]
        return web.json_response({"name": names[0][0][1], "token": request.headers["Authorization"]})

    def put(name: str, issuer: Authority, *files: str) -> None:
        issued = issued_by(issuer, name)
        content = {"ca": issuer.certificate, "crt": issued.certificate, "key": issued.key, "token": name.encode()}
        for file in files:
            (tmp_path / file).write_bytes(content[file])

    put("jane", authority, "ca", "crt", "key", "token")
    cluster = {"server": "https://unknown", "certificate-authority": "ca"}
    user = {"client-certificate": "crt", "client-key": "key", "tokenFile": "token"}
    merge_context(tmp_path / "config", "x", cluster=cluster, user=user)
    server = Server(answer)
    await server.start(contexts[0])
    transport = HttpTransport(attrs.evolve(load_connection(tmp_path / "config"), server=server.url), clock=clock)
    client = ApiClient(transport)
    try:
        assert await client.get_path("/") == {"name": "jane", "token": "Bearer jane"}

        # Half of a pair, and a file that is not there for a moment, change nothing.
        put("joan", second, "crt")
        (tmp_path / "ca").unlink()
        await clock.advance(11)
        assert await client.get_path("/") == {"name": "jane", "token": "Bearer jane"}

        put("joan", second, "ca", "crt", "key", "token")
        await server.stop()
        await server.start(contexts[1])
        await clock.advance(11)
        assert await client.get_path("/") == {"name": "joan", "token": "Bearer joan"}
    finally:
        await client.close()
        await server.stop()


async def test_a_refused_token_of_a_file_is_read_again(
    server: Server, connect: Callable[..., ApiClient], tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("one")

    async def answer(request: web.Request) -> web.StreamResponse:
        path.write_text("two")
        if request.headers["Authorization"] == "Bearer one":
            return failure(401, "Unauthorized")
        return await answer_pod(request)

    server.answer = answer
    assert (await connect(token_file=str(path)).get(PODS, "a", "default"))["kind"] == "Pod"
    assert len(server.seen) == 2


async def test_a_proxy_of_the_environment_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with ApiClient(HttpTransport(Connection(server="http://cluster.example"))) as client:
        assert (await client.get(PODS, "a", "default"))["kind"] == "Pod"
    assert server.seen[0].headers["Host"] == "cluster.example"


async def test_a_socks_proxy_without_its_library_is_one_clear_line(
    connect: Callable[..., ApiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(ServiceUnavailable, match="pip install aiohttp-socks"):
        await connect(proxy_url="socks5://127.0.0.1:1080").get(PODS, "a", "default")
