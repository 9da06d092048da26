"""Health endpoints: `/healthz`, `/livez`, `/readyz`, each with `?verbose`, `?exclude=` and `/<check>`.

A check is a name and a function that returns None, or what is wrong. The answer of a check that passed is `ok`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from kube_core.abc.transport import Request, Response

__all__ = ["Health"]

Check = Callable[[], str | None]
_ENDPOINTS = ("healthz", "livez", "readyz")
_TEXT = "text/plain; charset=utf-8"
_FALSE = ("0", "false", "False", "FALSE", "f", "F")


class Health:
    """The checks of one server. `shutting_down` makes `/readyz` fail, so that clients go elsewhere first."""

    def __init__(self) -> None:
        self._checks: dict[str, dict[str, Check]] = {name: {} for name in _ENDPOINTS}
        self.shutting_down = False
        self.add("ping", lambda: None)
        self.add("log", lambda: None)
        self._checks["readyz"]["shutdown"] = lambda: "process is shutting down" if self.shutting_down else None

    def add(self, name: str, check: Check, *, endpoints: tuple[str, ...] = _ENDPOINTS) -> None:
        for endpoint in endpoints:
            self._checks[endpoint][name] = check

    @property
    def ready(self) -> bool:
        return all(check() is None for check in self._checks["readyz"].values())

    def results(self) -> Iterator[tuple[tuple[str, str], bool]]:
        """Of every check, by its name and endpoint, whether it passes."""
        for endpoint, checks in self._checks.items():
            for name, check in checks.items():
                yield (name, endpoint), check() is None

    def handle(self, request: Request) -> Response | None:
        """The answer to a health path, None for any other."""
        endpoint, _, name = request.path.strip("/").partition("/")
        checks = self._checks.get(endpoint)
        if checks is None:
            return None
        if name:
            check = checks.get(name)
            if check is None:
                return Response(404, content_type=_TEXT, body=b"404 page not found\n")
            return _one(name, check())
        if request.path.endswith("/"):
            return Response(404, content_type=_TEXT, body=b"404 page not found\n")
        return self._all(request, endpoint, checks)

    @staticmethod
    def _all(request: Request, endpoint: str, checks: Mapping[str, Check]) -> Response:
        excluded = {value for key, value in request.query if key == "exclude"}
        lines, healthy = [], True
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
                continue
            problem = check()
            healthy = healthy and problem is None
            lines.append(f"[+]{name} ok" if problem is None else f"[-]{name} failed: {problem}")
        unknown = excluded - set(checks)
        if unknown:
            quoted = ", ".join(f'"{name}"' for name in sorted(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        if not healthy:
            return Response(500, content_type=_TEXT, body="\n".join([*lines, f"{endpoint} check failed\n"]).encode())
        verbose = any(key == "verbose" for key, _ in request.query)
        text = "\n".join([*lines, f"{endpoint} check passed\n"]) if verbose else "ok"
        return Response(content_type=_TEXT, body=text.encode())


def _one(name: str, problem: str | None) -> Response:
    if problem is None:
        return Response(content_type=_TEXT, body=b"ok")
    return Response(500, content_type=_TEXT, body=f"internal server error: {name}: {problem}\n".encode())
