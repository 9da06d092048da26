"""Which header fields pass a proxy, and which ones it adds. Pure.

Hop-by-hop fields (RFC 9110, section 7.6.1), the ones that `Connection` names among them, belong to one connection
and stay there. The Host field passes unchanged. What the proxy knows of the client is added as `X-Forwarded-*`;
`X-Forwarded-For` is appended to, the others are set, as a first proxy does.
"""

from __future__ import annotations

from collections.abc import Mapping

from multidict import CIMultiDict, CIMultiDictProxy

from kube_core._kit.hop_by_hop import hop_by_hop

__all__ = ["backend_headers", "end_to_end", "is_websocket"]


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The fields that pass, in order and with their repetitions."""
    stays = hop_by_hop(headers.getall("Connection", ()))
    passing: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in stays:
            passing.add(name, value)
    return passing


def backend_headers(headers: CIMultiDictProxy[str], *, client: str, scheme: str, port: int) -> CIMultiDict[str]:
    """The fields of the request to the backend."""
    passing = end_to_end(headers)
    passing.popall("Expect", None)  # answered here, before the body is asked for
    seen = headers.getall("X-Forwarded-For", [])
    passing["X-Forwarded-For"] = ", ".join([*seen, client])
    passing["X-Forwarded-Host"] = headers.get("Host", "")
    passing["X-Forwarded-Proto"] = scheme
    passing["X-Forwarded-Port"] = str(port)
    passing["X-Real-IP"] = client
    return passing


def is_websocket(headers: Mapping[str, str]) -> bool:
    """Whether this request asks to become a WebSocket."""
    tokens = {token.strip().lower() for token in headers.get("Connection", "").split(",")}
    return "upgrade" in tokens and headers.get("Upgrade", "").strip().lower() == "websocket"
