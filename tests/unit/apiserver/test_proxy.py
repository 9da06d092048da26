"""`proxy` of pods, services and nodes, over sockets on both sides."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import WSMsgType, web
from yarl import URL

from fakes.backend import MACHINE, Front, authority, backend, front, server_tls
from fakes.server import running
from kube_core.apiserver.subresources.proxy import split_name

pytestmark = pytest.mark.anyio

CORE = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
PAGE = '<html><a href="/next">next</a> <a href="near">near</a></html>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p", ("", "p", "")),
        ("p:80", ("", "p", "80")),
        ("https:p:", ("https", "p", "")),
        (":p:http", ("", "p", "http")),
        ("ftp:p:80", None),
        ("", None),
        (":80", None),
        ("a:b:c:d", None),
    ],
)
def test_a_name_may_carry_scheme_and_port(text: str, found: Any) -> None:
    assert split_name(text) == found


@attrs.define
class Site:
    """What a pod serves."""

    seen: list[web.BaseRequest] = attrs.field(factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        match request.rel_url.path:
            case "/page":
                return web.Response(text=PAGE, content_type="text/html")
            case "/packed":
                headers = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
                return web.Response(body=gzip.compress(PAGE.encode()), headers=headers)
            case "/moved":
                return web.Response(status=302, headers={"Location": "/page"})
            case "/socket":
                return await self._echo(request)
            case "/broken":
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b"half")
                assert request.transport is not None
                request.transport.abort()
                return response
        body = (await request.read()).decode()
        return web.Response(text=f"{request.method} {request.raw_path} {body}", headers={"X-Site": "mine"})

    async def _echo(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"echo {message.data}")
        return socket


@attrs.frozen
class Place:
    front: Front
    site: Site
    port: int

    def url(self, path: str) -> URL:
        return URL(f"{self.front.url}{path}", encoded=True)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    site = Site()
    async with running(exempt_ranges=("127.0.0.0/8",)) as api, backend(site.answer) as port, front(api) as there:
        await api.post(f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}})
        container = {"name": "main", "image": "i:1", "ports": [{"containerPort": port}]}
        await api.post(f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
        status = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "phase": "Running"}
        await api.patch(f"{CORE}/pods/p/status", {"status": status})
        yield Place(there, site, port)


async def a_service(place: Place, **address: Any) -> None:
    api = place.front.caller
    ports = [{"name": "web", "port": 80}, {"name": "gone", "port": 81}]
    await api.post(f"{CORE}/services", {"metadata": {"name": "s"}, "spec": {"ports": ports}})
    target = {"kind": "Pod", "namespace": "default", "name": "p"}
    subset = {
        "addresses": [{"ip": "127.0.0.1", "targetRef": target, **address}],
        "ports": [{"name": "web", "port": place.port}],
    }
    await api.post(f"{CORE}/endpoints", {"metadata": {"name": "s"}, "subsets": [subset]})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_path_and_query_reaches_the_pod(place: Place, method: str) -> None:
    url = place.url(f"{CORE}/pods/p/proxy/a%20b/c/?x=1%2F2&x=3")
    headers = {"X-Mine": "kept", "Connection": "X-Dropped", "X-Dropped": "1", "Cookie": "a=b"}
    async with place.front.session.request(method, url, data=b"body", headers=headers) as response:
        assert response.status == 200
        assert await response.text() == f"{method} /a%20b/c/?x=1%2F2&x=3 body"
        assert response.headers["X-Site"] == "mine"
    sent = place.site.seen[0].headers
    assert (sent["X-Mine"], sent["Cookie"], sent["X-Forwarded-For"]) == ("kept", "a=b", "127.0.0.1")
    assert sent["X-Forwarded-Uri"] == f"{CORE}/pods/p/proxy/a%20b/c/"
    assert "X-Dropped" not in sent
    assert "Authorization" not in sent


async def test_without_a_path_a_reader_is_sent_to_the_one_with_a_slash(place: Place) -> None:
    url = place.url(f"{CORE}/pods/p:{place.port}/proxy?a=b")
    async with place.front.session.get(url, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (301, f"{CORE}/pods/p:{place.port}/proxy/?a=b")
    async with place.front.session.post(url, data=b"x") as response:
        assert await response.text() == "POST /?a=b x"


@pytest.mark.parametrize("path", ["page", "packed"])
async def test_links_of_a_page_lead_through_the_server(place: Place, path: str) -> None:
    async with place.front.session.get(place.url(f"{CORE}/pods/p/proxy/{path}")) as response:
        body = await response.read()
        text = (gzip.decompress(body) if path == "packed" else body).decode()
    assert text == PAGE.replace("/next", f"{CORE}/pods/p/proxy/next")


async def test_redirects_lead_through_the_server(place: Place) -> None:
    url = place.url(f"{CORE}/pods/p/proxy/moved")
    async with place.front.session.get(url, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, f"{CORE}/pods/p/proxy/page")


async def test_a_websocket_is_passed_through(place: Place) -> None:
    async with place.front.session.ws_connect(place.url(f"{CORE}/pods/p/proxy/socket")) as socket:
        for word in ("one", "two"):
            await socket.send_str(word)
            assert await socket.receive_str() == f"echo {word}"


async def test_an_answer_that_breaks_off_does_not_look_complete(place: Place) -> None:
    with pytest.raises(aiohttp.ClientError):
        async with place.front.session.get(place.url(f"{CORE}/pods/p/proxy/broken")) as response:
            await response.read()


async def test_a_pod_that_does_not_listen_is_unavailable(place: Place) -> None:
    async with place.front.session.get(place.url(f"{CORE}/pods/p:1/proxy/x")) as response:
        document = await response.json()
    assert (response.status, document["reason"]) == (503, "ServiceUnavailable")
    assert document["message"] == "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"


@pytest.mark.parametrize("name", ["s:web", "s:80", "http:s:web"])
async def test_a_service_is_reached_by_the_name_or_number_of_its_port(place: Place, name: str) -> None:
    await a_service(place)
    async with place.front.session.get(place.url(f"{CORE}/services/{name}/proxy/x")) as response:
        assert (response.status, await response.text()) == (200, "GET /x ")


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("s:99", 503, 'no service port 99 found for service "s"'),
        ("s:gone", 503, 'no endpoints available for service "s:gone"'),
        ("s", 503, 'no endpoints available for service "s"'),
        ("ftp:s:web", 400, 'invalid service request "ftp:s:web"'),
        ("none", 503, 'no endpoints available for service "none"'),
    ],
)
async def test_a_service_says_what_it_lacks(place: Place, name: str, status: int, message: str) -> None:
    await a_service(place)
    response = await place.front.caller.ask("GET", f"{CORE}/services/{name}/proxy/x")
    assert (response.status, response.decoded()["message"]) == (status, message)


@pytest.mark.parametrize("address", [{"targetRef": None}, {"ip": "10.9.8.7"}])
async def test_an_endpoint_that_is_no_pods_is_not_gone_to(place: Place, address: dict[str, Any]) -> None:
    await a_service(place, **address)
    response = await place.front.caller.ask("GET", f"{CORE}/services/s:web/proxy/x")
    assert (response.status, place.site.seen) == (500, [])


async def test_an_address_of_the_host_is_refused_unless_the_network_declares_it() -> None:
    async with running() as api:
        await api.post(f"{CORE}/serviceaccounts", {"metadata": {"name": "default"}})
        await api.post(
            f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        )
        for address in ("127.0.0.1", "169.254.169.254"):
            status = {"podIP": address, "podIPs": [{"ip": address}]}
            await api.ask(
                "PATCH", f"{CORE}/pods/p/status", {"status": status}, content_type="application/merge-patch+json"
            )
            response = await api.ask("GET", f"{CORE}/pods/p:80/proxy/x")
            assert (response.status, response.decoded()["message"]) == (400, "address not allowed")


async def test_a_node_is_reached_at_its_own_server_over_tls(place: Place, tmp_path: Path) -> None:
    api, trusted = place.front.caller, authority()
    pair = trusted.issue_server("node", ["127.0.0.1"], now=MACHINE.now())
    async with backend(place.site.answer, server_tls(pair, tmp_path)) as port:
        await api.post("/api/v1/nodes", {"metadata": {"name": "n"}})
        response = await api.ask("GET", "/api/v1/nodes/n/proxy/pods")
        assert (response.status, "no preferred addresses" in response.decoded()["message"]) == (503, True)
        status = {
            "addresses": [{"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        await api.patch("/api/v1/nodes/n/status", {"status": status})
        for name in ("n", f"n:{port}", f"https:n:{port}"):
            async with place.front.session.get(place.url(f"/api/v1/nodes/{name}/proxy/pods?x")) as answer:
                assert (answer.status, await answer.text()) == (200, "GET /pods?x ")
        async with place.front.session.get(place.url(f"/api/v1/nodes/n:{place.port}/proxy/plain")) as answer:
            assert await answer.text() == "GET /plain "
