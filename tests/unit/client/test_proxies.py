"""Which proxy leads to a server."""

from __future__ import annotations

import sys

import pytest

from kube_core.client.connection import Connection
from kube_core.client.proxies import check_proxy, proxy_for, socks_connector
from kube_core.meta.status import ServiceUnavailable

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("server", "environment", "expected"),
    [
        ("https://a.example", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://a.example", {"https_proxy": PROXY}, PROXY),
        ("https://a.example", {"HTTP_PROXY": PROXY}, ""),
        ("http://a.example", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": "http://other"}, PROXY),
        ("https://a.example", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, ""),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, ""),
    ],
)
def test_the_environment_names_a_proxy_for_each_scheme(server: str, environment: dict[str, str], expected: str) -> None:
    assert proxy_for(Connection(server=server), environment) == expected


@pytest.mark.parametrize(
    ("server", "excepted", "direct"),
    [
        ("https://a.example", "*", True),
        ("https://a.example", "b.example, example", True),
        ("https://a.example", "A.Example", True),
        ("https://a.example", ".a.example", False),
        ("https://b.a.example", ".a.example", True),
        ("https://b.a.example", "*.a.example", True),
        ("https://ba.example", "a.example", False),
        ("https://a.example", "a.example:443", True),
        ("https://a.example:6443", "a.example:443", False),
        ("https://10.1.2.3", "10.1.0.0/16", True),
        ("https://10.2.2.3", "10.1.0.0/16,nonsense/x", False),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", True),
        ("https://10.1.2.3:6443", "10.1.2.3:443", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://a.example", "", False),
    ],
)
def test_no_proxy_excepts_hosts_and_networks(server: str, excepted: str, direct: bool) -> None:
    found = proxy_for(Connection(server=server), {"HTTPS_PROXY": PROXY, "NO_PROXY": excepted})
    assert found == ("" if direct else PROXY)


def test_the_connections_own_proxy_wins() -> None:
    environment = {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}
    assert proxy_for(Connection(server="https://a.example", proxy_url="http://mine"), environment) == "http://mine"


def test_a_proxy_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match='unsupported scheme "ftp", must be http, https, or socks5'):
        check_proxy("ftp://proxy")
    with pytest.raises(ServiceUnavailable, match="unsupported scheme"):
        proxy_for(Connection(server="https://a.example"), {"HTTPS_PROXY": "ftp://proxy"})


def test_a_socks_proxy_needs_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(
        ServiceUnavailable, match=r"socks5://proxy needs a library: pip install aiohttp-socks"
    ) as caught:
        socks_connector("socks5://jane:secret@proxy:1080", {})
    assert "secret" not in caught.value.message
