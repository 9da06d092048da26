"""Upstream's table of path types ("Ingress", Examples), and hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.abc.ingress import Backend, Route, RouteTable
from kube_core.proxy.routing import Router


def router(*rules: tuple[str, str, str]) -> Router:
    routes = [Route(host, path, kind, Backend("default", f"{kind} {path}", "80")) for host, path, kind in rules]
    return Router(RouteTable(tuple(routes)))


@pytest.mark.parametrize(
    ("kind", "paths", "request_path", "matched"),
    [
        ("Prefix", ["/"], "/any", "/"),
        ("Exact", ["/foo"], "/foo", "/foo"),
        ("Exact", ["/foo"], "/bar", None),
        ("Exact", ["/foo"], "/foo/", None),
        ("Exact", ["/foo/"], "/foo", None),
        ("Prefix", ["/foo"], "/foo", "/foo"),
        ("Prefix", ["/foo"], "/foo/", "/foo"),
        ("Prefix", ["/foo/"], "/foo", "/foo/"),
        ("Prefix", ["/foo/"], "/foo/", "/foo/"),
        ("Prefix", ["/aaa/bb"], "/aaa/bbb", None),
        ("Prefix", ["/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
        ("Prefix", ["/aaa/bbb/"], "/aaa/bbb", "/aaa/bbb/"),
        ("Prefix", ["/aaa/bbb"], "/aaa/bbb/", "/aaa/bbb"),
        ("Prefix", ["/aaa/bbb"], "/aaa/bbb/ccc", "/aaa/bbb"),
        ("Prefix", ["/aaa/bbb"], "/aaa/bbbxyz", None),
        ("Prefix", ["/", "/aaa"], "/aaa/ccc", "/aaa"),
        ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
        ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/ccc", "/"),
        ("Prefix", ["/aaa"], "/ccc", None),
    ],
)
def test_paths_match_as_documented(kind: str, paths: list[str], request_path: str, matched: str | None) -> None:
    route = router(*(("", path, kind) for path in paths)).route("example.org", request_path)
    assert (route.path if route else None) == matched


@pytest.mark.parametrize(
    ("host", "matched"),
    [("bar.foo.com", True), ("BAR.foo.com:80", True), ("baz.bar.foo.com", False), ("foo.com", False), ("", False)],
)
def test_a_wildcard_is_exactly_one_label(host: str, matched: bool) -> None:
    assert (router(("*.foo.com", "/", "Prefix")).route(host, "/") is not None) is matched


def test_an_ipv6_host_is_taken_whole() -> None:
    assert router(("", "/", "Prefix")).route("[::1]:8080", "/") is not None


def test_a_specific_host_without_the_path_leaves_it_to_the_general_rules() -> None:
    routes = router(("a.example", "/app", "Prefix"), ("", "/", "Prefix"))
    found = routes.route("a.example", "/other")
    assert found is not None
    assert found.path == "/"


_paths = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))


def _elements(path: str) -> list[str]:
    stripped = path.rstrip("/")
    return stripped.split("/") if stripped else [""]


@given(st.lists(_paths, max_size=5, unique_by=lambda path: path.rstrip("/")), _paths)
def test_the_longest_prefix_by_elements_is_found(paths: list[str], request_path: str) -> None:
    wanted = _elements(request_path)
    matching = [path for path in paths if wanted[: len(_elements(path))] == _elements(path)]
    best = max(matching, key=lambda path: len(_elements(path)), default=None)
    route = router(*(("", path, "Prefix") for path in paths)).route("h", request_path)
    assert (route.path if route else None) == best
