"""Header fields that belong to one connection, and do not pass a proxy (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["hop_by_hop"]

_ALWAYS = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def hop_by_hop(connection: Iterable[str]) -> frozenset[str]:
    """Their names, in lower case: those of RFC 9110, and those that the values of `Connection` name."""
    return _ALWAYS | {token.strip().lower() for value in connection for token in value.split(",")}
