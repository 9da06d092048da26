"""The core group (but for pods), and events of both groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.documents import Document, annotations_of, is_deleting, labels_of, name_of
from kube_core.registry.tables.cells import (
    NONE,
    UNKNOWN,
    UNSET,
    access_modes,
    age_of,
    containers_of,
    labels_text,
    limited,
    since,
    spec_of,
    status_of,
)
from kube_core.registry.tables.columns import AGE, NAME, Printer, TableColumn, column, wide

__all__ = ["PRINTERS", "load_balancer_text"]

_NOTHING: Mapping[str, Any] = {}
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"


def _namespace(document: Document, now: float) -> list[Any]:
    return [name_of(document), status_of(document).get("phase", ""), age_of(document, now)]


def _config_map(document: Document, now: float) -> list[Any]:
    entries = len(document.get("data") or ()) + len(document.get("binaryData") or ())
    return [name_of(document), entries, age_of(document, now)]


def _secret(document: Document, now: float) -> list[Any]:
    return [name_of(document), document.get("type", ""), len(document.get("data") or ()), age_of(document, now)]


def _service_account(document: Document, now: float) -> list[Any]:
    return [name_of(document), age_of(document, now)]


def _service(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    addresses = spec.get("clusterIPs") or ()
    ports = [
        f"{port.get('port')}:{port['nodePort']}/{port.get('protocol')}"
        if port.get("nodePort")
        else f"{port.get('port')}/{port.get('protocol')}"
        for port in spec.get("ports") or ()
    ]
    return [
        name_of(document),
        spec.get("type", ""),
        addresses[0] if addresses else NONE,
        _external_address(spec, status_of(document)),
        ",".join(ports) or NONE,
        age_of(document, now),
        labels_text(spec.get("selector")),
    ]


def _external_address(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    given = list(spec.get("externalIPs") or ())
    kind = spec.get("type")
    if kind in ("ClusterIP", "NodePort"):
        return ",".join(given) or NONE
    if kind == "LoadBalancer":
        balanced = load_balancer_text(status)
        return ",".join([balanced, *given] if balanced else given) or "<pending>"
    return str(spec.get("externalName", "")) if kind == "ExternalName" else UNKNOWN


def load_balancer_text(status: Mapping[str, Any]) -> str:
    """The addresses, or else host names, of a status' load balancer."""
    points = (status.get("loadBalancer") or _NOTHING).get("ingress") or ()
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""}))


def _endpoints(document: Document, now: float) -> list[Any]:
    found: list[str] = []
    for subset in document.get("subsets") or ():
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        for port in ports:
            found += [_host_port(address, port.get("port")) for address in addresses]
    text = limited(found, 3) if document.get("subsets") else NONE
    return [name_of(document), text, age_of(document, now)]


def _host_port(address: str, port: Any) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _node(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    info = status.get("nodeInfo") or _NOTHING
    ready = next((item for item in status.get("conditions") or () if item.get("type") == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec.get("unschedulable"):
        state += ",SchedulingDisabled"
    labels = labels_of(document)
    roles = {label.removeprefix(_ROLE_PREFIX) for label in labels if label.startswith(_ROLE_PREFIX)}
    roles = (roles | {labels.get(_ROLE_LABEL, "")}) - {""}
    return [
        name_of(document),
        state,
        ",".join(sorted(roles)) or NONE,
        age_of(document, now),
        info.get("kubeletVersion", ""),
        _node_address(status, "InternalIP"),
        _node_address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_address(status: Mapping[str, Any], kind: str) -> str:
    addresses = status.get("addresses") or ()
    return str(next((item.get("address") for item in addresses if item.get("type") == kind), NONE))


def _event(document: Document, now: float) -> list[Any]:
    """Events of the core group and of events.k8s.io, whose fields have other names for the same things."""
    about = document.get("involvedObject") or document.get("regarding") or _NOTHING
    source = document.get("source") or document.get("deprecatedSource") or _NOTHING
    moment = document.get("eventTime")
    first = since(document.get("firstTimestamp") or document.get("deprecatedFirstTimestamp") or moment, now)
    last_seen = document.get("lastTimestamp") or document.get("deprecatedLastTimestamp")
    last = since(last_seen, now) if last_seen else first
    # An event that happened once has no count in the new API.
    count = document.get("count") or document.get("deprecatedCount") or 1
    series = document.get("series")
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count") or 0
    kind, name = str(about.get("kind", "")).lower(), about.get("name")
    component = source.get("component") or document.get("reportingComponent") or document.get("reportingController")
    instance = source.get("host") or document.get("reportingInstance")
    return [
        last,
        document.get("type", ""),
        document.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        f"{component or ''}, {instance}" if instance else component or "",
        str(document.get("message") or document.get("note") or "").strip(),
        first,
        count,
        name_of(document),
    ]


def _persistent_volume(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    claim = spec.get("claimRef")
    return [
        name_of(document),
        (spec.get("capacity") or _NOTHING).get("storage", "0"),
        access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if is_deleting(document) else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_of(document),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age_of(document, now),
        spec.get("volumeMode") or UNSET,
    ]


def _persistent_volume_claim(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    volume = spec.get("volumeName", "")
    return [
        name_of(document),
        "Terminating" if is_deleting(document) else status.get("phase", ""),
        volume,
        (status.get("capacity") or _NOTHING).get("storage", "0") if volume else "",
        access_modes(status.get("accessModes")) if volume else "",
        _class_of(document),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(document, now),
        spec.get("volumeMode") or UNSET,
    ]


def _class_of(document: Document) -> str:
    return str(annotations_of(document).get(_STORAGE_CLASS) or spec_of(document).get("storageClassName") or "")


def _replication_controller(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    return [
        name_of(document),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(document, now),
        *containers_of((spec.get("template") or _NOTHING).get("spec")),
        labels_text(spec.get("selector")),
    ]


def _resource_quota(document: Document, now: float) -> list[Any]:
    status = status_of(document)
    hard, used = status.get("hard") or _NOTHING, status.get("used") or _NOTHING
    texts: tuple[list[str], list[str]] = ([], [])
    for resource in sorted(hard):
        texts[resource.startswith("limits.")].append(f"{resource}: {used.get(resource, '0')}/{hard[resource]}")
    return [name_of(document), ", ".join(texts[0]), ", ".join(texts[1]), age_of(document, now)]


def _component_status(document: Document, _now: float) -> list[Any]:
    state, message, error = "Unknown", "", ""
    for condition in document.get("conditions") or ():
        if condition.get("type") == "Healthy":
            state = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            message, error = condition.get("message", ""), condition.get("error", "")
            break
    return [name_of(document), state, message, error]


_EVENTS = Printer(
    (column("Last Seen"), column("Type"), column("Reason"), column("Object"), wide("Subobject"), wide("Source"),
     column("Message"), wide("First Seen"), wide("Count"), TableColumn("Name", format="name", priority=1)),
    _event,
)  # fmt: skip

PRINTERS = {
    ("", "Namespace"): Printer((NAME, column("Status"), AGE), _namespace),
    ("", "ConfigMap"): Printer((NAME, column("Data"), AGE), _config_map),
    ("", "Secret"): Printer((NAME, column("Type"), column("Data"), AGE), _secret),
    ("", "ServiceAccount"): Printer((NAME, AGE), _service_account),
    ("", "Service"): Printer(
        (NAME, column("Type"), column("Cluster-IP"), column("External-IP"), column("Port(s)"), AGE, wide("Selector")),
        _service,
    ),
    ("", "Endpoints"): Printer((NAME, column("Endpoints"), AGE), _endpoints),
    ("", "Node"): Printer(
        (NAME, column("Status"), column("Roles"), AGE, column("Version"), wide("Internal-IP"), wide("External-IP"),
         wide("OS-Image"), wide("Kernel-Version"), wide("Container-Runtime")),
        _node,
    ),
    ("", "Event"): _EVENTS,
    ("events.k8s.io", "Event"): _EVENTS,
    ("", "PersistentVolume"): Printer(
        (NAME, column("Capacity"), column("Access Modes"), column("Reclaim Policy"), column("Status"), column("Claim"),
         column("StorageClass"), column("VolumeAttributesClass"), column("Reason"), AGE, wide("VolumeMode")),
        _persistent_volume,
    ),
    ("", "PersistentVolumeClaim"): Printer(
        (NAME, column("Status"), column("Volume"), column("Capacity"), column("Access Modes"), column("StorageClass"),
         column("VolumeAttributesClass"), AGE, wide("VolumeMode")),
        _persistent_volume_claim,
    ),
    ("", "ReplicationController"): Printer(
        (NAME, column("Desired", "integer"), column("Current", "integer"), column("Ready", "integer"), AGE,
         wide("Containers"), wide("Images"), wide("Selector")),
        _replication_controller,
    ),
    ("", "ResourceQuota"): Printer((NAME, column("Request"), column("Limit"), AGE), _resource_quota),
    ("", "ComponentStatus"): Printer(
        (NAME, column("Status"), column("Message"), column("Error")), _component_status
    ),
}  # fmt: skip
