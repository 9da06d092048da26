"""Nodes. Documented under "Nodes". A node says itself what it has, so its status is taken even on creation."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import round_resources
from kube_core.registry.kinds.pods.resources import quantity_value
from kube_core.registry.kinds.pods.scheduling import taint_effect

__all__ = ["NodeStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*")
_FEATURE_LENGTH = 253
_FEATURE_RULE = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


class NodeStrategy(BuiltinStrategy):
    def default(self, document: MutableDocument) -> None:
        spec = document.setdefault("spec", {})
        # Behind a gate that is closed upstream.
        spec.pop("podPreemptionPolicy", None)
        # One range and a list of ranges, of which it is the first.
        single, listed = spec.get("podCIDR"), spec.get("podCIDRs")
        if single and (not listed or listed[0] != single):
            spec["podCIDRs"] = [single]
        elif listed:
            spec["podCIDR"] = listed[0]
        status = document.get("status") or {}
        for name in ("capacity", "allocatable"):
            if name in status:
                round_resources(status[name])
        if "capacity" in status and "allocatable" not in status:
            status["allocatable"] = dict(status["capacity"])

    def reset_status(self, document: MutableDocument) -> None:
        """Kept: registration reports it."""

    def prepare_for_create(self, document: MutableDocument) -> None:
        """Nothing is reset, but for what was given up."""
        document["spec"].pop("configSource", None)
        (document.get("status") or {}).pop("config", None)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        if (old["spec"] or {}).get("configSource") is None:
            document["spec"].pop("configSource", None)

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from _taints(spec.get("taints") or ())
        yield from _resources(document)
        yield from _ranges(spec.get("podCIDRs") or ())

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        spec, before = document["spec"], old["spec"]
        yield from _addresses(document)
        yield from self.validate(document)
        yield from _features(document)
        if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
            detail = 'node updates may not change podCIDR except from "" to valid'
            yield fields.forbidden(SPEC.child("podCIDRs"), detail)
        if before.get("providerID") and spec.get("providerID") != before["providerID"]:
            # Upstream's generated check shows no value.
            what = "modified" if spec.get("providerID") else "cleared"
            yield fields.invalid(SPEC.child("providerID"), None, f"field cannot be {what} once set")
        if (spec.get("externalID") or "") != (before.get("externalID") or ""):
            yield fields.forbidden(SPEC.child("externalID"), "may not be updated")

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from _addresses(document)
        yield from _resources(document)
        yield from _features(document)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        spec = document["spec"]
        found = []
        if spec.get("configSource") is not None:
            found.append("spec.configSource: the feature is removed")
        if spec.get("externalID"):
            found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        return found

    def field_labels(self) -> Sequence[str]:
        return ("spec.unschedulable",)

    def fields(self, document: Document) -> Mapping[str, str]:
        return {"spec.unschedulable": "true" if (document.get("spec") or {}).get("unschedulable") else "false"}


def _taints(listed: Sequence[Mapping[str, Any]]) -> Errors:
    # Upstream places taints under metadata.
    path = Path("metadata").child("taints")
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(listed):
        here = path.index(position)
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        yield from checks.named(here.child("key"), key, names.qualified_name)
        if messages := names.label_value(taint.get("value") or ""):
            yield fields.invalid(here.child("value"), taint["value"], ";".join(messages))
        if not effect:
            yield fields.required(here.child("effect"))
        else:
            yield from taint_effect(here.child("effect"), effect)
        if (key, effect) in seen:
            error = fields.duplicate(here, dict(taint))
            yield FieldError(error.field, error.reason, f"{error.body}: taints must be unique by key and effect pair")
        seen.add((key, effect))


def _resources(document: Document) -> Errors:
    status = document.get("status") or {}
    for kind in ("capacity", "allocatable"):
        for name, amount in (status.get(kind) or {}).items():
            yield from quantity_value(STATUS.child(kind).child(name), name, amount)


def _features(document: Document) -> Errors:
    """What a node says that it can do: names in order, each once."""
    path, listed = STATUS.child("declaredFeatures"), (document.get("status") or {}).get("declaredFeatures") or ()
    for position, name in enumerate(listed):
        here = path.index(position)
        if position and name == listed[position - 1]:
            yield fields.duplicate(here, name)
        elif position and name < listed[position - 1]:
            yield fields.invalid(here, name, "list must be sorted alphabetically")
        if len(name) > _FEATURE_LENGTH:
            detail = f'invalid feature name "{name}": must be no more than {_FEATURE_LENGTH} characters'
            yield fields.invalid(here, name, detail)
        elif not _FEATURE.fullmatch(name):
            yield fields.invalid(here, name, f'invalid feature name "{name}": {_FEATURE_RULE}')


def _ranges(listed: Sequence[str]) -> Errors:
    path = SPEC.child("podCIDRs")
    wrong = False
    for position, each in enumerate(listed):
        for message in names.cidr(each):
            wrong = True
            yield fields.invalid(path.index(position), each, message)
    if wrong or len(listed) < 2:
        return
    versions = [ipaddress.ip_network(each, strict=False).version for each in listed]
    if len(listed) > 2 or versions[0] == versions[1]:
        yield fields.invalid(path, list(listed), "may specify no more than one CIDR for each IP family")


def _addresses(document: Document) -> Errors:
    seen: list[Mapping[str, Any]] = []
    for position, address in enumerate((document.get("status") or {}).get("addresses") or ()):
        if address in seen:
            yield fields.duplicate(STATUS.child("addresses").index(position), dict(address))
        seen.append(address)
