"""StatefulSets. Documented under "StatefulSets"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, name_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.metadata import template_metadata
from kube_core.registry.kinds.pods.defaults import default_claim_template, default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.storage.claims import claim_spec, claim_warnings
from kube_core.registry.kinds.workloads import templates

__all__ = ["StatefulSetStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
_RETENTION = ("Retain", "Delete")
#: What stays as it was created, in the order in which upstream names it.
_FIXED = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")


class StatefulSetStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
            strategy.setdefault("rollingUpdate", {})
        rolling = strategy.get("rollingUpdate")
        if strategy["type"] == "RollingUpdate" and rolling is not None:
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

    def name_problems(self, name: str, *, prefix: bool = False) -> names.Messages:
        return names.dns1123_label(f"{name}a" if prefix else name)

    def validate(self, document: Document) -> Errors:
        return self._spec(document, is_new=True)

    def _spec(self, document: Document, *, is_new: bool, validates_template: bool = True) -> Errors:
        spec = document["spec"]
        yield from _policies(document)
        if is_new:
            for position, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
                here = SPEC.child("volumeClaimTemplates").index(position).child("spec")
                yield from claim_spec(here, claim.get("spec") or {})
        yield from checks.non_negative(SPEC.child("replicas"), spec.get("replicas"))
        yield from checks.non_negative(SPEC.child("minReadySeconds"), spec.get("minReadySeconds"))
        start = (spec.get("ordinals") or {}).get("start")
        yield from checks.non_negative(SPEC.child("ordinals").child("start"), start)
        if is_new and spec.get("serviceName"):
            yield from checks.named(SPEC.child("serviceName"), spec["serviceName"], names.dns1123_label)
        selector = spec.get("selector")
        yield from templates.required_selector(SPEC.child("selector"), selector, "statefulset")
        path, template = SPEC.child("template"), spec.get("template")
        if not templates.is_usable(selector):
            yield fields.invalid(SPEC.child("selector"), dict(selector or {}), "")
        else:
            yield from templates.matching(path, selector, template)
            if validates_template:
                yield from templates.template(path, _with_claims(template, spec), self.context)
            else:
                yield from template_metadata(path, (template or {}).get("metadata") or {})
        yield from templates.always_restarting(path, template, "StatefulSet")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        was_valid = not any(self._spec(old, is_new=False))
        yield from self._spec(document, is_new=False, validates_template=was_valid)
        for name in _FIXED:
            yield from checks.immutable(SPEC.child(name), document["spec"].get(name), old["spec"].get(name))

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
        yield from templates.collisions(status, old.get("status") or {})

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        found = list(template_warnings("spec.template", document["spec"].get("template") or {}, before))
        for position, claim in enumerate(document["spec"].get("volumeClaimTemplates") or ()):
            # Upstream names the place otherwise on creation than on update.
            here = f"spec.volumeClaimTemplates[{position}]" + (".Spec" if old is not None else "")
            found += claim_warnings(here, claim.get("spec") or {})
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
                if rolling.get("maxUnavailable") is not None and not templates.amount(rolling["maxUnavailable"]):
                    yield fields.invalid(here.child("maxUnavailable"), rolling["maxUnavailable"], "cannot be 0")
                yield from templates.at_most_all(here.child("maxUnavailable"), rolling.get("maxUnavailable"))
        case _:
            yield fields.invalid(path, dict(strategy), "must be 'RollingUpdate' or 'OnDelete'")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        here = SPEC.child("persistentVolumeClaimRetentionPolicy").child(name)
        yield from checks.one_of(here, retention.get(name) or "", _RETENTION, ordered=True)


def _with_claims(template: Document | None, spec: Document) -> Document:
    """The template as pods get it: with their claims as volumes, without the names that each gets for itself."""
    pod = (template or {}).get("spec") or {}
    claims = {name_of(claim) for claim in spec.get("volumeClaimTemplates") or ()}
    made = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(claims)]
    volumes = [*made, *(volume for volume in pod.get("volumes") or () if volume.get("name") not in claims)]
    named = {name: value for name, value in pod.items() if name not in ("hostname", "subdomain")}
    return {**(template or {}), "spec": {**named, "volumes": volumes}}
