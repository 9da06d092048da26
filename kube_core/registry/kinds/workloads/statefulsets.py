"""StatefulSets. Documented under "StatefulSets"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, name_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_claim_template, default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.workloads import templates

__all__ = ["StatefulSetStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
_RETENTION = ("Retain", "Delete")
#: All else in a StatefulSet's spec stays as it was created.
_MUTABLE = frozenset(
    {
        "minReadySeconds",
        "ordinals",
        "persistentVolumeClaimRetentionPolicy",
        "replicas",
        "revisionHistoryLimit",
        "template",
        "updateStrategy",
    }
)


class StatefulSetStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("partition", 0)
            rolling.setdefault("maxUnavailable", 1)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for name in ("whenDeleted", "whenScaled"):
            if not retention.get(name):
                retention[name] = "Retain"
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        default_template(spec.setdefault("template", {}))
        for claim in spec.get("volumeClaimTemplates", ()):
            claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"
            default_claim_template(claim.setdefault("spec", {}))
            claim.setdefault("status", {}).setdefault("phase", "Pending")

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        yield from _policies(document)
        yield from checks.non_negative(SPEC.child("replicas"), spec.get("replicas"))
        yield from checks.non_negative(SPEC.child("minReadySeconds"), spec.get("minReadySeconds"))
        start = (spec.get("ordinals") or {}).get("start")
        yield from checks.non_negative(SPEC.child("ordinals").child("start"), start)
        yield from templates.required_selector(SPEC.child("selector"), spec.get("selector"), "statefulset")
        path, template = SPEC.child("template"), spec.get("template")
        yield from templates.matching(path, spec.get("selector"), template)
        yield from templates.template(path, _with_claims(template, spec), self.context)
        yield from templates.always_restarting(path, template, "StatefulSet")
        if spec.get("serviceName"):
            yield from checks.named(SPEC.child("serviceName"), spec["serviceName"], names.dns1123_label)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = document["spec"], old["spec"]
        for name in sorted(new.keys() | before.keys()):
            if name not in _MUTABLE:
                yield from checks.immutable(SPEC.child(name), new.get(name), before.get(name))

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status = document.get("status") or {}
        counts = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
        for name in (*counts, "observedGeneration", "collisionCount"):
            yield from checks.non_negative(STATUS.child(name), status.get(name))
        total = status.get("replicas") or 0
        for name in counts[1:]:
            if (count := status.get(name) or 0) > total:
                yield fields.invalid(STATUS.child(name), count, "cannot be greater than status.replicas")
        if (count := status.get("availableReplicas") or 0) > (status.get("readyReplicas") or 0):
            detail = "cannot be greater than status.readyReplicas"
            yield fields.invalid(STATUS.child("availableReplicas"), count, detail)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        found = list(template_warnings("spec.template", document["spec"].get("template") or {}, before))
        if (document["spec"].get("revisionHistoryLimit") or 0) < 0:
            found.append(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
                "a value >= 0 is recommended"
            )
        return found


def _policies(document: Document) -> Errors:
    spec = document["spec"]
    management = spec.get("podManagementPolicy") or ""
    if not management:
        yield fields.required(SPEC.child("podManagementPolicy"))
    elif management not in ("OrderedReady", "Parallel"):
        yield fields.invalid(SPEC.child("podManagementPolicy"), management, "must be 'OrderedReady' or 'Parallel'")
    strategy = spec.get("updateStrategy") or {}
    path, rolling = SPEC.child("updateStrategy"), strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "OnDelete":
            if rolling is not None:
                detail = "only allowed for updateStrategy 'RollingUpdate'"
                yield fields.invalid(path.child("rollingUpdate"), dict(rolling), detail)
        case "RollingUpdate":
            if rolling is not None:
                here = path.child("rollingUpdate")
                yield from checks.non_negative(here.child("partition"), rolling.get("partition"))
                yield from templates.rolling_amounts(here, rolling, "maxUnavailable")
                if rolling.get("maxUnavailable") in (0, "0%"):
                    yield fields.invalid(here.child("maxUnavailable"), rolling["maxUnavailable"], "cannot be 0")
                yield from templates.at_most_all(here.child("maxUnavailable"), rolling.get("maxUnavailable"))
        case _:
            yield fields.invalid(path, dict(strategy), "must be 'RollingUpdate' or 'OnDelete'")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        here = SPEC.child("persistentVolumeClaimRetentionPolicy").child(name)
        yield from checks.one_of(here, retention.get(name) or "", _RETENTION, ordered=True)


def _with_claims(template: Document | None, spec: Document) -> Document:
    """The template as pods get it: containers may mount the claims that are made for them."""
    pod = (template or {}).get("spec") or {}
    claims = {name_of(claim) for claim in spec.get("volumeClaimTemplates") or ()} - {""}
    missing = sorted(claims - {volume.get("name") for volume in pod.get("volumes") or ()})
    if not missing:
        return template or {}
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in missing]
    return {**(template or {}), "spec": {**pod, "volumes": [*(pod.get("volumes") or ()), *volumes]}}
