"""Redirects and the links of pages that come through the server."""

from __future__ import annotations

import pytest

from kube_core.apiserver.outgoing.rewriting import rewrite_html, rewrite_url

PREFIX = "/api/v1/namespaces/a/services/s/proxy"


def changed(url: str) -> str:
    return rewrite_url(url, PREFIX, backend="10.1.2.3:80", host="cluster:6443")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/x", f"{PREFIX}/x"),
        ("/", f"{PREFIX}/"),
        ("/x/?a=b#c", f"{PREFIX}/x/?a=b#c"),
        ("http://10.1.2.3:80/x", f"{PREFIX}/x"),
        ("https://cluster:6443/x", f"https://cluster:6443{PREFIX}/x"),
        (f"{PREFIX}/x", f"{PREFIX}/x"),
        ("x/y", "x/y"),
        ("#top", "#top"),
        ("http://elsewhere/x", "http://elsewhere/x"),
        ("mailto:a@b", "mailto:a@b"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_a_link_leads_through_the_server_where_it_led_to_the_backend(url: str, expected: str) -> None:
    assert changed(url) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<a href="/x">x</a>', f'<a href="{PREFIX}/x">x</a>'),
        ("<A HREF='/x'>", f"<A HREF='{PREFIX}/x'>"),
        ("<img src=/x.png alt=/x>", f'<img src="{PREFIX}/x.png" alt=/x>'),
        ('<a href="/x?a=1&amp;b=2">', f'<a href="{PREFIX}/x?a=1&amp;b=2">'),
        ('<p title="/x">', '<p title="/x">'),
        ('<!-- <a href="/x"> -->', '<!-- <a href="/x"> -->'),
        ('<script src="/s.js">var a = \'<a href="/x">\'</script>',
         f'<script src="{PREFIX}/s.js">var a = \'<a href="/x">\'</script>'),
        ('<a title="a > b" href="/x">', f'<a title="a > b" href="{PREFIX}/x">'),
        ("1 < 2, and <", "1 < 2, and <"),
        ('<a href="/x', '<a href="/x'),
    ],
)  # fmt: skip
def test_a_page_keeps_every_byte_but_its_links(page: str, expected: str) -> None:
    assert rewrite_html(page, changed) == expected
