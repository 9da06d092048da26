"""Lifecycle hooks: a command in the container, a request to it, or a while of sleep.

As upstream documents under "Container Lifecycle Hooks": a command fails by its exit code; a request fails where there
is no answer, whatever an answer says, is made in the clear where the other end does not speak TLS, and nobody looks at
its certificate. What was wrong is told to the log and to the container's message, never to an event: it may be secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_core.abc.runtime import RuntimeFailure
from kube_core.api.pods import container_port, pod_ips
from kube_core.meta.documents import Document
from kube_core.node.pods.host import Host

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HookFailed", "run_hook"]


class HookFailed(Exception):
    """What was wrong: one line."""


async def run_hook(host: Host, pod: Document, container: Document, container_id: str, handler: Document) -> None:
    """Return once it is over. Raises `HookFailed`."""
    try:
        if handler.get("exec"):
            await _command(host, container_id, [str(word) for word in handler["exec"].get("command") or ()])
        elif handler.get("sleep"):
            await host.clock.sleep(float(handler["sleep"].get("seconds") or 0))
        elif handler.get("httpGet") and host.runtime.reachable(container_id):
            await _request(host, pod, container, handler["httpGet"])
    except (RuntimeFailure, OSError) as error:
        raise HookFailed(str(error)) from None


async def _command(host: Host, container_id: str, command: list[str]) -> None:
    result = await host.runtime.exec_sync(container_id, command)
    if result.exit_code != 0:
        raise RuntimeFailure(f"command '{' '.join(command)}' exited with {result.exit_code}")


async def _request(host: Host, pod: Document, container: Document, http: Document) -> None:
    import aiohttp  # lazily: few pods have such a hook

    target = http.get("port") or 80
    port = container_port({"spec": {"containers": [container]}}, target)
    if port is None:
        raise RuntimeFailure(f"couldn't find port: {target}")
    name = str(http.get("host") or next(pod_ips(pod), "127.0.0.1"))
    rest = f"{f'[{name}]' if ':' in name else name}:{port}/{str(http.get('path') or '').removeprefix('/')}"
    headers = {"User-Agent": "kube-lifecycle/1.37", "Accept": "*/*"}
    headers |= {str(each["name"]): str(each.get("value") or "") for each in http.get("httpHeaders") or ()}
    secure = str(http.get("scheme") or "HTTP") == "HTTPS"
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    with host.clock.hold("node: HTTP hook"):
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                await _get(session, f"{'https' if secure else 'http'}://{rest}", headers)
            except aiohttp.ClientSSLError:
                headers.pop("Authorization", None)  # not for those who listen
                await _clear(session, f"http://{rest}", headers)
            except aiohttp.ClientError as error:
                raise RuntimeFailure(str(error)) from None


async def _clear(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
    import aiohttp

    try:
        await _get(session, url, headers)
    except aiohttp.ClientError as error:
        raise RuntimeFailure(str(error)) from None


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
    async with session.get(url, headers=headers) as response:
        await response.content.read(10 * 1024)
