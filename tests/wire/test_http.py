"""The HTTP adapter on a real socket: TLS, bodies of every kind of wrong, clients that go away, and many watches."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import orjson
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from fakes.certificates import issue
from fakes.connection import Connection
from fakes.waiting import eventually
from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.apiserver import responses
from kube_core.auth.certificates import KeyPair
from kube_core.cluster import Cluster

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


@attrs.frozen
class Wire:
    cluster: Cluster
    directory: Path

    async def connect(self, pair: KeyPair | None = None) -> Connection:
        """A connection as the admin, or with another certificate."""
        pair = pair or self.cluster.admin
        file = self.directory / "pair.pem"
        file.write_bytes(pair.certificate + pair.key)
        context = ssl.create_default_context(cadata=self.cluster.authority.certificate.decode())
        context.load_cert_chain(file)
        return await self._open(context)

    async def connect_without_certificate(self) -> Connection:
        return await self._open(ssl.create_default_context(cadata=self.cluster.authority.certificate.decode()))

    async def _open(self, context: ssl.SSLContext) -> Connection:
        port = self.cluster.port
        return Connection(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"))

    @property
    def watches(self) -> int:
        return len(self.cluster.bus.topic(resources.CONFIG_MAPS.group_resource))


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with Cluster(nodes=0, controllers=()) as cluster:
        yield Wire(cluster, tmp_path)


@pytest.fixture
async def connection(wire: Wire) -> AsyncIterator[Connection]:
    opened = await wire.connect()
    yield opened
    await opened.close()


async def test_a_client_certificate_is_who_it_says(wire: Wire) -> None:
    pair = wire.cluster.authority.issue_client("alice", ["developers"], now=wire.cluster.clock.now())
    alice = await wire.connect(pair)
    answer = await alice.ask("GET", MAPS)
    assert (answer.status, 'User \\"alice\\" cannot list' in answer.body.decode()) == (403, True)
    await alice.close()


async def test_without_a_certificate_the_token_counts_and_without_both_nobody_asks(wire: Wire) -> None:
    stranger = await wire.connect_without_certificate()
    assert 'User \\"system:anonymous\\"' in (await stranger.ask("GET", MAPS)).body.decode()
    wrong = await stranger.ask("GET", MAPS, head="Authorization: Bearer wrong\r\n")
    assert (wrong.status, wrong.document["message"]) == (401, "Unauthorized")
    assert (await stranger.ask("GET", "/livez")).body == b"ok"
    await stranger.close()


@pytest.mark.parametrize("flaw", ["another authority", "expired", "of tomorrow", "of a server"])
async def test_a_bad_certificate_is_unauthorized_unless_there_is_a_token(tmp_path: Path, flaw: str) -> None:
    async with Cluster(nodes=0, controllers=(), tokens={"better": User("bob")}) as cluster:
        wire, own, now = Wire(cluster, tmp_path), _authority_of(cluster), cluster.clock.now()
        shown = {
            "another authority": issue("x", issue("kube-core", ca=True, now=now), groups=["system:masters"], now=now),
            "expired": issue("x", own, now=now, starts=-9.0, ends=-1.0),
            "of tomorrow": issue("x", own, now=now, starts=1.0),
            "of a server": issue("x", own, usages=[ExtendedKeyUsageOID.SERVER_AUTH], now=now),
        }[flaw]
        connection = await wire.connect(shown.pair())
        for path in (MAPS, "/livez"):
            answer = await connection.ask("GET", path)
            assert (answer.status, answer.document["reason"]) == (401, "Unauthorized")
        answer = await connection.ask("GET", MAPS, head="Authorization: Bearer better\r\n")
        assert (answer.status, 'User \\"bob\\" cannot list' in answer.body.decode()) == (403, True)
        await connection.close()


async def test_a_certificate_may_lead_to_the_authority_by_others_that_the_client_sends(wire: Wire) -> None:
    now = wire.cluster.clock.now()
    between = issue("between", _authority_of(wire.cluster), ca=True, usages=(), now=now)
    own = issue("carol", between, now=now)
    for pair, status in ((own.pair(between), 403), (own.pair(), 401)):
        connection = await wire.connect(pair)
        # Every request of a connection is the same client's.
        for _ in range(2):
            assert (await connection.ask("GET", MAPS)).status == status
        await connection.close()


def _authority_of(cluster: Cluster) -> KeyPair:
    return cluster.authority.pair


async def test_requests_that_do_not_wait_for_answers_are_answered_in_order(connection: Connection) -> None:
    for number in range(10):
        body = b'{"metadata":{"name":"m%d"}}' % number
        connection.send("POST", MAPS, body, head="Content-Type: application/json\r\n")
        connection.send("GET", f"{MAPS}/m{number}")
    answers = [await connection.answer() for _ in range(20)]
    assert [answer.status for answer in answers] == [201, 200] * 10
    assert [answer.document["metadata"]["name"] for answer in answers[1::2]] == [f"m{number}" for number in range(10)]


async def test_head_and_options_are_not_served_and_have_no_body(connection: Connection) -> None:
    head = await connection.ask("HEAD", "/livez")
    assert head.body == b""
    assert (await connection.ask("OPTIONS", MAPS)).status == 405
    # The connection is as good as before.
    assert (await connection.ask("GET", "/livez")).body == b"ok"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"metadata":{"name":"a"}',
        b'{"metadata":{"name":"\xff\xfe"}}',
        b"\x00" * 50,
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"metadata":{"name":"a"}}trailing',
        b"[]",
        b"null",
        b'"text"',
        b'{"metadata":[]}',
    ],
)
async def test_a_body_that_is_no_object_is_the_clients_fault(connection: Connection, body: bytes) -> None:
    for method, path, kind in (
        ("POST", MAPS, "application/json"),
        ("PATCH", f"{MAPS}/a", "application/merge-patch+json"),
        ("PATCH", f"{MAPS}/a?fieldManager=x", "application/apply-patch+yaml"),
        ("PUT", f"{MAPS}/a", "application/json"),
    ):
        answer = await connection.ask(method, path, body, head=f"Content-Type: {kind}\r\n", length=len(body))
        assert 400 <= answer.status < 500, (method, kind, answer)
        assert answer.document["kind"] == "Status"


async def test_text_that_is_no_unicode_in_path_query_or_header_is_the_clients_fault(wire: Wire) -> None:
    for path, head in (
        (f"{MAPS}/a\udcff", ""),
        (f"{MAPS}/%ff%fe", ""),
        (f"{MAPS}?labelSelector=a\udcff(", ""),
        (f"{MAPS}?labelSelector=%ff(", ""),
        (f"{MAPS}?continue=%ff", ""),
        (MAPS, "Accept: text/\udcff\r\n"),
        ("//evil/x", ""),
        ("*", ""),
    ):
        opened = await wire.connect()
        answer = await opened.ask("GET", path, head=head)
        assert 400 <= answer.status < 500, (path, head, answer)
        await opened.close()
    opened = await wire.connect()
    head = "Content-Type: application/json\r\nUser-Agent: bad\udcff/1\r\n"
    answer = await opened.ask("POST", MAPS, b'{"metadata":{"name":"a"}}', head=head)
    assert answer.status == 201, answer
    await opened.close()


@pytest.mark.parametrize("said", [True, False])
async def test_a_body_that_is_too_large_is_413(wire: Wire, said: bool) -> None:
    opened = await wire.connect()
    size = 3 * 1024 * 1024 + 1
    if said:
        opened.send("POST", MAPS, length=size, head="Content-Type: application/json\r\n")
    else:
        opened.send("POST", MAPS, head="Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n")
        opened.writer.write(b"%x\r\n" % size + b" " * size + b"\r\n")
    answer = await opened.answer()
    assert (answer.status, answer.document["reason"]) == (413, "RequestEntityTooLarge")
    await opened.close()


async def test_a_client_that_sends_slowly_is_waited_for(wire: Wire) -> None:
    slow, quick = await wire.connect(), await wire.connect()
    body = b'{"metadata":{"name":"slow"}}'
    slow.send("POST", MAPS, body[:5], length=len(body), head="Content-Type: application/json\r\n")
    for position in range(5, len(body)):
        await slow.writer.drain()
        # Others are served meanwhile.
        if position % 8 == 0:
            assert (await quick.ask("GET", "/livez")).status == 200
        slow.writer.write(body[position : position + 1])
    assert (await slow.answer()).status == 201
    await slow.close()
    await quick.close()


async def test_a_client_that_goes_away_within_its_body_leaves_nothing(wire: Wire) -> None:
    opened = await wire.connect()
    opened.send("POST", MAPS, b'{"metadata":', length=500, head="Content-Type: application/json\r\n")
    await opened.writer.drain()
    await opened.close()
    other = await wire.connect()
    assert (await other.ask("GET", MAPS)).document["items"] == []
    await other.close()


async def test_what_is_not_http_is_refused_and_the_server_goes_on(wire: Wire) -> None:
    for rubbish in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        opened = await wire.connect()
        opened.writer.write(rubbish)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await opened.answer()).status == 400
        await opened.close()
    opened = await wire.connect()
    assert (await opened.ask("GET", "/livez")).status == 200
    await opened.close()


async def test_a_watch_ends_when_its_client_goes_away(wire: Wire) -> None:
    before = wire.watches
    opened = await wire.connect()
    opened.send("GET", f"{MAPS}?watch=1")
    assert (await opened.head())[0] == 200
    assert wire.watches == before + 1
    opened.writer.transport.abort()

    async def gone() -> bool:
        return wire.watches == before

    await eventually(gone)


async def test_a_watch_whose_client_never_reads_its_answer_ends_too(wire: Wire) -> None:
    before = wire.watches
    for _ in range(20):
        opened = await wire.connect()
        opened.send("GET", f"{MAPS}?watch=1")
        opened.writer.transport.abort()

    async def gone() -> bool:
        return wire.watches == before

    await eventually(gone)


async def test_two_hundred_idle_watches_hear_of_what_concerns_them(wire: Wire) -> None:
    before = wire.watches
    watching = [await wire.connect() for _ in range(200)]
    for number, opened in enumerate(watching):
        opened.send("GET", f"{MAPS}?watch=1&fieldSelector=metadata.name%3Dm{number}")
    assert [(await opened.head())[0] for opened in watching] == [200] * 200
    assert wire.watches == before + 200
    for number in (0, 77, 199):
        await wire.cluster.client.create(
            resources.CONFIG_MAPS, {"metadata": {"name": f"m{number}", "namespace": "default"}}
        )
        event = orjson.loads(await watching[number].chunk())
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", f"m{number}")
    assert not any(opened.reader._buffer for opened in watching)  # type: ignore[attr-defined]
    for opened in watching:
        opened.writer.transport.abort()

    async def gone() -> bool:
        return wire.watches == before

    await eventually(gone)


async def test_a_server_that_stops_ends_its_watches_cleanly(tmp_path: Path) -> None:
    async with Cluster(nodes=0, controllers=()) as cluster:
        opened = await Wire(cluster, tmp_path).connect()
        opened.send("GET", f"{MAPS}?watch=1")
        await opened.head()
        reading = asyncio.create_task(opened.chunk())
        await asyncio.sleep(0)
    with contextlib.suppress(asyncio.IncompleteReadError, ValueError):
        assert await reading == b""
    await opened.close()


async def test_a_watch_with_a_time_ends_with_its_last_chunk(connection: Connection) -> None:
    connection.send("GET", f"{MAPS}?watch=1&timeoutSeconds=1")
    assert (await connection.head())[1]["transfer-encoding"] == "chunked"
    assert await connection.chunk() == b""
    assert (await connection.ask("GET", "/livez")).body == b"ok"


async def test_a_long_answer_is_compressed_for_who_takes_that(wire: Wire, connection: Connection) -> None:
    long = orjson.dumps({"metadata": {"name": "long"}, "data": {"k": "x" * 200_000}})
    await connection.ask("POST", MAPS, long)
    plain = await connection.ask("GET", f"{MAPS}/long")
    assert "content-encoding" not in plain.headers
    packed = await connection.ask("GET", f"{MAPS}/long", head="Accept-Encoding: br, gzip;q=0.8\r\n")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(packed.body) == plain.body
    short = await connection.ask("GET", "/api/v1/namespaces/default", head="Accept-Encoding: gzip\r\n")
    assert "content-encoding" not in short.headers


async def test_every_answer_says_what_it_is_called_in_the_audit_log(connection: Connection) -> None:
    assert (await connection.ask("GET", MAPS)).headers["audit-id"]
    assert (await connection.ask("GET", "/none", head="Audit-Id: mine\r\n")).headers["audit-id"] == "mine"


@pytest.mark.parametrize("accepted", ["", "Accept-Encoding: gzip\r\n"])
async def test_a_long_list_comes_in_pieces(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, accepted: str
) -> None:
    for name in range(7):
        await connection.ask("POST", MAPS, orjson.dumps({"metadata": {"name": f"{name}"}}))
    at_once = await connection.ask("GET", MAPS)
    monkeypatch.setattr(responses, "_LONG", 5)
    monkeypatch.setattr(responses, "_PIECE", 3)
    connection.send("GET", MAPS, head=accepted)
    status, headers = await connection.head()
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    body = b""
    while chunk := await connection.chunk():
        body += chunk
    assert headers.get("content-encoding", "") == ("gzip" if accepted else "")
    # The cluster's own loops write meanwhile.
    assert orjson.loads(gzip.decompress(body) if accepted else body)["items"] == at_once.document["items"]
    # The connection serves on.
    assert (await connection.ask("GET", f"{MAPS}/0")).status == 200
