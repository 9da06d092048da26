"""The device claims that a pod needs, and who still uses a claim. Pure.

A pod names each of its claims directly, or by a template; for the latter a claim is made that belongs to the pod,
under a generated name that the pod's status tells. Whoever schedules the pod allocates the claims and reserves them for
it; a pod that came to its node otherwise has them reserved afterwards. A claim that the last of its pods has done with
is allocated no longer, and one that was made for a pod that has ended is deleted (upstream: "Dynamic Resource
Allocation").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from kube_core.api import pods
from kube_core.control.claims import controller_reference
from kube_core.meta.documents import (
    Document,
    MutableDocument,
    annotations_of,
    controller_of,
    finalizers_of,
    is_deleting,
    name_of,
    namespace_of,
    thaw,
    uid_of,
)

__all__ = [
    "FINALIZER",
    "NeedsTemplate",
    "PodPlan",
    "claim_names",
    "is_done",
    "plan_claim",
    "plan_pod",
    "reserved",
]

#: Keeps a claim while devices are allocated to it.
FINALIZER: Final = "resource.kubernetes.io/delete-protection"
_POD_CLAIM: Final = "resource.kubernetes.io/pod-claim-name"
_MOST_USERS: Final = 256
#: Of the name of a claim, without what is generated.
_LONGEST: Final = 57


@attrs.frozen
class NeedsTemplate:
    """A claim that cannot be made: its template is not there."""

    claim: str
    template: str


@attrs.frozen
class PodPlan:
    """What a pod lacks. `create`: claims by the name that the pod has for them; `told`: names that its status lacks."""

    create: Mapping[str, MutableDocument] = attrs.field(factory=dict)
    told: Mapping[str, str] = attrs.field(factory=dict)
    reserve: tuple[Document, ...] = ()
    missing: tuple[NeedsTemplate, ...] = ()


def is_done(pod: Document) -> bool:
    """Whether a pod uses no devices any longer, and never will."""
    return pods.is_terminal(pod) or (is_deleting(pod) and not pods.node_name_of(pod))


def claim_names(pod: Document) -> Iterator[str]:
    """The names of the claims that a pod has, as far as they are known."""
    told = _told(pod)
    for each in (pod.get("spec") or {}).get("resourceClaims") or ():
        name = each.get("resourceClaimName") or told.get(each["name"])
        if name:
            yield str(name)


def plan_pod(pod: Document, claims: Sequence[Document], templates: Mapping[str, Document]) -> PodPlan:
    """`claims`, `templates`: those of the pod's namespace, the latter by name."""
    if is_deleting(pod) or pods.is_terminal(pod):
        return PodPlan()
    by_name = {name_of(claim): claim for claim in claims}
    create: dict[str, MutableDocument] = {}
    told: dict[str, str] = {}
    reserve: list[Document] = []
    missing: list[NeedsTemplate] = []
    known = _told(pod)
    for each in (pod.get("spec") or {}).get("resourceClaims") or ():
        name, template = str(each["name"]), each.get("resourceClaimTemplateName")
        claim: Document | None
        if template is None:
            claim = by_name.get(str(each.get("resourceClaimName")))
        else:
            if name in known and not known[name]:
                continue  # somebody said that the pod needs none
            claim = by_name.get(known.get(name) or "")
            if claim is None or not _is_of(claim, pod):
                claim = next((one for one in claims if _is_of(one, pod) and _pod_claim(one) == name), None)
                if claim is not None:
                    told[name] = name_of(claim)
                elif template in templates:
                    create[name] = _from_template(pod, name, templates[template])
                else:
                    missing.append(NeedsTemplate(name, template))
        if claim is not None and pods.node_name_of(pod) and _may_reserve(claim, pod):
            reserve.append(claim)
    return PodPlan(create, told, tuple(reserve), tuple(missing))


def reserved(claim: Document, pod: Document) -> MutableDocument:
    """The claim, reserved for a pod."""
    changed: MutableDocument = thaw(claim)
    user = {"resource": "pods", "name": name_of(pod), "uid": uid_of(pod)}
    changed["status"].setdefault("reservedFor", []).append(user)
    return changed


def plan_claim(
    claim: Document, uses: Callable[[Document], bool], owner: Document | None
) -> tuple[MutableDocument | None, bool, bool]:
    """The claim with the status it should have (None: as it is); whether its finalizer may go; whether it may itself.

    `uses(entry)`: whether the pod of an entry of `reservedFor` is there and still uses it. `owner`: the pod that the
    claim was made for, as far as that is there.
    """
    status = claim.get("status") or {}
    before = list(status.get("reservedFor") or ())
    after = [entry for entry in before if not _is_pod(entry) or uses(entry)]
    protected = FINALIZER in finalizers_of(claim)
    allocated = status.get("allocation") is not None
    changed: MutableDocument | None = None
    # One that was never used stays allocated until it is deleted.
    deallocate = protected and allocated and not after and (bool(before) or is_deleting(claim))
    if len(after) < len(before) or deallocate:
        changed = thaw(claim)
        changed["status"]["reservedFor"] = after
        if not after:
            del changed["status"]["reservedFor"]
        if deallocate:
            changed["status"].pop("allocation")
    released = protected and not after and (deallocate or not allocated) and (bool(before) or is_deleting(claim))
    reference = controller_of(claim) or {}
    made_for = reference.get("kind") == "Pod" and owner is not None
    surplus = not after and made_for and owner is not None and (uid_of(owner) != reference.get("uid") or is_done(owner))
    return changed, released, surplus and not is_deleting(claim)


def _told(pod: Document) -> Mapping[str, str]:
    """The names of generated claims by the pod's names for them; "" where none is needed."""
    statuses: Iterable[Document] = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return {str(each["name"]): str(each.get("resourceClaimName") or "") for each in statuses}


def _is_of(claim: Document, pod: Document) -> bool:
    return (controller_of(claim) or {}).get("uid") == uid_of(pod)


def _pod_claim(claim: Document) -> str:
    return annotations_of(claim).get(_POD_CLAIM, "")


def _is_pod(entry: Document) -> bool:
    return not entry.get("apiGroup") and entry.get("resource") == "pods"


def _may_reserve(claim: Document, pod: Document) -> bool:
    status = claim.get("status") or {}
    users = status.get("reservedFor") or ()
    return (
        status.get("allocation") is not None
        and len(users) < _MOST_USERS
        and not any(entry.get("uid") == uid_of(pod) for entry in users)
    )


def _from_template(pod: Document, name: str, template: Document) -> MutableDocument:
    spec, base = template["spec"], name_of(pod)
    metadata: MutableDocument = {
        "generateName": _prefix(base, name),
        "namespace": namespace_of(pod),
        "annotations": {**((spec.get("metadata") or {}).get("annotations") or {}), _POD_CLAIM: name},
        "ownerReferences": [controller_reference(pod)],
    }
    # Not to be waited for: with the pod its claims go, too.
    metadata["ownerReferences"][0].pop("blockOwnerDeletion")
    if labels := (spec.get("metadata") or {}).get("labels"):
        metadata["labels"] = dict(labels)
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": thaw(spec["spec"]),
    }


def _prefix(pod: str, claim: str) -> str:
    """Both names, each shortened by the same part where they are too long together."""
    whole = f"{pod}-{claim}-"
    if len(whole) <= _LONGEST:
        return whole
    return f"{pod[: len(pod) * _LONGEST // len(whole)]}-{claim[: len(claim) * _LONGEST // len(whole)]}"
