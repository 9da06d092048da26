"""The examples of programs with a cluster inside do what they say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer
from IPython.core.interactiveshell import InteractiveShell

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_fastapi_application_runs_jobs() -> None:
    app: Any = load("fastapi_app").app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as client,
    ):
        assert (await client.put("/tasks/hello")).status_code == 201
        again = await client.put("/tasks/hello")
        assert (again.status_code, again.json()) == (409, {"detail": 'jobs.batch "hello" already exists'})
        await app.state.cluster.settled()
        assert (await client.get("/tasks/hello")).json() == {"name": "hello", "active": 1, "succeeded": 0}
        assert (await client.get("/tasks/other")).status_code == 404


async def test_an_aiohttp_application_runs_jobs() -> None:
    example = load("aiohttp_app")
    app = example.make_app()
    async with TestClient(TestServer(app)) as client:
        assert (await client.put("/tasks/hello")).status == 201
        await app[example.CLUSTER].settled()
        assert await (await client.get("/tasks/hello")).json() == {"active": 1}
        assert (await client.get("/tasks/other")).status == 404


async def test_a_notebook_runs_from_top_to_bottom() -> None:
    make_shell: Any = InteractiveShell
    shell = make_shell(history_load_length=0)
    cells = json.loads((EXAMPLES / "cluster.ipynb").read_text())["cells"]
    results: list[Any] = []
    for source in ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]:
        result = await shell.run_cell_async(source, transformed_cell=shell.transform_cell(source))
        result.raise_error()
        results.append(result.result)
    url, pods, _ = results
    assert url.startswith("https://127.0.0.1:")
    assert sorted(phase for _, _, phase in pods) == ["Running"] * 3
    assert {node for _, node, _ in pods} == {"node-1", "node-2"}
