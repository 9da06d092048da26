"""A FastAPI application with a cluster in it: `uvicorn fastapi_app:app`, then

curl -X PUT localhost:8000/tasks/hello
curl localhost:8000/tasks/hello
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException

import kube_core as kube
from kube_core.api import resources
from kube_core.meta.status import StatusError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with kube.Cluster(nodes=1, listen=False) as cluster:
        app.state.cluster = cluster
        yield


app = FastAPI(lifespan=lifespan)


@app.put("/tasks/{name}", status_code=201)
async def start(name: str) -> dict[str, Any]:
    """Run a task as a Job."""
    container = {"name": "task", "image": "example.org/task"}
    job = {
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    try:
        made = await app.state.cluster.client.create(resources.JOBS, job, "default")
    except StatusError as error:
        raise HTTPException(error.code, error.message) from error
    return {"name": name, "uid": made["metadata"]["uid"]}


@app.get("/tasks/{name}")
async def show(name: str) -> dict[str, Any]:
    """How a task is doing."""
    try:
        job = await app.state.cluster.client.get(resources.JOBS, name, "default")
    except StatusError as error:
        raise HTTPException(error.code, error.message) from error
    return {"name": name, "active": job["status"].get("active", 0), "succeeded": job["status"].get("succeeded", 0)}
