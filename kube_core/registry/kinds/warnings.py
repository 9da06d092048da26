"""Warnings that several kinds share: names that make bad host names, labels of nodes and addresses on their way out.

The texts are upstream's; kubectl prints them. What is particular to pods is in `pods.warnings`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kube_core.meta import names
from kube_core.meta.documents import Document, name_of
from kube_core.meta.fields import Path

__all__ = ["NODE_LABELS", "fractional_bytes", "node_selector_term", "pod_names", "unusual_address"]

NODE_LABELS: Mapping[str, str] = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_SURPRISING = "which can result in surprising behavior; a DNS label is recommended"


def pod_names(document: Document, old: Document | None, used_in: str = "Pod names and hostnames") -> Iterator[str]:
    """On creation: the object's name becomes a host name, and is no good one."""
    if old is None and (messages := names.dns1123_label(name_of(document))):
        yield f"metadata.name: this is used in {used_in}, {_SURPRISING}: [{' '.join(messages)}]"


def node_selector_term(path: Path, term: Mapping[str, Any], *, values_checked: bool = False) -> Iterator[str]:
    """A node selector term at `path`; `values_checked`: validation lets values be that no label can have."""
    for position, expression in enumerate(term.get("matchExpressions") or ()):
        here, key = path.child("matchExpressions").index(position), expression.get("key") or ""
        if key in NODE_LABELS:
            yield f"{here.child('key')}: {key} is {NODE_LABELS[key]}"
        for index, value in enumerate((expression.get("values") or ()) if values_checked else ()):
            for message in names.label_value(value):
                yield f"{here.child('values').index(index)}: {value} is invalid, {message}"


def unusual_address(path: Path, text: str) -> Iterator[str]:
    """A valid address that is not in the one form that its family's standard asks for."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    if address.version == 6 and str(address) != text:
        yield f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")'


def fractional_bytes(path: Path, amounts: Mapping[str, str] | None, counted: Iterable[str]) -> Iterator[str]:
    """Amounts of bytes, of the resources `counted`, that are no whole numbers."""
    from kube_core.meta import quantities  # lazily: few objects have amounts

    for name in counted:
        text = (amounts or {}).get(name)
        if text is not None and not quantities.parse(text).is_whole:
            yield f'{path.key(name)}: fractional byte value "{text}" is invalid, must be an integer'
