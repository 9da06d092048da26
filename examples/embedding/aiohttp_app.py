"""An aiohttp application with a cluster in it: `python aiohttp_app.py`, then

curl -X PUT localhost:8080/tasks/hello
curl localhost:8080/tasks/hello
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

import kube_core as kube
from kube_core.api import resources
from kube_core.meta.status import StatusError

CLUSTER = web.AppKey("cluster", kube.Cluster)


async def with_cluster(app: web.Application) -> AsyncIterator[None]:
    """Start the cluster with the application, and stop it with it."""
    async with kube.Cluster(nodes=1, listen=False) as cluster:
        app[CLUSTER] = cluster
        yield


async def start(request: web.Request) -> web.Response:
    """Run a task as a Job."""
    container = {"name": "task", "image": "example.org/task"}
    job = {
        "metadata": {"name": request.match_info["name"]},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    try:
        made = await request.app[CLUSTER].client.create(resources.JOBS, job, "default")
    except StatusError as error:
        return web.json_response({"detail": error.message}, status=error.code)
    return web.json_response({"uid": made["metadata"]["uid"]}, status=201)


async def show(request: web.Request) -> web.Response:
    """How a task is doing."""
    try:
        job = await request.app[CLUSTER].client.get(resources.JOBS, request.match_info["name"], "default")
    except StatusError as error:
        return web.json_response({"detail": error.message}, status=error.code)
    return web.json_response({"active": job["status"].get("active", 0)})


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(with_cluster)
    app.router.add_put("/tasks/{name}", start)
    app.router.add_get("/tasks/{name}", show)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1")
