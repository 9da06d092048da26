"""The downward API: fields of a pod, and resources of its containers, as texts. Pure.

Which fields and resources there are is what upstream documents under "Downward API"; others are a `FieldRefError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kube_core.meta import quantities
from kube_core.meta.documents import Document, annotations_of, labels_of, metadata_of

__all__ = ["FieldRefError", "field_value", "resource_value"]

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
#: What a container without a limit may use of its node; pages of memory always have a limit of their own.
_LIMITED_BY_NODE = ("cpu", "memory", "ephemeral-storage")


class FieldRefError(Exception):
    """A reference to what there is not: one line, for an event."""


def field_value(pod: Document, path: str) -> str:
    """The value of a `fieldRef`. Whole labels and annotations come as lines of `key="value"`."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        texts = labels_of(pod) if subscript.group(1) == "labels" else annotations_of(pod)
        return str(texts.get(subscript.group(2), ""))
    read = _FIELDS.get(path)
    if read is None:
        raise FieldRefError(f"unsupported fieldPath: {path}")
    return str(read(pod) or "")


def resource_value(
    pod: Document, reference: Document, node: Document | None, *, container: Document | None = None
) -> str:
    """The value of a `resourceFieldRef`: in whole divisors, rounded up. A limit that is not set is the pod's or the
    node's whole.
    """
    spec = pod.get("spec") or {}
    if name := reference.get("containerName"):
        every = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
        container = next((each for each in every if each["name"] == name), None)
        if container is None:
            raise FieldRefError(f"container {name} not found")
    which, _, resource = str(reference["resource"]).partition(".")
    if which not in ("limits", "requests") or not (resource in _LIMITED_BY_NODE or resource.startswith("hugepages-")):
        raise FieldRefError(f"unsupported container resource : {reference['resource']}")
    amount = quantities.parse((_resources(container).get(which) or {}).get(resource) or "0")
    if not amount and which == "limits" and resource in _LIMITED_BY_NODE:
        whole: Mapping[str, str] = ((node or {}).get("status") or {}).get("allocatable") or {}
        amount = quantities.parse((_resources(spec).get("limits") or {}).get(resource) or whole.get(resource) or "0")
    divisor = quantities.parse(reference.get("divisor") or "1")
    if not divisor:
        divisor = quantities.parse("1")
    if resource == "cpu":
        return str(-(-amount.milli_value // divisor.milli_value))
    return str(-(-amount.value // divisor.value))


def _resources(holder: Document | None) -> Document:
    """Of a container, or of a pod as a whole."""
    found: Document = (holder or {}).get("resources") or {}
    return found


def _lines(values: Mapping[str, str]) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})
    return "\n".join(f'{key}="{value.translate(escapes)}"' for key, value in sorted(values.items()))


def _addresses(pod: Document, field: str) -> str:
    return ",".join(each["ip"] for each in (pod.get("status") or {}).get(field) or ())


_FIELDS: Mapping[str, Callable[[Document], object]] = {
    "metadata.labels": lambda pod: _lines(labels_of(pod)),
    "metadata.annotations": lambda pod: _lines(annotations_of(pod)),
    "metadata.name": lambda pod: metadata_of(pod).get("name"),
    "metadata.namespace": lambda pod: metadata_of(pod).get("namespace"),
    "metadata.uid": lambda pod: metadata_of(pod).get("uid"),
    "spec.nodeName": lambda pod: pod["spec"].get("nodeName"),
    "spec.serviceAccountName": lambda pod: pod["spec"].get("serviceAccountName"),
    "status.hostIP": lambda pod: (pod.get("status") or {}).get("hostIP"),
    "status.hostIPs": lambda pod: _addresses(pod, "hostIPs"),
    "status.podIP": lambda pod: (pod.get("status") or {}).get("podIP"),
    "status.podIPs": lambda pod: _addresses(pod, "podIPs"),
}
