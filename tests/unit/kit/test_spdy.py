"""SPDY as its clients speak it: a client side written here, from the protocol, against the server's session."""

from __future__ import annotations

import asyncio
import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.spdy import (
    FIN,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    SYN_STREAM,
    WINDOW_UPDATE,
    Client,
    control,
    data,
)
from kube_core._kit import spdy
from kube_core._kit.spdy import SpdyError, SpdyStream

pytestmark = pytest.mark.anyio


async def everything(stream: SpdyStream) -> bytes:
    found = b""
    while piece := await stream.receive():
        found += piece
    return found


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    # Every header block of SPDY/3 begins with the checksum of its dictionary, which is known: 78 bb e3 c6 a7 c2.
    assert zlib.adler32(spdy._dictionary()) == 0xE3C6A7C2


async def test_a_stream_is_answered_and_its_headers_are_read_in_lower_case() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"StreamType": "stdin", "requestID": "0"}))
    (stream,) = client.opened
    assert (stream.id, stream.headers) == (1, {"streamtype": "stdin", "requestid": "0"})
    assert client.answers() == [("reply", 1, 0, struct.pack(">I", 0))]


async def test_data_goes_both_ways_until_each_side_has_ended_its_own() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"streamtype": "data"}))
    stream = client.opened[0]
    client.answers()
    await client.session.feed(data(1, b"to ") + data(1, b"server") + data(1, b"", flags=FIN))
    assert await everything(stream) == b"to server"
    assert await stream.receive() == b""
    await stream.send(b"to client")
    await stream.close()
    await stream.close()
    await stream.send(b"too late")
    assert client.answers() == [("data", 1, 0, b"to client"), ("data", 1, FIN, b"")]


async def test_a_stream_may_be_opened_with_nothing_to_come() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"streamtype": "error"}, flags=FIN))
    assert await client.opened[0].receive() == b""


async def test_a_stream_that_both_sides_ended_is_forgotten() -> None:
    client = Client()
    for stream in range(1, 41, 2):
        await client.session.feed(client.open(stream, {"port": "80"}))
        opened = client.opened[-1]
        if stream % 4 == 1:
            await client.session.feed(data(stream, b"", flags=FIN))
            await opened.close()
        else:
            await opened.close()
            await client.session.feed(data(stream, b"", flags=FIN))
    assert len(client.opened) == 20
    assert client.session._streams == {}


async def test_a_peer_that_resets_a_stream_ends_it_both_ways() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}))
    client.answers()
    await client.session.feed(control(RST_STREAM, struct.pack(">II", 1, 5)))
    assert await client.opened[0].receive() == b""
    await client.opened[0].send(b"nobody hears this")
    await client.session.feed(data(1, b"nor this"))
    assert client.answers() == []


async def test_a_stream_that_is_given_up_tells_the_peer_once() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}))
    client.answers()
    await client.opened[0].reset()
    await client.opened[0].reset()
    assert client.answers() == [("reset", 1, 0, struct.pack(">I", 5))]
    assert await client.opened[0].receive() == b""
    assert client.session._streams == {}


async def test_a_ping_is_answered_with_its_number() -> None:
    client = Client()
    await client.session.feed(control(PING, struct.pack(">I", 7)))
    assert client.answers() == [("ping", 7, 0, b"")]


@pytest.mark.parametrize("last", [b"", control(GOAWAY, struct.pack(">II", 1, 0))], ids=["connection lost", "goaway"])
async def test_the_end_of_the_connection_ends_every_stream(last: bytes) -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}) + client.open(3, {"a": "b"}))
    readers = [asyncio.create_task(stream.receive()) for stream in client.opened]
    await asyncio.sleep(0)
    await client.session.feed(last)
    if not last:
        client.session.end()
    assert await asyncio.gather(*readers) == [b"", b""]


async def test_header_compression_keeps_its_state_over_many_streams() -> None:
    client = Client()
    wanted = [{"streamtype": "data", "port": str(number), "requestid": str(number)} for number in range(200)]
    for number, headers in enumerate(wanted):
        await client.session.feed(client.open(2 * number + 1, headers))
    assert [dict(stream.headers) for stream in client.opened] == wanted
    # The replies share one state too: the client's inflater has read them all.
    assert [answer[:2] for answer in client.answers()] == [("reply", 2 * number + 1) for number in range(200)]


async def test_headers_that_say_nothing_to_us_still_move_the_compression_on() -> None:
    client = Client()
    frames = client.open(1, {"a": "b"})
    frames += control(HEADERS, struct.pack(">I", 1) + client.header_block({"more": "of this"}))
    frames += client.open(3, {"more": "of this", "c": "d"})
    await client.session.feed(frames)
    assert client.opened[1].headers == {"more": "of this", "c": "d"}


async def test_frames_that_need_no_answer_are_passed_over() -> None:
    client = Client()
    await client.session.feed(control(SETTINGS, bytes(12)) + control(9, bytes(8)) + data(99, b"no such stream"))
    await client.session.feed(client.open(1, {"a": "b"}))
    assert len(client.opened) == 1


def cut_short(headers: Mapping[str, str], missing: int) -> bytes:
    client = Client()
    plain = struct.pack(">I", len(headers))
    for name, value in headers.items():
        for text in (name.encode(), value.encode()):
            plain += struct.pack(">I", len(text)) + text
    block = client._deflate.compress(plain[: len(plain) - missing]) + client._deflate.flush(zlib.Z_SYNC_FLUSH)
    return control(SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + block)


def bomb() -> bytes:
    client = Client()
    return client.open(1, {"a": "b" * (2 << 20)})


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol, too long a frame"),
        pytest.param(control(SYN_STREAM, bytes(10), version=2), id="another version"),
        pytest.param(control(SYN_STREAM, b"\0\0\0\1"), id="a stream without headers"),
        pytest.param(control(SYN_STREAM, bytes(10) + b"not compressed"), id="headers that are not compressed"),
        pytest.param(control(RST_STREAM, b"\0"), id="a reset of nothing"),
        pytest.param(control(PING, b""), id="a ping without a number"),
        pytest.param(cut_short({"a": "b" * 20}, 3), id="a value cut short"),
        pytest.param(cut_short({"a": "b"}, 7), id="a value missing"),
        pytest.param(Client().open(1, {}) + Client().open(1, {}), id="a compression begun anew"),
        pytest.param(bomb(), id="headers that unpack to megabytes"),
        pytest.param(struct.pack(">II", 1, (1 << 20) + 1), id="a frame of over a megabyte"),
    ],
)
async def test_what_is_not_the_protocol_is_an_error_of_the_protocol(frames: bytes) -> None:
    with pytest.raises(SpdyError):
        await Client().session.feed(frames)


async def test_headers_that_are_no_text_are_an_error() -> None:
    client = Client()
    plain = struct.pack(">II", 1, 1) + b"\xff" + struct.pack(">I", 1) + b"x"
    block = client._deflate.compress(plain) + client._deflate.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(SpdyError, match="cannot be read"):
        await client.session.feed(control(SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + block))


async def test_a_stream_is_opened_once() -> None:
    client = Client()
    with pytest.raises(SpdyError, match="open already"):
        await client.session.feed(client.open(1, {"a": "b"}) + client.open(1, {"a": "c"}))


async def test_a_frame_of_a_megabyte_is_taken() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}))
    feeding = asyncio.create_task(client.session.feed(data(1, bytes(1 << 20))))
    assert len(await client.opened[0].receive()) == 1 << 20
    await feeding


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_stream_that_nobody_reads_holds_the_connection_up_until_it_is_read() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}) + data(1, bytes(spdy.BUFFERED)))
    feeding = asyncio.create_task(client.session.feed(data(1, b"more")))
    await turns()
    assert not feeding.done()
    await client.opened[0].receive()
    await feeding
    assert await client.opened[0].receive() == b"more"


