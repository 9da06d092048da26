"""Documents as a server would have them, for tests: small, complete, and changed by keyword."""

from __future__ import annotations

import itertools
from typing import Any

from kube_core.meta.times import format_time

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z

_uids = itertools.count(1)


def metadata(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{next(_uids):05}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": format_time(NOW),
        **more,
    }


def owned_by(owner: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
    ]


def template(image: str = "web:1", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }


def deployment(name: str = "web", *, replicas: int = 3, image: str = "web:1", **spec: Any) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, annotations=annotations),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            **spec,
        },
        "status": {},
    }


def rolling(surge: int | str, unavailable: int | str) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def replica_set(
    name: str = "web-1",
    *,
    replicas: int = 3,
    available: int | None = None,
    image: str = "web:1",
    annotations: dict[str, str] | None = None,
    age: float = 0,
    **status: Any,
) -> dict[str, Any]:
    ready = replicas if available is None else available
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(
            name, annotations=annotations or {}, creationTimestamp=format_time(NOW - age), labels={"app": "web"}
        ),
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
        "status": {
            "replicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": 1,
            **status,
        },
    }


def pod(
    name: str = "web-a",
    *,
    node: str = "",
    ready: bool = False,
    phase: str = "",
    owner: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    ip: str = "",
    age: float = 60,
    deleting: bool = False,
    requests: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "web:1"}
    if requests:
        container["resources"] = {"requests": requests}
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, labels=labels or {"app": "web"}, creationTimestamp=format_time(NOW - age)),
        "spec": {"containers": [container], **spec},
        "status": {"phase": phase or ("Running" if node else "Pending")},
    }
    if owner is not None:
        found["metadata"]["ownerReferences"] = owned_by(owner)
    if node:
        found["spec"]["nodeName"] = node
    if ready:
        moment = format_time(NOW - age)
        found["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": moment}]
    if ip:
        found["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    if deleting:
        found["metadata"]["deletionTimestamp"] = format_time(NOW)
    return found


def node(
    name: str = "node-1", *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **more: Any
) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(name, labels=labels),
        "spec": more,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
    }
    del found["metadata"]["namespace"]
    return found


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, labels={"team": "a"}),
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.10",
            "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }
