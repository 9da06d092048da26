"""What upstream fills into a pod's spec: the defaults that the API reference documents for each field.

`default_pod` is for pods, `default_template` for the templates of workloads, which get less: requests are taken from
limits, host ports from container ports, and service links switched on, only once there is a pod. Admission's additions
(service account, tolerations, priority) are not made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kube_core.meta import quantities
from kube_core.meta.documents import MutableDocument
from kube_core.meta.quantities import Quantity
from kube_core.registry.kinds.pods import references

__all__ = [
    "default_claim_template",
    "default_pod",
    "default_template",
    "pull_policy",
    "round_resources",
]

Part = dict[str, Any]

_MODE = 0o644
_PROBE = (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3))


def default_pod(document: MutableDocument) -> None:
    """A whole Pod, in place."""
    spec: Part = document.setdefault("spec", {})
    default_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in (*spec.get("initContainers", ()), *(spec.get("containers") or ())):
        _requests_from_limits(container.get("resources", {}))
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port.get("containerPort"))
    if "resources" in spec:
        _pod_requests_from_limits(spec)


def default_template(template: Part) -> None:
    """A PodTemplateSpec, in place."""
    template.setdefault("metadata", {})
    default_spec(template.setdefault("spec", {}))


def default_spec(spec: Part) -> None:
    """What a pod's spec has in both cases, and has not: fields that upstream drops unless a gate lets them in."""
    spec.pop("evictionResponders", None)
    spec.pop("schedulingGroup", None)
    for container in _containers(spec):
        _default_container(container)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    # Two names for one field, kept alike; the newer one wins.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for volume in spec.get("volumes", ()):
        _default_volume(volume)
    for constraint in spec.get("overhead", ()) and [spec["overhead"]]:
        round_resources(constraint)
    if "resources" in spec:
        _default_resources(spec["resources"])


def default_claim_template(spec: Part) -> None:
    """The spec of a PersistentVolumeClaim, wherever it stands."""
    spec.setdefault("volumeMode", "Filesystem")


def pull_policy(image: str) -> str:
    """`Always` for the tag `latest` and for none, else `IfNotPresent`."""
    return "Always" if references.tag_of(image) == "latest" else "IfNotPresent"


def round_resources(amounts: Part) -> None:
    """Amounts of resources are kept to a thousandth, rounded up."""
    for name, text in amounts.items():
        amount = quantities.parse(text)
        if amount.nano % 10**6:
            amounts[name] = str(Quantity(amount.milli_value * 10**6, amount.notation))


def _containers(spec: Part) -> Iterator[Part]:
    for name in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(name) or ()


def _default_container(container: Part) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(name)) is not None:
            for field, value in _PROBE:
                probe.setdefault(field, value)
            _default_http(probe)
            if "grpc" in probe:
                probe["grpc"].pop("mode", None)
    container.get("lifecycle", {}).pop("stopSignal", None)
    for mount in container.get("volumeMounts") or ():
        mount.pop("bindMountOptions", None)
    for name in ("postStart", "preStop"):
        if (handler := container.get("lifecycle", {}).get(name)) is not None:
            _default_http(handler)
    for variable in container.get("env", ()):
        _default_field_reference(variable.get("valueFrom", {}))
    _default_resources(container.setdefault("resources", {}))


def _default_http(handler: Part) -> None:
    if (request := handler.get("httpGet")) is not None:
        request.pop("protocol", None)
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")


def _default_field_reference(source: Part) -> None:
    if (reference := source.get("fieldRef")) is not None:
        reference.setdefault("apiVersion", "v1")


def _default_resources(resources: Part) -> None:
    for name in ("limits", "requests"):
        if name in resources:
            round_resources(resources[name])


def _requests_from_limits(resources: Part) -> None:
    for name, amount in resources.get("limits", {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)


def _pod_requests_from_limits(spec: Part) -> None:
    """Pod-level requests: what the containers ask for together, or else the pod-level limit."""
    resources: Part = spec["resources"]
    limits: Part = resources.get("limits", {})
    requests: Part = resources.get("requests", {})
    asked = _asked_by_containers(spec, requests.keys() | limits.keys())
    for name, amount in asked.items():
        requests.setdefault(name, amount)
    for name, amount in limits.items():
        requests.setdefault(name, amount)
    if requests:
        resources["requests"] = requests


def _asked_by_containers(spec: Part, wanted: Iterable[str]) -> Part:
    """For the resources that the pod names: the sum of the containers' requests, where all that count have one."""
    sums: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, amount in container.get("resources", {}).get("requests", {}).items():
            if name in ("cpu", "memory") or name.startswith("hugepages-"):
                sums[name] = sums.get(name, Quantity(0)) + quantities.parse(amount)
    return {name: str(amount) for name, amount in sums.items() if name in wanted}


def _default_volume(volume: Part) -> None:
    source = next((name for name in volume if name != "name"), None)
    if source is None:
        volume["emptyDir"] = {}
        return
    part: Part = volume[source]
    _drop_users(part)
    match source:
        case "emptyDir":
            part.pop("mode", None)
        case "secret" | "configMap":
            part.setdefault("defaultMode", _MODE)
        case "downwardAPI":
            part.setdefault("defaultMode", _MODE)
            _default_files(part)
        case "projected":
            part.setdefault("defaultMode", _MODE)
            for projection in part.get("sources", ()):
                _default_projection(projection)
        case "hostPath":
            part.setdefault("type", "")
        case "ephemeral":
            if "volumeClaimTemplate" in part:
                default_claim_template(part["volumeClaimTemplate"].setdefault("spec", {}))
        case "image":
            if not part.get("pullPolicy"):
                part["pullPolicy"] = pull_policy(part.get("reference", ""))


def _drop_users(part: Part) -> None:
    """Take out who owns files: no gate lets it in."""
    part.pop("defaultUser", None)
    for projection in part.get("sources") or ():
        for source in projection.values():
            source.pop("user", None)
            _drop_users(source)
    for item in part.get("items") or ():
        item.pop("user", None)


def _default_files(part: Part) -> None:
    for item in part.get("items", ()):
        _default_field_reference(item)


def _default_projection(projection: Part) -> None:
    if (token := projection.get("serviceAccountToken")) is not None:
        token.setdefault("expirationSeconds", 3600)
    if (certificate := projection.get("podCertificate")) is not None:
        certificate.setdefault("maxExpirationSeconds", 86400)
    _default_files(projection.get("downwardAPI", {}))
