"""Which route a request takes: upstream's documented rules for Ingress hosts and paths. Pure.

Hosts: an exact name before a wildcard, a wildcard before a rule without a host. A wildcard stands for exactly one
label. A host whose rules have no path for the request leaves it to the less specific ones.

Paths: `Exact` is the whole path. `Prefix` compares elements between slashes (`/foo` takes `/foo/bar`, not `/foobar`),
and a slash at the end does not count. The longest path wins, and of equal ones `Exact`; so a lookup costs one probe
for each element of the request's path, however many routes there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.abc.ingress import Backend, Route, RouteTable

__all__ = ["Router"]


class Router:
    """A route table, made ready for lookups."""

    def __init__(self, table: RouteTable) -> None:
        self.table = table
        self._hosts: dict[str, _Paths] = {}
        for route in table.routes:
            self._hosts.setdefault(route.host.lower(), _Paths()).add(route)

    def route(self, host: str, path: str) -> Route | None:
        """The route for a request. `host` is the Host header, with or without a port; `path` has no query."""
        for known in _host_candidates(_without_port(host)):
            paths = self._hosts.get(known)
            if paths is not None and (found := paths.find(path)) is not None:
                return found
        return None

    def backend(self, host: str, path: str) -> Backend | None:
        """The backend for a request: its route's, or the default one, or None."""
        found = self.route(host, path)
        return found.backend if found is not None else self.table.default


class _Paths:
    """The paths of one host. Of two equal paths the first that is added stays."""

    def __init__(self) -> None:
        self._exact: dict[str, Route] = {}
        self._prefix: dict[str, Route] = {}

    def add(self, route: Route) -> None:
        if route.path_type == "Exact":
            self._exact.setdefault(route.path, route)
        else:
            self._prefix.setdefault(route.path.rstrip("/"), route)

    def find(self, path: str) -> Route | None:
        if (exact := self._exact.get(path)) is not None:
            return exact
        rest = path.rstrip("/")
        while True:
            if (prefix := self._prefix.get(rest)) is not None:
                return prefix
            if not rest:
                return None
            rest = rest.rpartition("/")[0]


def _without_port(host: str) -> str:
    host = host.lower()
    if host.startswith("["):  # an IPv6 literal
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _host_candidates(host: str) -> Iterable[str]:
    yield host
    _, dot, parent = host.partition(".")
    if dot:
        yield f"*.{parent}"
    yield ""
