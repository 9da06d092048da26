"""Front proxies: who has authenticated somebody already, and says so in headers (upstream's authenticating proxy).

A proxy shows a client certificate of the front proxies' own authority, with one of the allowed names; then the user,
uid, groups and extra of its headers are believed. From anybody else these headers mean nothing. The same headers go
from the aggregation layer to the servers behind it, which read the names from the ConfigMap
`extension-apiserver-authentication`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import attrs

from kube_core.abc.transport import User
from kube_core.meta.status import Unauthorized
from kube_core.serving.client_certificates import ClientCertificates

__all__ = ["HeaderNames", "RequestHeaders"]


@attrs.frozen
class HeaderNames:
    """Which headers say what, in lower case; of several the first that a request has counts."""

    users: tuple[str, ...] = ("x-remote-user",)
    uids: tuple[str, ...] = ("x-remote-uid",)
    groups: tuple[str, ...] = ("x-remote-group",)
    extra_prefixes: tuple[str, ...] = ("x-remote-extra-",)


class RequestHeaders:
    """Reads the headers of front proxies."""

    def __init__(
        self, certificates: ClientCertificates, allowed_names: tuple[str, ...] = (), headers: HeaderNames | None = None
    ) -> None:
        """`certificates`: of the front proxies' authority. `allowed_names`: common names; empty allows all."""
        self._certificates = certificates
        self._allowed = frozenset(allowed_names)
        self._names = headers or HeaderNames()

    def user_of(self, shown: tuple[bytes, ...], headers: Mapping[str, str]) -> User | None:
        """The user that a front proxy speaks for; None for certificates or a request that are none of a front proxy.

        Raises `Unauthorized` for the certificate of a front proxy that is not allowed.
        """
        name = next((headers[each] for each in self._names.users if headers.get(each)), "")
        if not name:
            return None
        proxy = self._certificates.read(shown)
        if proxy is None:
            return None
        if self._allowed and proxy.name not in self._allowed:
            raise Unauthorized("Unauthorized")
        uid = next((headers[each] for each in self._names.uids if headers.get(each)), "")
        groups = [group for each in self._names.groups for group in _values(headers, each)]
        extra = {
            unquote(header[len(prefix) :]): _values(headers, header)
            for prefix in self._names.extra_prefixes
            for header in headers
            if header.startswith(prefix)
        }
        return User(name, tuple(groups), uid, extra)


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    """The values of a header that may be repeated; the adapter joins them."""
    value = headers.get(name)
    if value is None:
        return []
    return value.split("\n") if "\n" in value else [each.strip() for each in value.split(",")]
