"""A group that another server serves: whether it answers, requests passed on, discovery and OpenAPI merged."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from aiohttp import web
from yarl import URL

from fakes.backend import MACHINE, Front, authority, backend, front, server_tls
from fakes.server import ALICE, running
from fakes.waiting import eventually
from kube_core.apiserver.aggregation import layer

pytestmark = pytest.mark.anyio

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = "v1.metrics.test"
GROUP = "/apis/metrics.test/v1"
RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": "metrics.test/v1",
    "resources": [
        {"name": "samples", "singularName": "sample", "namespaced": True, "kind": "Sample", "verbs": ["get", "list"]},
        {"name": "samples/status", "singularName": "", "namespaced": True, "kind": "Sample", "verbs": ["get"]},
    ],
}
OPENAPI = {
    "swagger": "2.0",
    "paths": {
        f"{GROUP}/samples": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/test.Sample"}}}}},
        "/apis/other/v1/things": {"get": {}},
    },
    "definitions": {"test.Sample": {"type": "object"}, "test.Unused": {"type": "object"}},
}


@attrs.define
class Metrics:
    """The backend's own side: what it was asked, and how it answers."""

    seen: list[web.BaseRequest] = attrs.field(factory=list)
    certificate: Any = None
    broken: bool = False
    go_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        self.certificate = request.get_extra_info("peercert")
        path = request.rel_url.path
        if self.broken:
            return web.Response(status=500, text="broken")
        if path == GROUP:
            return web.json_response(RESOURCES)
        if path == "/openapi/v3":
            return web.json_response({"paths": {f"{GROUP[1:]}": {"serverRelativeURL": f"/openapi/v3{GROUP}?hash=AB"}}})
        if path == f"/openapi/v3{GROUP}":
            return web.json_response({"openapi": "3.0.0", "mine": True}, headers={"ETag": '"AB"'})
        if path == "/openapi/v2":
            return web.json_response(OPENAPI, headers={"ETag": '"v2"'})
        if path == f"{GROUP}/watched":
            return await self._watch(request)
        if path == f"{GROUP}/moved":
            return web.Response(status=302, headers={"Location": "http://elsewhere/"})
        if path.startswith(f"{GROUP}/namespaces/"):
            body = (await request.read()).decode()
            headers = [("X-Twice", "a"), ("X-Twice", "b")]
            return web.Response(status=201, text=f"{request.method} {request.raw_path} {body}", headers=headers)
        return web.Response(status=404)

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"type":"ADDED"}\n')
        await self.go_on.wait()
        await response.write(b'{"type":"DELETED"}\n')
        return response


