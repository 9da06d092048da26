"""What the HTTP ingress promises beyond the contract: streaming, headers, retries, upgrades, failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from kube_core._kit.clock import SystemClock
from kube_core.abc.ingress import Backend, IngressError, Route, RouteTable
from kube_core.abc.proxy import Endpoint
from kube_core.testing.proxy import fresh_ip
from kube_drivers.ingress.http import HttpIngress

pytestmark = pytest.mark.anyio

DEAD = Endpoint("127.0.0.1", 1)
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def backend(answer: Answer) -> AsyncIterator[Endpoint]:
    runner = web.ServerRunner(web.Server(answer, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    ip = fresh_ip()
    site = web.TCPSite(runner, ip, 0)
    await site.start()
    try:
        yield Endpoint(ip, runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def ingress(*endpoints: Endpoint, read_timeout: float = 60.0) -> AsyncIterator[str]:
    driver = HttpIngress(clock=SystemClock(), read_timeout=read_timeout)
    await driver.start()
    route = Route("", "/", "Prefix", Backend("default", "web", "80", endpoints))
    await driver.apply(RouteTable((route,)))
    try:
        yield f"http://127.0.0.1:{driver.port}"
    finally:
        await driver.stop()


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


async def show(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": body.decode(),
        },
        headers={"X-Answer": "yes", "Keep-Alive": "timeout=1"},
    )


async def test_the_request_arrives_as_it_was_sent_but_for_hop_by_hop_fields() -> None:
    async with backend(show) as endpoint, ingress(endpoint) as url, client() as session:
        headers = {
            "Host": "guestbook.example",
            "X-Mine": "kept",
            "Connection": "X-Private",
            "X-Private": "dropped",
            "TE": "trailers",
            "X-Forwarded-For": "10.1.2.3",
        }
        async with session.post(f"{url}/a%2Fb/c?q=1&q=%20x", data=b"hello", headers=headers) as response:
            seen = await response.json()
            assert response.headers["X-Answer"] == "yes"
            assert "Keep-Alive" not in response.headers
        assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a%2Fb/c?q=1&q=%20x", "hello")
        assert seen["headers"]["host"] == "guestbook.example"
        assert seen["headers"]["x-mine"] == "kept"
        assert "x-private" not in seen["headers"]
        assert "te" not in seen["headers"]
        assert seen["headers"]["x-forwarded-for"] == "10.1.2.3, 127.0.0.1"
        assert seen["headers"]["x-forwarded-host"] == "guestbook.example"
        assert seen["headers"]["x-forwarded-proto"] == "http"
        assert seen["headers"]["x-forwarded-port"] == url.rpartition(":")[2]


async def test_a_dead_endpoint_is_passed_over_for_any_method() -> None:
    async with backend(show) as endpoint, ingress(DEAD, endpoint) as url, client() as session:
        for method in ("GET", "POST", "POST", "GET"):
            async with session.request(method, f"{url}/", data=b"x" if method == "POST" else None) as response:
                assert response.status == 200


async def test_no_endpoint_is_503_and_no_reachable_one_is_502() -> None:
    async with ingress() as url, client() as session, session.get(url) as response:
        assert response.status == 503
    async with ingress(DEAD) as url, client() as session, session.get(url) as response:
        assert response.status == 502


async def test_a_backend_that_does_not_answer_in_time_is_504() -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with (
        backend(never) as endpoint,
        ingress(endpoint, read_timeout=0.2) as url,
        client() as session,
        session.get(url) as response,
    ):
        assert response.status == 504


async def test_a_broken_connection_is_tried_again_only_where_that_is_safe() -> None:
    asked: list[str] = []

    async def break_off_once(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.method)
        if asked.count(request.method) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text="second time")

    async with (
        backend(break_off_once) as one,
        backend(break_off_once) as two,
        ingress(one, two) as url,
        client() as session,
    ):
        async with session.get(url) as response:
            assert (response.status, await response.text()) == (200, "second time")
        async with session.post(url, data=b"order") as response:
            assert response.status == 502
    assert asked == ["GET", "GET", "POST"]


async def test_bodies_are_streamed_both_ways() -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    heard = asyncio.Event()

    async def conversation() -> AsyncIterator[bytes]:
        yield b"first"
        await heard.wait()  # the second piece is not sent before the first has come back
        yield b"second"

    async with (
        backend(echo) as endpoint,
        ingress(endpoint) as url,
        client() as session,
        session.post(url, data=conversation()) as response,
    ):
        assert await response.content.readexactly(5) == b"first"
        heard.set()
        assert await response.read() == b"second"


async def test_a_response_that_breaks_off_never_looks_complete() -> None:
    async def half(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with backend(half) as endpoint, ingress(endpoint) as url, client() as session, session.get(url) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_head_and_bodiless_answers_keep_their_headers() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/none":
            return web.Response(status=304, headers={"ETag": '"1"'})
        return web.Response(body=b"12345")

    async with backend(answer) as endpoint, ingress(endpoint) as url, client() as session:
        async with session.head(url) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, "5")
        async with session.get(f"{url}/none") as response:
            assert (response.status, response.headers["ETag"], await response.read()) == (304, '"1"', b"")


async def test_compressed_content_and_repeated_fields_pass_untouched() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=b"not really gzip", headers={"Content-Encoding": "gzip"})
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    async with backend(answer) as endpoint, ingress(endpoint) as url, client() as session, session.get(url) as response:
        assert await response.read() == b"not really gzip"
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]


async def test_a_websocket_passes_with_its_subprotocol_and_close_code() -> None:
    async def chat(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4001, message=b"bye")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data)
        return socket

    async with (
        backend(chat) as endpoint,
        ingress(DEAD, endpoint) as url,
        client() as session,
        session.ws_connect(url, protocols=["other", "chat"]) as socket,
    ):
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"
        await socket.send_bytes(b"\0\1")
        assert await socket.receive_bytes() == b"\0\1"
        await socket.send_str("bye")
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 4001)


async def test_a_large_body_that_waits_for_continue_is_asked_for() -> None:
    async with (
        backend(show) as endpoint,
        ingress(endpoint) as url,
        client() as session,
        session.post(url, data=b"x" * 1000, expect100=True) as response,
    ):
        seen = await response.json()
        assert len(seen["body"]) == 1000
        assert "expect" not in seen["headers"]


async def test_a_port_in_use_is_a_clear_error() -> None:
    first = HttpIngress(clock=SystemClock())
    await first.start()
    second = HttpIngress(clock=SystemClock(), port=first.port)
    with pytest.raises(IngressError, match=f"127.0.0.1:{first.port} is in use"):
        await second.start()
    await first.stop()
    await second.stop()


async def test_requests_under_way_end_when_the_ingress_stops() -> None:
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await go_on.wait()
        return web.Response(text="done")

    async with backend(slow) as endpoint, client() as session:
        driver = HttpIngress(clock=SystemClock())
        await driver.start()
        await driver.apply(RouteTable((Route("", "/", "Prefix", Backend("default", "web", "80", (endpoint,))),)))

        async def ask() -> str:
            async with session.get(f"http://127.0.0.1:{driver.port}/") as response:
                return await response.text()

        asking = asyncio.create_task(ask())
        await begun.wait()
        stopping = asyncio.create_task(driver.stop())
        await asyncio.sleep(0)
        go_on.set()
        assert await asking == "done"
        await stopping
