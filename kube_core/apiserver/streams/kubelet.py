"""Nodes that run in a process of their own: their streams over HTTPS, by the paths of the kubelet's server.

    GET /containerLogs/NS/POD/CONTAINER     what a container wrote
    GET /exec/NS/POD/CONTAINER              by WebSocket (`v5.channel.k8s.io`, or v4 of an older node)
    GET /attach/NS/POD/CONTAINER            the same
    GET /portForward/NS/POD?port=N          by WebSocket, a pair of channels for the port

`Kubelets` knows where a node's server is, by the node's status, and how it is spoken to: with the API server's own
client certificate; the node's is verified where the cluster says by which authority, as upstream's
`--kubelet-certificate-authority` has it. `KubeletStreams` is one node, behind the same contract as a node in this
process (`kube_core.abc.node`), so clients see no difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from kube_core.abc.node import KUBELET_PORT, LogRequest, NodeStreams
from kube_core.abc.sessions import ExecRequest, ExecSession, Stream
from kube_core.abc.transport import ByteStream, MessageStream
from kube_core.auth.certificates import KeyPair
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import InternalError, ServiceUnavailable, StatusError
from kube_core.meta.times import format_time
from kube_core.serving.channels import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT
from kube_core.storage.cache import ResourceCache

if TYPE_CHECKING:
    from kube_core.apiserver.outgoing.client import Address, Outgoing

__all__ = ["KubeletStreams", "Kubelets"]

#: The kinds of a node's addresses, the most wanted first.
_PREFERRED = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)
#: Bytes of an error that are read.
_LONGEST_ERROR = 64 * 1024
#: Port-forward's two channels of the only port.
_DATA, _PROBLEM = 0, 1


class Kubelets:
    """Every node's server, as the API server reaches it."""

    def __init__(
        self,
        client: Outgoing,
        nodes: ResourceCache,
        *,
        certificate: Callable[[], KeyPair | None],
        authority: bytes = b"",
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._certificate = certificate
        self._authority = authority

    def address(self, node: Document) -> Address:
        """Raises `ServiceUnavailable` for a node that says of no address, or that serves nothing."""
        from kube_core.apiserver.outgoing.client import Address, Tls

        status = node.get("status") or {}
        addresses = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
        host = next((addresses[kind] for kind in _PREFERRED if kind in addresses), "")
        if not host:
            known = " ".join(f"{{{kind} {address}}}" for kind, address in addresses.items())
            raise ServiceUnavailable(f"no preferred addresses found; known addresses: [{known}]")
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port", KUBELET_PORT)
        if not port:
            raise ServiceUnavailable(f"node {node['metadata']['name']} has no server of its own")
        tls = Tls(authority=self._authority, verify=bool(self._authority), client=self._certificate())
        return Address(host, port, tls)

    def streams(self, name: str) -> NodeStreams | None:
        """The streams of a node; None where there is no such node, or no way to it."""
        stored = self._nodes.get(Key("", name))
        if stored is None:
            return None
        try:
            return KubeletStreams(self._client, self.address(stored.document))
        except ServiceUnavailable:
            return None


class KubeletStreams:
    """The streams of one node: a `NodeStreams`."""

    def __init__(self, client: Outgoing, address: Address) -> None:
        self._client = client
        self._address = address

    async def logs(self, namespace: str, pod: str, container: str, request: LogRequest) -> AsyncIterator[bytes]:
        from kube_core.apiserver.outgoing.client import Unreachable

        path = _path("containerLogs", namespace, pod, container)
        try:
            answer = await self._client.send(self._address, "GET", _target(path, _log_query(request)))
        except Unreachable as error:
            raise _unreachable(error) from None
        if answer.status != 200:
            text = (await answer.read(_LONGEST_ERROR)).decode(errors="replace")
            raise _refusal(answer.status, text)
        return answer.body

    async def exec(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        return await self._session(_path("exec", namespace, pod, container), request)

    async def attach(self, namespace: str, pod: str, container: str, request: ExecRequest) -> ExecSession:
        return await self._session(_path("attach", namespace, pod, container), request)

    async def port_forward(self, namespace: str, pod: str, port: int) -> ByteStream:
        path = _path("portForward", namespace, pod)
        return _ForwardedPort(await self._connect(path, [("port", str(port))], _FORWARD_PROTOCOLS))

    async def _session(self, path: str, request: ExecRequest) -> ExecSession:
        query = [("command", word) for word in request.command]
        flags = {"input": request.stdin, "output": request.stdout, "error": request.stderr, "tty": request.tty}
        query += [(name, "1") for name, wanted in flags.items() if wanted]
        return _RemoteSession(await self._connect(path, query, _PROTOCOLS))

    async def _connect(self, path: str, query: list[tuple[str, str]], protocols: tuple[str, ...]) -> MessageStream:
        from kube_core.apiserver.outgoing.client import Refused, Unreachable

        try:
            return await self._client.messages(self._address, _target(path, query), protocols)
        except Unreachable as error:
            raise _unreachable(error) from None
        except Refused as refusal:
            raise _refusal(refusal.status, refusal.text) from None


class _RemoteSession(ExecSession):
    """A command on another machine, by the channels of a WebSocket."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._status: Mapping[str, Any] | None = None
        self._over = False

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        while (message := await self._stream.receive()) is not None:
            channel, data = message[:1], message[1:]
            if channel == bytes((ERROR,)):
                if data:
                    self._status = _status(data)
                    break
            elif data and channel in (bytes((STDOUT,)), bytes((STDERR,))):
                yield ("stdout" if channel[0] == STDOUT else "stderr"), data
        self._over = True

    async def write(self, data: bytes) -> None:
        await self._send(STDIN, data)

    async def close_stdin(self) -> None:
        if self._stream.protocol == _PROTOCOLS[0]:
            await self._send(CLOSE, bytes((STDIN,)))

    async def resize(self, width: int, height: int) -> None:
        await self._send(RESIZE, orjson.dumps({"Width": width, "Height": height}))

    async def exit_code(self) -> int:
        """Raises the `StatusError` with which the node says that there was no command to end."""
        status = self._status
        if status is None:
            raise InternalError("the connection to the node broke off before the command ended")
        if status.get("status") == "Success":
            return 0
        causes = (status.get("details") or {}).get("causes") or ()
        code = next((str(each.get("message")) for each in causes if each.get("reason") == "ExitCode"), "")
        if code.isdigit():
            return int(code)
        raise InternalError(str(status.get("message") or "the node gave no reason"))

    async def close(self) -> None:
        self._over = True
        await self._stream.close()

    async def _send(self, channel: int, data: bytes) -> None:
        if self._over:
            return
        try:
            await self._stream.send(bytes((channel,)) + data)
        except ConnectionError:
            self._over = True


class _ForwardedPort(ByteStream):
    """A port of a pod on another machine. Each channel begins with the number of its port, in two bytes."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._to_skip = {_DATA: 2, _PROBLEM: 2}

    async def receive(self) -> bytes:
        """Raises the `StatusError` by which the node says that there is nothing at the port."""
        while (message := await self._stream.receive()) is not None:
            if not message:
                continue
            channel, data = message[0], message[1:]
            skipped = min(self._to_skip.get(channel, 0), len(data))
            if skipped:
                self._to_skip[channel] -= skipped
                data = data[skipped:]
            if channel == _PROBLEM and data:
                raise InternalError(data.decode(errors="replace"))
            if channel == _DATA and data:
                return data
        return b""

    async def send(self, data: bytes) -> None:
        await self._stream.send(bytes((_DATA,)) + data)

    async def close(self) -> None:
        await self._stream.close()


def _path(kind: str, *names: str) -> str:
    return "/".join(("", kind, *(quote(name, safe="") for name in names)))


def _target(path: str, query: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _log_query(request: LogRequest) -> list[tuple[str, str]]:
    query = [(name, "true") for name in ("follow", "previous", "timestamps") if getattr(request, name)]
    numbers = {
        "tailLines": request.tail_lines,
        "sinceSeconds": request.since_seconds,
        "limitBytes": request.limit_bytes,
    }
    query += [(name, str(value)) for name, value in numbers.items() if value is not None]
    if request.since_time is not None:
        query.append(("sinceTime", format_time(request.since_time)))
    return query


def _unreachable(error: Exception) -> StatusError:
    return InternalError(f"error dialing backend: {error}")


def _refusal(status: int, text: str) -> StatusError:
    """What a node's answer means that is not what was asked for."""
    text = text.strip()
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        return StatusError.from_document(document)
    message = text or f"the node answered {status}"
    if status >= 500:
        return InternalError(message)
    return StatusError(message, code=status, reason=_REASONS.get(status, "BadRequest"))


#: Reasons of what a node answers without a Status.
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed"}


def _status(data: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        document = None
    # The oldest protocols say an error in plain words.
    return document if isinstance(document, dict) else {"status": "Failure", "message": data.decode(errors="replace")}
