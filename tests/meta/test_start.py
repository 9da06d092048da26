"""What is not imported where it is not needed: a server's start is mostly the import of what it consists of."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Modules, with all that is in them, that an API server does without until somebody asks for what they do.
HEAVY = (
    "aiohttp.client",
    "aiohttp.connector",
    "anyio",
    "cel_expr_python",
    "grpc",
    "kube_core.abc.runtime",
    "kube_core.abc.usage",
    "kube_core.abc.volume",
    "kube_core.api.protobuf",
    "kube_core.apiserver.audit",
    "kube_core.apiserver.openapi",
    "kube_core.cel.authorizer",
    "kube_core.cel.costs",
    "kube_core.cel.engine",
    "kube_core.client.http",
    "kube_core.cluster.faults",
    "kube_core.cluster.record",
    "kube_core.control",
    "kube_core.node",
    "kube_core.operators",
    "kube_core.proxy",
    "kube_core.registry.custom",
    "kube_core.registry.tables",
    "kube_core.scheduler",
    "kube_core.storage.encryption",
    "kube_plugins.scheduler.builtin",
    "pydantic",
    "pyroute2",
    "rich",
    "ruamel",
    "structlog",
    "typer",
    "yaml",
)
SERVER = """
import asyncio, sys
from kube_core.cli import aiohttp_client
aiohttp_client.put_off()
from kube_core.cluster import Cluster

async def main():
    async with Cluster(nodes=0, controllers=(), store="memory:") as cluster:
        await cluster.server.until_ready()
        print(*sorted(sys.modules), sep="\\n")

asyncio.run(main())
"""
COMMAND = """
import sys
from kube_core.cli.app import app

app(["version"], standalone_mode=False)
print(*sorted(sys.modules), sep="\\n")
"""


def loaded(program: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    return run.stdout.split()


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.fixture(scope="module")
def server() -> list[str]:
    """What a server without nodes and controllers has imported when it is ready."""
    modules = loaded(SERVER)
    assert "kube_core.apiserver.server" in modules
    return modules


def test_a_server_that_just_started_has_imported_nothing_that_nobody_asked_for(server: list[str]) -> None:
    assert [module for module in server if within(module, HEAVY)] == []


def test_a_server_without_controllers_imports_none_of_them(server: list[str]) -> None:
    plugins = [module for module in server if module.startswith("kube_plugins.controllers.")]
    # A controller's package has the hook; what it does is in the modules of the package.
    assert [module for module in plugins if module.count(".") > 2] == []


def test_a_light_command_imports_neither_a_cluster_nor_pydantic() -> None:
    assert [module for module in loaded(COMMAND) if within(module, ("pydantic", "kube_core.cluster", "aiohttp"))] == []
