"""What a Service says about its pods: which they are, and on which ports they are reached.

Shared by the two controllers that publish endpoints, so that both always say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kube_core.api import pods
from kube_core.meta.documents import Document, is_deleting, labels_of, name_of, namespace_of, uid_of

__all__ = [
    "HEADLESS_LABEL",
    "changes_endpoints",
    "counts_as_endpoint",
    "has_selector",
    "hostname_in",
    "is_headless",
    "matching",
    "publishes_not_ready",
    "resolved_ports",
    "target_reference",
]

#: The label on endpoints of a Service without a cluster IP.
HEADLESS_LABEL = "service.kubernetes.io/headless"


def has_selector(service: Document) -> bool:
    """Whether its endpoints are the cluster's business: a null selector leaves them to somebody else."""
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: Document) -> bool:
    return bool((service.get("spec") or {}).get("clusterIP") == "None")


def publishes_not_ready(service: Document) -> bool:
    return bool((service.get("spec") or {}).get("publishNotReadyAddresses"))


def matching(service: Document, candidates: Iterable[Document]) -> Iterator[Document]:
    """The pods of the Service's namespace that it selects."""
    wanted = (service["spec"].get("selector") or {}).items()
    return (pod for pod in candidates if wanted <= labels_of(pod).items())


def counts_as_endpoint(pod: Document, *, terminating: bool) -> bool:
    """Whether a pod may be listed at all; those that are being deleted only where `terminating` says so."""
    if pods.is_terminal(pod) or next(pods.pod_ips(pod), None) is None:
        return False
    return terminating or not is_deleting(pod)


def hostname_in(service: Document, pod: Document) -> str:
    """The name under which the pod is found in a headless Service's domain, or ""."""
    spec = pod.get("spec") or {}
    if (
        spec.get("hostname")
        and spec.get("subdomain") == name_of(service)
        and namespace_of(pod) == namespace_of(service)
    ):
        return str(spec["hostname"])
    return ""


def target_reference(pod: Document) -> dict[str, str]:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def resolved_ports(service: Document, pod: Document) -> list[dict[str, Any]]:
    """The Service's ports as this pod has them; a port whose name the pod does not know is left out."""
    resolved = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort")
        number = pods.container_port(pod, port["port"] if target in (None, "", 0) else target, protocol)
        if number is None:
            continue
        entry: dict[str, Any] = {"name": port.get("name") or "", "port": number, "protocol": protocol}
        if port.get("appProtocol") is not None:
            entry["appProtocol"] = port["appProtocol"]
        resolved.append(entry)
    return resolved


def changes_endpoints(before: Document | None, after: Document | None) -> bool:
    """Whether a pod's change can matter to a Service: most of what a node reports cannot."""
    if before is None or after is None:
        return True
    return _as_seen(before) != _as_seen(after)


def _as_seen(pod: Document) -> tuple[object, ...]:
    return (
        uid_of(pod),
        labels_of(pod),
        pods.node_name_of(pod),
        pods.is_ready(pod),
        pods.is_terminal(pod),
        is_deleting(pod),
        tuple(pods.pod_ips(pod)),
    )
