"""One question of the gRPC health protocol (`grpc.health.v1.Health/Check`), over HTTP/2 in the clear.

A connection for each question, as upstream's prober makes them. What it takes of gRPC is one frame each way, so no more
than an HTTP/2 library is needed (`h2`, the extra `grpc-probes`). Called by the probes; the words of failures are
upstream's.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import TYPE_CHECKING

from kube_core._kit.varints import varint
from kube_core.abc.runtime import ProbeAnswer, RuntimeFailure

if TYPE_CHECKING:
    from h2.connection import H2Connection
    from h2.events import Event

__all__ = ["check"]

_PATH = "/grpc.health.v1.Health/Check"
_AGENT = "kube-probe/1.37"
_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1
_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
    "DataLoss", "Unauthenticated",
)  # fmt: skip
_UNIMPLEMENTED = 12
_MOST_BYTES = 64 * 1024


async def check(host: str, port: int, service: str, timeout: float) -> ProbeAnswer:
    """What the server says of a service ("": of itself). `timeout` in seconds, for connecting and asking together.

    Raises `RuntimeFailure` where HTTP/2 cannot be spoken here.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connected = False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            connected = True
            try:
                return await _ask(reader, writer, address, service)
            finally:
                writer.transport.abort()
    except TimeoutError:
        if connected:
            return ProbeAnswer(False, f"timeout: health rpc did not complete within {timeout:g}s")
        within = f"within {timeout:g}s: context deadline exceeded"
        return ProbeAnswer(False, f'timeout: failed to connect service "{address}" {within}')
    except OSError as error:
        # gRPC tries again to connect until its time is over.
        why = f"context deadline exceeded: {error.strerror or error}"
        return ProbeAnswer(False, f'timeout: failed to connect service "{address}" within {timeout:g}s: {why}')


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, service: str) -> ProbeAnswer:
    try:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.exceptions import H2Error
    except ImportError:
        raise RuntimeFailure("gRPC probes need the package h2 (the extra grpc-probes)") from None

    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, [
        (":method", "POST"), (":scheme", "http"), (":path", _PATH), (":authority", address),
        ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", _AGENT),
    ])  # fmt: skip
    connection.send_data(stream, _request(service), end_stream=True)
    writer.write(connection.data_to_send())
    headers: dict[str, str] = {}
    body = bytearray()
    over = False
    while not over:
        data = await reader.read(16 * 1024)
        if not data:
            return ProbeAnswer(False, "error: health rpc probe failed: rpc error: code = Unavailable desc = closed")
        try:
            over = _take(connection, connection.receive_data(data), headers, body)
        except H2Error as error:
            return ProbeAnswer(False, f"error: health rpc probe failed: rpc error: code = Internal desc = {error}")
        writer.write(connection.data_to_send())
    return _answer(headers, bytes(body))


def _take(connection: H2Connection, events: list[Event], headers: dict[str, str], body: bytearray) -> bool:
    """Take in what came; whether the answer is whole."""
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
    )

    over = False
    for event in events:
        if isinstance(event, (ResponseReceived, TrailersReceived)):
            headers.update({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, DataReceived):
            body += event.data or b""
            connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
            over = over or len(body) > _MOST_BYTES
        elif isinstance(event, (StreamEnded, StreamReset, ConnectionTerminated)):
            over = True
    return over


def _request(service: str) -> bytes:
    """A `HealthCheckRequest`, in gRPC's frame."""
    name = service.encode()
    message = b"\x0a" + varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4) + message


def _answer(headers: dict[str, str], body: bytes) -> ProbeAnswer:
    code = headers.get("grpc-status", "")
    message = urllib.parse.unquote(headers.get("grpc-message", ""))
    if code not in ("", "0"):
        number = int(code) if code.isdigit() else 2
        if number == _UNIMPLEMENTED:
            what = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return ProbeAnswer(False, f"{what}: {message}")
        name = _CODES[number] if number < len(_CODES) else f"Code({number})"
        return ProbeAnswer(False, f"error: health rpc probe failed: rpc error: code = {name} desc = {message}")
    if headers.get(":status") != "200" or len(body) < 5:
        said = f"unexpected HTTP status code received from server: {headers.get(':status', 'none')}"
        return ProbeAnswer(False, f"error: health rpc probe failed: rpc error: code = Unknown desc = {said}")
    status = _status(body[5:])
    if status != _SERVING:
        name = _STATUSES[status] if status < len(_STATUSES) else str(status)
        return ProbeAnswer(False, f'service unhealthy (responded with "{name}")')
    return ProbeAnswer(True, "service healthy")


def _status(message: bytes) -> int:
    """The field `status` (1, a varint) of a `HealthCheckResponse`, which has no other."""
    if len(message) < 2 or message[0] != 0x08:
        return 0
    return message[1] & 0x7F