async def test_a_stream_that_nobody_will_read_holds_nothing_up() -> None:
    client = Client()
    await client.session.feed(client.open(1, {"a": "b"}) + client.open(3, {"a": "b"}))
    feeding = asyncio.create_task(client.session.feed(data(1, bytes(2 * spdy.BUFFERED)) + data(3, b"next")))
    await turns()
    client.opened[0].discard()
    await feeding
    await client.session.feed(data(1, bytes(spdy.BUFFERED)) + data(1, b"end"))
    assert await client.opened[1].receive() == b"next"


async def test_windows_are_respected_and_given_back_with_a_peer_that_has_them() -> None:
    client = Client()
    settings = control(SETTINGS, struct.pack(">III", 1, 7, 100))
    await client.session.feed(settings + client.open(1, {"a": "b"}))
    stream = client.opened[0]
    client.answers()
    sending = asyncio.create_task(stream.send(bytes(150)))
    await turns()
    assert [(what, len(payload)) for what, _, _, payload in client.answers()] == [("data", 100)]
    await client.session.feed(control(WINDOW_UPDATE, struct.pack(">II", 1, 30)))
    await turns()
    assert [(what, len(payload)) for what, _, _, payload in client.answers()] == [("data", 30)]
    await client.session.feed(control(WINDOW_UPDATE, struct.pack(">II", 1, 1000)))
    await sending
    assert [len(payload) for _, _, _, payload in client.answers()] == [20]
    await client.session.feed(data(1, b"12345"))
    assert await stream.receive() == b"12345"
    given = [(what, number, payload) for what, number, _, payload in client.answers()]
    assert given == [("window", each, struct.pack(">I", 5)) for each in (0, 1)]


async def test_a_sender_that_waits_for_its_window_ends_with_the_stream() -> None:
    client = Client()
    await client.session.feed(control(SETTINGS, struct.pack(">III", 1, 7, 0)) + client.open(1, {"a": "b"}))
    sending = asyncio.create_task(client.opened[0].send(b"never"))
    await turns()
    assert not sending.done()
    await client.session.feed(control(RST_STREAM, struct.pack(">II", 1, 5)))
    await sending


async def test_streams_beyond_a_thousand_are_refused() -> None:
    client = Client()
    for number in range(1, 2001, 2):
        await client.session.feed(client.open(number, {"a": "b"}))
    client.answers()
    await client.session.feed(client.open(2001, {"a": "b"}))
    assert client.answers() == [("reset", 2001, 0, struct.pack(">I", 3))]


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_an_error_of_the_protocol(garbage: bytes) -> None:
    async def feed() -> None:
        try:
            await Client().session.feed(garbage)
        except SpdyError:
            pass

    asyncio.run(feed())


Conversation = tuple[list[tuple[dict[str, str], bytes]], list[tuple[str, int, int, bytes]]]


async def talk(pieces: Sequence[bytes], client: Client) -> Conversation:
    for piece in pieces:
        await client.session.feed(piece)
    received = [(dict(stream.headers), await everything(stream)) for stream in client.opened]
    return received, client.answers()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.binary(max_size=40)), max_size=5),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_however_the_bytes_arrive_the_result_is_the_same(streams: list[tuple[str, bytes]], cuts: list[int]) -> None:
    def spoken(client: Client) -> bytes:
        frames = b""
        for number, (value, content) in enumerate(streams):
            stream = 2 * number + 1
            frames += client.open(stream, {"value": value.replace("\0", "")}) + data(stream, content)
            frames += control(PING, struct.pack(">I", stream)) + data(stream, b"", flags=FIN)
        return frames

    whole, split = Client(), Client()
    frames = spoken(whole)
    edges = sorted({0, len(frames), *(cut % (len(frames) + 1) for cut in cuts)})
    pieces = [frames[start:end] for start, end in itertools.pairwise(edges)]
    at_once, in_pieces = asyncio.run(talk([frames], whole)), asyncio.run(talk(pieces, split))
    assert at_once == in_pieces
    assert [content for _, content in at_once[0]] == [content for _, content in streams]
