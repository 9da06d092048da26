"""Probes: whether containers have started, are alive, and are ready, as their specs say to ask.

One task for each probe of each running container. A startup probe comes first: until it succeeds, the other two wait.
`successThreshold` and `failureThreshold` count answers in a row; `ready` and `started` are what the worker reports, a
liveness or startup probe that failed too often puts the container in `failed`, and the worker stops it. Each change
pokes the worker; nothing is changed here but these results.

Asks over the network (or the runtime itself, for containers that cannot be reached), or with a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerStatus, NetworkProbe, ProbeAnswer, Runtime, RuntimeFailure
from kube_core.api.pods import container_port
from kube_core.control.events import EventRecorder
from kube_core.meta.documents import Document

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Probed", "Probes"]

Kind = Literal["startup", "readiness", "liveness"]

_WORDS: dict[Kind, str] = {"startup": "Startup", "readiness": "Readiness", "liveness": "Liveness"}


@attrs.frozen
class Probed:
    """A running container and what probing it needs. `poke` tells its worker that something changed."""

    pod: Document
    container: Document
    run: ContainerStatus
    address: str
    field_path: str
    poke: Callable[[], None]


@attrs.define
class _Results:
    started: bool
    ready: bool
    startup_passed: asyncio.Event = attrs.field(factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = attrs.field(factory=list)


class Probes:
    """All probes of a node. Leaving the agent's task group ends them."""

    def __init__(
        self, runtime: Runtime, *, clock: Clock, events: EventRecorder, spawn: Callable[[Any, str], asyncio.Task[None]]
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._events = events
        self._spawn = spawn
        self._results: dict[str, _Results] = {}
        self._session: aiohttp.ClientSession | None = None
        self.failed: dict[str, str] = {}
        """Container id → why it has to be stopped."""

    def watch(self, probed: Probed) -> None:
        """Probe a running container from now on. Again for the same one does nothing."""
        if probed.run.id in self._results:
            return
        container = probed.container
        kinds: list[Kind] = [kind for kind in _WORDS if container.get(f"{kind}Probe")]
        results = _Results(started="startup" not in kinds, ready="readiness" not in kinds)
        if results.started:
            results.startup_passed.set()
        self._results[probed.run.id] = results
        for kind in kinds:
            name = f"{kind} probe of {container['name']}"
            results.tasks.append(self._spawn(self._run(probed, kind, results), name))

    def forget(self, container_id: str) -> None:
        """Stop probing."""
        results = self._results.pop(container_id, None)
        self.failed.pop(container_id, None)
        for task in results.tasks if results is not None else ():
            task.cancel()

    def started(self, run: ContainerStatus) -> bool:
        results = self._results.get(run.id)
        return results is not None and results.started

    def ready(self, run: ContainerStatus) -> bool:
        results = self._results.get(run.id)
        return results is not None and results.started and results.ready

    async def close(self) -> None:
        for container_id in list(self._results):
            self.forget(container_id)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _run(self, probed: Probed, kind: Kind, results: _Results) -> None:
        probe: Document = probed.container[f"{kind}Probe"]
        period = float(probe.get("periodSeconds") or 10)
        if kind != "startup":
            await results.startup_passed.wait()
        wait = float(probe.get("initialDelaySeconds") or 0) - (self._clock.now() - probed.run.started_at)
        if wait > 0:
            await self._clock.sleep(wait)
        in_a_row, last = 0, None
        while True:
            answer = await self._ask(probed, probe)
            in_a_row = in_a_row + 1 if answer.success == last else 1
            last = answer.success
            if not answer.success:
                message = f"{_WORDS[kind]} probe failed: {answer.output}"
                self._events.warning(probed.pod, "Unhealthy", message, field_path=probed.field_path)
            threshold = probe.get("successThreshold", 1) if answer.success else probe.get("failureThreshold", 3)
            if in_a_row >= int(threshold or 1) and self._decide(probed, kind, results, answer.success):
                return
            await self._clock.sleep(period)

    def _decide(self, probed: Probed, kind: Kind, results: _Results, success: bool) -> bool:
        """Take a verdict in; whether this probe is done."""
        if kind == "readiness":
            if results.ready != success:
                results.ready = success
                probed.poke()
            return False
        if not success:
            name = probed.container["name"]
            self.failed[probed.run.id] = f"Container {name} failed {kind} probe, will be restarted"
            probed.poke()
            return True
        if kind == "startup":
            results.started = True
            results.startup_passed.set()
            probed.poke()
            return True
        return False

    async def _ask(self, probed: Probed, probe: Document) -> ProbeAnswer:
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            if probe.get("exec"):
                return await self._command(probed, probe, timeout)
            if not self._runtime.reachable(probed.run.id):
                async with self._clock.timeout(timeout):
                    return await self._runtime.probe(probed.run.id, _network_probe(probed, probe))
            if probe.get("httpGet"):
                return await self._http(probed, probe["httpGet"], timeout)
            return await self._tcp(probed, probe.get("tcpSocket") or probe.get("grpc") or {}, timeout)
        except RuntimeFailure as error:
            return ProbeAnswer(False, str(error))
        except TimeoutError:
            return ProbeAnswer(False, "context deadline exceeded")

    async def _command(self, probed: Probed, probe: Document, timeout: float) -> ProbeAnswer:
        command = [str(word) for word in probe["exec"].get("command") or ()]
        try:
            result = await self._runtime.exec_sync(probed.run.id, command, timeout)
        except TimeoutError:
            words = " ".join(command)
            return ProbeAnswer(False, f'command timed out: "{words}" timed out after {timeout:g}s')
        output = (result.stdout + result.stderr).decode("utf-8", "replace")
        return ProbeAnswer(result.exit_code == 0, output)

    async def _http(self, probed: Probed, http: Document, timeout: float) -> ProbeAnswer:
        import aiohttp  # lazily: nodes whose pods have no HTTP probe do without

        if self._session is None:
            # As upstream: certificates are not looked at, connections are not kept, redirects count as success.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=False, force_close=True, limit=0),
                headers={"User-Agent": "kube-probe/1.37", "Accept": "*/*"},
            )
        port = _port(probed, http.get("port"))
        host = str(http.get("host") or probed.address)
        shown = f"[{host}]" if ":" in host else host
        url = f"{str(http.get('scheme') or 'HTTP').lower()}://{shown}:{port}{http.get('path') or '/'}"
        headers = {str(each["name"]): str(each.get("value") or "") for each in http.get("httpHeaders") or ()}
        try:
            with self._clock.hold("node: HTTP probe"):
                async with asyncio.timeout(timeout):
                    async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                        if 200 <= response.status < 400:
                            return ProbeAnswer(True)
                        return ProbeAnswer(False, f"HTTP probe failed with statuscode: {response.status}")
        except TimeoutError:
            return ProbeAnswer(False, f'Get "{url}": context deadline exceeded')
        except (aiohttp.ClientError, OSError) as error:
            return ProbeAnswer(False, f'Get "{url}": dial tcp {host}:{port}: {_connect_error(error)}')

    async def _tcp(self, probed: Probed, tcp: Document, timeout: float) -> ProbeAnswer:
        port = _port(probed, tcp.get("port"))
        host = str(tcp.get("host") or probed.address)
        try:
            with self._clock.hold("node: TCP probe"):
                async with asyncio.timeout(timeout):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
        except TimeoutError:
            return ProbeAnswer(False, f"dial tcp {host}:{port}: i/o timeout")
        except OSError as error:
            return ProbeAnswer(False, f"dial tcp {host}:{port}: {_connect_error(error)}")
        return ProbeAnswer(True)


def _port(probed: Probed, target: Any) -> int:
    """A port by number, or by its name in the container."""
    if isinstance(target, str) and target.isdigit():
        return int(target)
    if isinstance(target, int):
        return target
    single = {"spec": {"containers": [probed.container]}}
    port = container_port(single, str(target)) if target else None
    if port is None:
        raise RuntimeFailure(f"couldn't find port: {target}")
    return port


def _network_probe(probed: Probed, probe: Document) -> NetworkProbe:
    if probe.get("httpGet"):
        http = probe["httpGet"]
        return NetworkProbe("http", _port(probed, http.get("port")), str(http.get("path") or "/"))
    if probe.get("tcpSocket"):
        return NetworkProbe("tcp", _port(probed, probe["tcpSocket"].get("port")))
    return NetworkProbe("grpc", _port(probed, (probe.get("grpc") or {}).get("port")))


def _connect_error(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError) or "Connect call failed" in str(cause):
        return "connect: connection refused"
    return str(getattr(cause, "strerror", None) or cause)
