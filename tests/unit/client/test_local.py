"""The transport without a socket: who asks, what is raised, and that nothing is encoded on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from fakes.api import PODS
from kube_core.abc.transport import ByteStream, Request, Response, User, WatchEvent, WatchRequest
from kube_core.client.client import ApiClient
from kube_core.client.local import LocalTransport
from kube_core.meta.documents import freeze
from kube_core.meta.status import Expired, NotFound, ServiceUnavailable, not_found

pytestmark = pytest.mark.anyio

USER = User("jane", ("dev",))


class Server:
    """Answers every request with `answer`, every watch with `events`."""

    def __init__(self, answer: Response | None = None, events: Sequence[WatchEvent] = ()) -> None:
        self.answer = answer or Response(document={})
        self.events = events
        self.seen: list[Request] = []
        self.watches: list[tuple[WatchRequest, User]] = []
        self.closed = False

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        return self.answer

    async def watch(self, wanted: WatchRequest, user: User) -> AsyncIterator[WatchEvent]:
        self.watches.append((wanted, user))
        try:
            for event in self.events:
                yield event
        finally:
            self.closed = True

    def client(self, **options: Any) -> ApiClient:
        return ApiClient(LocalTransport(self.handle, self, USER, **options))


async def test_caller_is_named_and_documents_pass_as_they_are() -> None:
    shared = freeze({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})
    server = Server(Response(document=shared))
    sent = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "web"}}
    assert await server.client().create(PODS, sent) is shared
    [request] = server.seen
    assert request.user is USER
    assert request.document is sent
    assert request.body == b""


async def test_failure_is_raised_with_its_details_and_headers() -> None:
    status = not_found(PODS.group_resource, "a").to_document()
    server = Server(Response(status=404, document=status, headers={"x-why": "test"}))
    with pytest.raises(NotFound, match='pods "a" not found') as caught:
        await server.client().get(PODS, "a", "web")
    assert caught.value.details == {"name": "a", "kind": "pods"}
    assert caught.value.headers == {"x-why": "test"}


async def test_failure_that_is_only_text_is_raised_too() -> None:
    server = Server(Response(status=503, content_type="text/plain", body=b"shutting down\n"))
    with pytest.raises(ServiceUnavailable, match=r"^shutting down$"):
        await server.client().get_path("/readyz")


async def test_watch_passes_its_selection_and_ends_with_its_reader() -> None:
    events = [WatchEvent("ADDED", {"metadata": {"name": name}}) for name in "ab"]
    server = Server(events=events)
    watch: Any = server.client().watch_once(PODS, "web", label_selector="x=y", resource_version="7")
    assert await anext(watch) is events[0]
    await watch.aclose()
    assert server.closed
    assert server.watches == [(WatchRequest(PODS, "web", label_selector="x=y", resource_version="7"), USER)]


async def test_error_event_is_raised() -> None:
    gone = WatchEvent("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    with pytest.raises(Expired):
        await anext(Server(events=[gone]).client().watch_once(PODS))


async def test_stream_gives_chunks_as_they_come() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    server = Server(Response(stream=chunks(), content_type="text/plain"))
    assert [chunk async for chunk in server.client().stream("/log")] == [b"one", b"two"]
    server = Server(Response(body=b"all", content_type="text/plain"))
    assert [chunk async for chunk in server.client().stream("/log")] == [b"all"]


async def test_upgrade_goes_to_the_connector_where_there_is_one() -> None:
    class Stream(ByteStream):
        async def receive(self) -> bytes:
            return b""

        async def send(self, data: bytes) -> None: ...

        async def close(self) -> None: ...

    stream = Stream()

    async def connect(request: Request) -> ByteStream:
        assert request.user is USER
        return stream

    request = Request("GET", PODS.path("web", "a", "exec"))
    assert await Server().client(connector=connect).transport.connect(request) is stream
    with pytest.raises(ServiceUnavailable):
        await Server().client().transport.connect(request)


async def test_closed_client_refuses() -> None:
    client = Server().client()
    await client.close()
    with pytest.raises(ServiceUnavailable):
        await client.get(PODS, "a", "web")
    with pytest.raises(ServiceUnavailable):
        await anext(client.watch_once(PODS))
