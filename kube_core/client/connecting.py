"""`connect`: a client for a cluster by its kubeconfig, as kubectl finds it.

async with kube.connect(context="staging") as client:
    ...
"""

from __future__ import annotations

from pathlib import Path

from kube_core._kit.clock import Clock
from kube_core.client.client import ApiClient
from kube_core.client.connection import Connection
from kube_core.client.kubeconfig import load_connection

__all__ = ["connect"]


def connect(
    connection: Connection | None = None,
    *,
    kubeconfig: str | Path | None = None,
    context: str = "",
    namespace: str = "",
    field_manager: str = "kube-core",
    clock: Clock | None = None,
) -> ApiClient:
    """A client that is closed when it is left. It connects with its first request.

    Without a `connection` of one's own, by kubectl's rules: the file named, or `$KUBECONFIG`, or `~/.kube/config`, in
    the context named or the current one; inside a pod that has none of these, as its service account. The namespace
    is the context's unless it is named. Raises `KubeconfigError`.
    """
    from kube_core.client.http import HttpTransport  # aiohttp is slow to import

    if connection is None:
        connection = load_connection(kubeconfig, context)
    return ApiClient(
        HttpTransport(connection, clock=clock),
        field_manager=field_manager,
        namespace=namespace or connection.namespace,
        clock=clock,
    )
