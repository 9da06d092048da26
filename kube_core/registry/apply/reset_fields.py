"""Fields that a request cannot write, whatever it says, and so never owns.

A write through the main resource leaves the status alone, one through a status subresource leaves all the rest: those
fields are reset by the kind's strategy, and no manager comes to own them by such a write. Upstream's strategies list
them kind by kind; the exceptions below are those whose lists are longer than the rule.
"""

from __future__ import annotations

from kube_core.meta.gvk import GroupKind
from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields

__all__ = ["reset_fields"]

_STATUS = fieldsets.of_paths(("status",))
_SPEC = fieldsets.of_paths(("spec",))
_SPEC_AND_METADATA = fieldsets.of_paths(("spec",), ("metadata",))

_MAIN: dict[GroupKind, Fields] = {
    GroupKind("certificates.k8s.io", "CertificateSigningRequest"): fieldsets.of_paths(("spec",), ("status",)),
}

_THROUGH_STATUS: dict[GroupKind, Fields] = {
    GroupKind("", "Pod"): fieldsets.of_paths(
        ("spec",), ("metadata", "deletionTimestamp"), ("metadata", "ownerReferences")
    ),
    GroupKind("apps", "Deployment"): fieldsets.of_paths(("spec",), ("metadata", "labels")),
    GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"): _SPEC_AND_METADATA,
    GroupKind("storage.k8s.io", "VolumeAttachment"): _SPEC_AND_METADATA,
    GroupKind("resource.k8s.io", "ResourceClaim"): fieldsets.of_paths(
        ("spec",), ("metadata", "labels"), ("metadata", "annotations"), ("metadata", "finalizers"),
        ("metadata", "ownerReferences"),
    ),
}  # fmt: skip


def reset_fields(kind: GroupKind, subresource: str, *, custom: bool, has_status: bool) -> Fields:
    """The fields that a write through `subresource` ("" is the main resource) cannot set."""
    if subresource == "status":
        return _SPEC_AND_METADATA if custom else _THROUGH_STATUS.get(kind, _SPEC)
    if not subresource and has_status:
        return _MAIN.get(kind, _STATUS)
    return {}