@attrs.frozen
class Place:
    """A server, its backend, and the Service that leads there."""

    front: Front
    metrics: Metrics
    port: int
    authority: bytes

    async def lead_there(self) -> None:
        caller = self.front.caller
        core, slices = "/api/v1/namespaces/default", "/apis/discovery.k8s.io/v1/namespaces/default"
        ports = [{"name": "https", "port": 443}]
        await caller.post(f"{core}/services", {"metadata": {"name": "metrics"}, "spec": {"ports": ports}})
        piece = {
            "metadata": {"name": "metrics-1", "labels": {"kubernetes.io/service-name": "metrics"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": "https", "port": self.port}],
        }
        await caller.post(f"{slices}/endpointslices", piece)

    async def register(self, **spec: Any) -> None:
        bundle = base64.b64encode(self.authority).decode()
        body = {
            "metadata": {"name": NAME},
            "spec": {
                "group": "metrics.test",
                "version": "v1",
                "groupPriorityMinimum": 2000,
                "versionPriority": 10,
                "caBundle": bundle,
                "service": {"namespace": "default", "name": "metrics"},
                **spec,
            },
        }
        await self.front.caller.post(SERVICES, body)

    async def condition(self, reason: str) -> Any:
        """The condition `Available`, once it is for this reason."""

        async def there() -> Any:
            service = await self.front.caller.get(f"{SERVICES}/{NAME}")
            conditions = service.get("status", {}).get("conditions", [])
            return next((each for each in conditions if each["reason"] == reason), None)

        return await eventually(there)

    async def listed(self) -> bool:
        """Whether discovery lists it, which it does as soon as the server has heard of the condition it wrote."""
        groups = (await self.front.caller.get("/apis"))["groups"]
        return "metrics.test" in [each["name"] for each in groups]

    async def served(self) -> None:
        """Return when it answers, and is known."""
        await self.lead_there()
        await self.register()
        await self.condition("Passed")
        await eventually(self.listed)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    # A backend that was slow once is asked again after a time that does not pass here.
    monkeypatch.setattr(layer, "CHECK_TIMEOUT", 40.0)
    metrics, trusted = Metrics(), authority()
    pair = trusted.issue_server("metrics", ["metrics.default.svc"], now=MACHINE.now())
    async with running(exempt_ranges=("127.0.0.0/8",)) as caller:
        caller.server.front_proxy._clock = MACHINE
        clients = caller.server.front_proxy.authority.certificate
        async with backend(metrics.answer, server_tls(pair, tmp_path, clients=clients)) as port, front(caller) as there:
            await caller.server.begin_upkeep()
            yield Place(there, metrics, port, trusted.certificate)


async def test_a_request_is_passed_on_in_the_users_name(place: Place) -> None:
    await place.served()
    place.metrics.seen.clear()
    headers = {"X-Remote-User": "forged", "Impersonate-Extra-Why": "a b"}
    headers |= {"Impersonate-User": ALICE.name, "Impersonate-Group": "developers", "X-Mine": "kept"}
    url = URL(f"{place.front.url}{GROUP}/namespaces/a/samples?x=1%2F2&y", encoded=True)
    async with place.front.session.post(url, data=b"body", headers=headers) as response:
        # Nobody gave alice a right to it.
        assert response.status == 403
    await place.front.caller.post(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "alice"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
        },
    )
    async with place.front.session.post(url, data=b"body", headers=headers) as response:
        assert response.status == 201
        assert await response.text() == f"POST {GROUP}/namespaces/a/samples?x=1%2F2&y body"
        assert response.headers.getall("X-Twice") == ["a", "b"]
    sent = place.metrics.seen[-1].headers
    assert sent["X-Remote-User"] == "alice"
    assert sent.getall("X-Remote-Group") == ["developers", "system:authenticated"]
    assert sent["X-Remote-Extra-why"] == "a b"
    assert (sent["X-Mine"], sent["X-Forwarded-For"]) == ("kept", "127.0.0.1")
    assert not [name for name in sent if name.lower().startswith(("authorization", "impersonate"))]
    assert (("commonName", "front-proxy-client"),) in place.metrics.certificate["subject"]


async def test_a_watch_of_a_backend_is_streamed(place: Place) -> None:
    await place.served()
    async with place.front.session.get(f"{place.front.url}{GROUP}/watched?watch=1") as response:
        assert await response.content.readline() == b'{"type":"ADDED"}\n'
        place.metrics.go_on.set()
        assert await response.content.read() == b'{"type":"DELETED"}\n'


async def test_a_redirect_of_a_backend_is_refused(place: Place) -> None:
    await place.served()
    async with place.front.session.get(f"{place.front.url}{GROUP}/moved") as response:
        assert (response.status, "not permitted" in await response.text()) == (502, True)


async def test_discovery_tells_of_a_backend_and_that_what_it_tells_is_stale(place: Place) -> None:
    await place.served()
    caller = place.front.caller
    groups = {each["name"]: each for each in (await caller.get("/apis"))["groups"]}
    assert groups["metrics.test"]["preferredVersion"]["version"] == "v1"
    assert (await caller.get("/apis/metrics.test"))["versions"][0]["groupVersion"] == "metrics.test/v1"
    async with place.front.session.get(f"{place.front.url}{GROUP}") as response:
        assert (await response.json())["kind"] == "APIResourceList"
    form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    async def aggregated() -> Any:
        items = (await caller.get("/apis", accept=form))["items"]
        return next(each for each in items if each["metadata"]["name"] == "metrics.test")["versions"][0]

    version = await aggregated()
    assert version["freshness"] == "Current"
    entry = version["resources"][0]
    assert (entry["resource"], entry["scope"], entry["verbs"]) == ("samples", "Namespaced", ["get", "list"])
    assert entry["subresources"][0]["subresource"] == "status"
    place.metrics.broken = True
    await caller.patch(f"{SERVICES}/{NAME}", {"spec": {"versionPriority": 11}})
    condition = await place.condition("FailedDiscoveryCheck")
    assert "bad status" in condition["message"]

    async def unlisted() -> bool:
        return not await place.listed()

    await eventually(unlisted)
    stale = await aggregated()
    assert (stale["freshness"], stale["resources"]) == ("Stale", version["resources"])
    async with place.front.session.get(f"{place.front.url}{GROUP}/namespaces/a/samples") as response:
        assert (response.status, await response.text()) == (503, "service unavailable\n")


async def test_openapi_tells_of_a_backend(place: Place) -> None:
    await place.served()
    caller = place.front.caller
    index = orjson.loads((await caller.ask("GET", "/openapi/v3")).encoded())
    assert index["paths"][GROUP[1:]]["serverRelativeURL"] == f"/openapi/v3{GROUP}?hash=AB"
    async with place.front.session.get(f"{place.front.url}/openapi/v3{GROUP}?hash=AB") as response:
        assert (response.headers["ETag"], (await response.json())["mine"]) == ('"AB"', True)
    answer = await caller.ask("GET", "/openapi/v2")
    document = orjson.loads(answer.encoded())
    assert f"{GROUP}/samples" in document["paths"]
    assert "/apis/other/v1/things" not in document["paths"]
    assert "test.Sample" in document["definitions"]
    assert "test.Unused" not in document["definitions"]
    same = await caller.ask("GET", "/openapi/v2", if_none_match=answer.headers["ETag"])
    assert same.status == 304
    await caller.delete(f"{SERVICES}/{NAME}")

    async def forgotten() -> bool:
        return f"{GROUP}/samples" not in orjson.loads((await caller.ask("GET", "/openapi/v2")).encoded())["paths"]

    await eventually(forgotten)
    assert (await caller.ask("GET", f"{GROUP}/samples")).status == 404


async def test_a_backend_that_cannot_be_reached_says_why(place: Place) -> None:
    await place.register()
    assert (await place.condition("ServiceNotFound"))["message"] == 'service/metrics in "default" is not present'
    caller, core = place.front.caller, "/api/v1/namespaces/default"
    other = {"metadata": {"name": "metrics"}, "spec": {"ports": [{"name": "https", "port": 8443}]}}
    await caller.post(f"{core}/services", other)
    assert "is not listening on port 443" in (await place.condition("ServicePortError"))["message"]
    await caller.delete(f"{core}/services/metrics")
    await place.condition("ServiceNotFound")
    await caller.post(f"{core}/services", {**other, "spec": {"ports": [{"name": "https", "port": 443}]}})
    await place.condition("EndpointsNotFound")
    await caller.post(f"{core}/endpoints", {"metadata": {"name": "metrics"}})
    await place.condition("MissingEndpoints")
    subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "https", "port": place.port}]}
    await caller.patch(f"{core}/endpoints/metrics", {"subsets": [subset]})
    await place.condition("Passed")


async def test_a_backend_with_another_authority_is_not_believed_unless_told_so(place: Place) -> None:
    await place.lead_there()
    await place.register(caBundle=base64.b64encode(authority("other").certificate).decode())
    assert "certificate" in (await place.condition("FailedDiscoveryCheck"))["message"]
    spec = {"caBundle": None, "insecureSkipTLSVerify": True}
    await place.front.caller.patch(f"{SERVICES}/{NAME}", {"spec": spec})
    await place.condition("Passed")
