"""aiohttp's client is put off, and nobody who wants it can tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

AFTERWARDS = """
import sys
from kube_core.cli import aiohttp_client
aiohttp_client.put_off()
import kube_core.serving.http
assert "aiohttp.web" in sys.modules
assert "aiohttp.client" not in sys.modules
{ask}
assert "aiohttp.client" in sys.modules
import aiohttp.connector, ssl
assert isinstance(aiohttp.connector._SSL_CONTEXT_VERIFIED, ssl.SSLContext)
assert set(aiohttp.__all__) - {{"GunicornUVLoopWebWorker", "GunicornWebWorker"}} <= set(vars(aiohttp))
print("whole")
"""
BEFORE = """
import aiohttp
from kube_core.cli import aiohttp_client
aiohttp_client.put_off()
import kube_core.serving.http
import aiohttp as again
assert again is aiohttp
assert aiohttp.web is kube_core.serving.http.web
print("whole")
"""
AT_ONCE = """
import threading
from kube_core.cli import aiohttp_client
aiohttp_client.put_off()
import aiohttp
start, found = threading.Barrier(8), []
def ask(name):
    start.wait()
    found.append(getattr(aiohttp, name))
names = ["ClientSession", "TCPConnector", "CookieJar", "FormData"] * 2
threads = [threading.Thread(target=ask, args=[name]) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == len(names)
print("whole")
"""
MISSING = """
from kube_core.cli import aiohttp_client
aiohttp_client.put_off()
import aiohttp
assert not hasattr(aiohttp, "nothing_of_the_kind")
assert not hasattr(aiohttp, "nothing_of_the_kind")
assert aiohttp.ClientSession.__module__ == "aiohttp.client"
print("whole")
"""


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    ).stdout


@pytest.mark.parametrize(
    "ask",
    ["import aiohttp; aiohttp.ClientSession", "from aiohttp import ClientSession, hdrs", "from aiohttp import *"],
)
def test_the_client_is_there_for_who_asks_afterwards(ask: str) -> None:
    assert run(AFTERWARDS.format(ask=ask)) == "whole\n"


@pytest.mark.parametrize("program", [BEFORE, AT_ONCE, MISSING], ids=["before", "at once", "missing"])
def test_the_package_is_whole_for_everybody(program: str) -> None:
    assert run(program) == "whole\n"
