"""What nodes in other processes use: their `/stats/summary`, read through the API server's `nodes/NAME/proxy`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import orjson

from kube_core.abc.usage import ContainerFigures, FiguresSource, NodeFigures, PodFigures, Usage
from kube_core.client.client import ApiClient
from kube_core.meta.documents import Document, name_of
from kube_core.meta.times import parse_time

__all__ = ["figures_elsewhere"]


def figures_elsewhere(
    client: ApiClient, nodes: Iterable[Document], *, known: Container[str]
) -> dict[str, FiguresSource]:
    """A source for each node that serves, and that is not known otherwise."""
    names = [name_of(node) for node in nodes if _serves(node)]
    return {name: _Elsewhere(client, name) for name in names if name not in known}


class _Elsewhere(FiguresSource):
    """One node."""

    def __init__(self, client: ApiClient, name: str) -> None:
        self._client = client
        self._name = name

    async def figures(self) -> NodeFigures | None:
        """Raises `StatusError` where the node does not answer, or does not measure."""
        # What is passed on from another server comes as a stream, whoever asks.
        chunks = self._client.stream(f"/api/v1/nodes/{self._name}/proxy/stats/summary")
        summary = orjson.loads(b"".join([chunk async for chunk in chunks]))
        node = summary["node"]
        pods = [
            PodFigures(
                pod["podRef"]["namespace"],
                pod["podRef"]["name"],
                pod["podRef"]["uid"],
                [
                    ContainerFigures(each["name"], parse_time(each["startTime"]), _usage(each))
                    for each in pod.get("containers") or ()
                    if "cpu" in each and "memory" in each
                ],
            )
            for pod in summary.get("pods") or ()
        ]
        return NodeFigures(self._name, parse_time(node["startTime"]), _usage(node), pods)


def _serves(node: Document) -> bool:
    endpoints = (node.get("status") or {}).get("daemonEndpoints") or {}
    return bool((endpoints.get("kubeletEndpoint") or {}).get("Port"))


def _usage(of: Mapping[str, Any]) -> Usage:
    cpu, memory = of["cpu"], of["memory"]
    return Usage(
        parse_time(cpu["time"]),
        cpu.get("usageCoreNanoSeconds", 0),
        memory.get("workingSetBytes", 0),
        nanocores=cpu.get("usageNanoCores"),
    )
