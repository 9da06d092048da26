"""Which proxy leads to a server: the connection's own, or by the environment as client-go takes it.

`HTTPS_PROXY` and `HTTP_PROXY` are for servers of that scheme, in capitals or small letters; `NO_PROXY` lists what is
reached directly: `*`, addresses, networks, hosts with all under them (`example.org`), or only what is under them
(`.example.org`), each with a port where only that is meant. The machine itself is always reached directly. A
connection's `proxy_url` is used whatever the environment says.
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kube_core.client.connection import Connection
from kube_core.meta.status import ServiceUnavailable

if TYPE_CHECKING:
    import aiohttp

__all__ = ["check_proxy", "proxy_for", "socks_connector"]

_SCHEMES = ("http", "https", "socks5", "socks5h")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_proxy(url: str) -> None:
    """Raises `ValueError`, in upstream's words, for a URL that is no proxy's. No URL at all is none, and fine."""
    if url and (scheme := url.partition("://")[0]) not in _SCHEMES:
        raise ValueError(f'unsupported scheme "{scheme}", must be http, https, or socks5')


def proxy_for(connection: Connection, environment: Mapping[str, str] | None = None) -> str:
    """The proxy's URL; empty where the server is reached directly. Raises `ServiceUnavailable` for one of no use."""
    proxy = connection.proxy_url or _from_environment(
        connection.server, os.environ if environment is None else environment
    )
    try:
        check_proxy(proxy)
    except ValueError as error:
        raise ServiceUnavailable(f"the proxy for {connection.server} cannot be used: {error}") from error
    return proxy


def socks_connector(proxy: str, options: Mapping[str, Any]) -> aiohttp.BaseConnector:
    """Makes connections through a SOCKS proxy, by a library that has to be there. Raises `ServiceUnavailable`."""
    try:
        library: Any = importlib.import_module("aiohttp_socks")
    except ImportError as error:
        parts = urllib.parse.urlsplit(proxy)
        message = f"the proxy {parts.scheme}://{parts.hostname} needs a library: pip install aiohttp-socks"
        raise ServiceUnavailable(message) from error
    # The proxy looks names up, as Go has it do.
    connector: aiohttp.BaseConnector = library.ProxyConnector.from_url(
        proxy.replace("socks5h://", "socks5://", 1), rdns=True, **options
    )
    return connector


def _from_environment(server: str, environment: Mapping[str, str]) -> str:
    parts = urllib.parse.urlsplit(server)
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name) or ""
    excepted = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    host, port = (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if not proxy or _is_direct(host, port, excepted):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_direct(host: str, port: int, excepted: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(pattern.strip().lower(), host, address, port) for pattern in excepted.split(","))


def _matches(pattern: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if not pattern:
        return False
    if pattern == "*":
        return True
    if "/" in pattern:
        try:
            return address is not None and address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    if _address(pattern) is None:
        name, colon, wanted = pattern.rpartition(":")
        if colon and wanted.isdigit():
            if int(wanted) != port:
                return False
            pattern = name
    if (fixed := _address(pattern.strip("[]"))) is not None:
        return address == fixed
    if address is not None:
        return False
    pattern = pattern.removeprefix("*")
    if pattern.startswith("."):
        return host.endswith(pattern)
    return host == pattern or host.endswith(f".{pattern}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
