"""The downward API: fields of a pod, and resources of its containers, as texts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kube_core.meta import quantities
from kube_core.meta.documents import Document, annotations_of, labels_of, metadata_of

__all__ = ["field_value", "resource_value"]

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


def field_value(pod: Document, path: str) -> str:
    """The value of a `fieldRef`. Whole labels and annotations come as lines of `key="value"`. Unknown paths are ""."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        texts = labels_of(pod) if subscript.group(1) == "labels" else annotations_of(pod)
        return str(texts.get(subscript.group(2), ""))
    if path == "metadata.labels":
        return _lines(labels_of(pod))
    if path == "metadata.annotations":
        return _lines(annotations_of(pod))
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    values = {
        "metadata.name": metadata_of(pod).get("name"),
        "metadata.namespace": metadata_of(pod).get("namespace"),
        "metadata.uid": metadata_of(pod).get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": ",".join(each["ip"] for each in status.get("hostIPs") or ()),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(each["ip"] for each in status.get("podIPs") or ()),
    }
    return str(values.get(path) or "")


def resource_value(
    pod: Document, reference: Document, node: Document | None, *, container: Document | None = None
) -> str:
    """The value of a `resourceFieldRef`: in whole divisors, rounded up. A limit that is not set is the node's whole."""
    spec = pod.get("spec") or {}
    name = reference.get("containerName")
    if name:
        every = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        container = next((each for each in every if each["name"] == name), None)
    which, _, resource = str(reference["resource"]).partition(".")
    amounts: Mapping[str, str] = ((container or {}).get("resources") or {}).get(which) or {}
    amount = amounts.get(resource)
    if amount is None and which == "limits":
        allocatable: Mapping[str, str] = ((node or {}).get("status") or {}).get("allocatable") or {}
        amount = allocatable.get(resource)
    divisor = quantities.parse(reference.get("divisor") or "1")
    if not divisor:
        divisor = quantities.parse("1")
    return str(-(-quantities.parse(amount or "0").nano // divisor.nano))


def _lines(values: Mapping[str, str]) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return "\n".join(f'{key}="{value.translate(escapes)}"' for key, value in sorted(values.items()))
