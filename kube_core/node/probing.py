"""Asking a container how it is, once: by HTTP, TCP, gRPC, or a command. What the answers mean is `probes.py`.

Requests are those of upstream's prober: no proxy, no look at certificates, a connection each; `kube-probe` for an
agent; redirects are followed on the same host, and elsewhere end the probe with a warning, which counts as success. A
container that cannot be reached over the network answers through its runtime.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import NetworkProbe, ProbeAnswer, Runtime, RuntimeFailure
from kube_core.api.pods import container_port
from kube_core.meta.documents import Document
from kube_core.node.environment import expand

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Prober", "network_probe", "port_of"]

_MOST_BYTES = 10 * 1024
_MOST_REDIRECTS = 10


class Prober:
    """Asks for all probes of a node; keeps one HTTP session, made when it is first needed."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, container_id: str, container: Document, address: str, probe: Document) -> ProbeAnswer:
        """The answer to a probe. Raises `RuntimeFailure` where it could not be asked."""
        timeout = float(probe.get("timeoutSeconds") or 1)
        if probe.get("exec"):
            return await self._command(container_id, container, probe["exec"], timeout)
        if not self._runtime.reachable(container_id):
            try:
                async with self._clock.timeout(timeout):
                    return await self._runtime.probe(container_id, network_probe(container, probe))
            except TimeoutError:
                return ProbeAnswer(False, "context deadline exceeded")
        if probe.get("httpGet"):
            return await self._http(container, address, probe["httpGet"], timeout)
        if probe.get("tcpSocket"):
            tcp = probe["tcpSocket"]
            return await self._tcp(str(tcp.get("host") or address), port_of(container, tcp.get("port")), timeout)
        from kube_core.node.grpc_health import check  # lazily: few pods are asked so

        grpc = probe.get("grpc") or {}
        with self._clock.hold("node: gRPC probe"):
            return await check(address, port_of(container, grpc.get("port")), str(grpc.get("service") or ""), timeout)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _command(self, container_id: str, container: Document, probe: Document, timeout: float) -> ProbeAnswer:
        known = {each["name"]: str(each.get("value") or "") for each in container.get("env") or () if "value" in each}
        command = [expand(str(word), known) for word in probe.get("command") or ()]
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout)
        except TimeoutError:
            words = " ".join(command)
            return ProbeAnswer(False, f'command timed out: "{words}" timed out after {timeout:g}s')
        output = (result.stdout + result.stderr)[:_MOST_BYTES].decode("utf-8", "replace")
        return ProbeAnswer(result.exit_code == 0, output)

    async def _http(self, container: Document, address: str, http: Document, timeout: float) -> ProbeAnswer:
        import aiohttp  # lazily: nodes whose pods have no HTTP probe do without

        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, skip_auto_headers=("Accept-Encoding",))
        port = port_of(container, http.get("port"))
        host = str(http.get("host") or address)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        path = str(http.get("path") or "/")
        url = f"{str(http.get('scheme') or 'HTTP').lower()}://{place}{path if path.startswith('/') else '/' + path}"
        try:
            with self._clock.hold("node: HTTP probe"):
                async with asyncio.timeout(timeout):
                    return await _get(self._session, url, _headers(http))
        except TimeoutError:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return ProbeAnswer(False, f'Get "{url}": {why}')
        except aiohttp.ClientConnectorError as error:
            return ProbeAnswer(False, f'Get "{url}": dial tcp {place}: {_connect_error(error)}')
        except (aiohttp.ClientError, OSError) as error:
            return ProbeAnswer(False, f'Get "{url}": {str(error) or "EOF"}')

    async def _tcp(self, host: str, port: int, timeout: float) -> ProbeAnswer:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            with self._clock.hold("node: TCP probe"):
                async with asyncio.timeout(timeout):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.transport.abort()
        except TimeoutError:
            return ProbeAnswer(False, f"dial tcp {place}: i/o timeout")
        except OSError as error:
            return ProbeAnswer(False, f"dial tcp {place}: {_connect_error(error)}")
        return ProbeAnswer(True)


def port_of(container: Document, target: Any) -> int:
    """A port by number, or by its name in the container. Raises `RuntimeFailure`."""
    if isinstance(target, str) and target.isdigit():
        return int(target)
    if isinstance(target, int):
        return target
    port = container_port({"spec": {"containers": [container]}}, str(target)) if target else None
    if port is None:
        raise RuntimeFailure(f"couldn't find port: {target}")
    return port


def network_probe(container: Document, probe: Document) -> NetworkProbe:
    """What the runtime is asked for a container that cannot be reached."""
    if probe.get("httpGet"):
        http = probe["httpGet"]
        return NetworkProbe("http", port_of(container, http.get("port")), str(http.get("path") or "/"))
    if probe.get("tcpSocket"):
        return NetworkProbe("tcp", port_of(container, probe["tcpSocket"].get("port")))
    return NetworkProbe("grpc", port_of(container, (probe.get("grpc") or {}).get("port")))


def _headers(http: Document) -> dict[str, str]:
    asked = {str(each["name"]).title(): str(each.get("value") or "") for each in http.get("httpHeaders") or ()}
    headers = {"User-Agent": "kube-probe/1.37", "Accept": "*/*", **asked}
    if not headers["Accept"]:
        del headers["Accept"]
    return headers


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> ProbeAnswer:
    first = urlsplit(url).hostname
    for _ in range(_MOST_REDIRECTS + 1):
        skip = () if "Accept" in headers else ("Accept",)
        async with session.get(url, headers=headers, allow_redirects=False, skip_auto_headers=skip) as response:
            body = (await response.content.read(_MOST_BYTES)).decode("utf-8", "replace")
            status, location = response.status, response.headers.get("Location")
        if not 200 <= status < 400:
            return ProbeAnswer(False, f"HTTP probe failed with statuscode: {status}")
        if status < 300:
            return ProbeAnswer(True, body)
        onward = urljoin(url, location) if location else ""
        if not onward or urlsplit(onward).hostname != first:
            return ProbeAnswer(True, f"Probe terminated redirects, Response body: {body}", warning=True)
        url = onward
    return ProbeAnswer(False, f'Get "{url}": stopped after {_MOST_REDIRECTS} redirects')


def _connect_error(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError) or "Connect call failed" in str(cause):
        return "connect: connection refused"
    return str(getattr(cause, "strerror", None) or cause)
