"""HorizontalPodAutoscalers, in both served forms. Documented under "Horizontal Pod Autoscaling".

The older form (`v1`) has one metric, processor utilisation; what is said of it is said in the newer form's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kube_core.meta import fields, names, quantities
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.resources import container_resource_name

__all__ = ["AutoscalerStrategy", "OldAutoscalerStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
STATUS = Path("status")
_STABILIZATION_LIMIT = 3600
_PERIOD_LIMIT = 1800
_NOTHING_TO_WAKE = "must specify at least one Object or External metric to support scaling to zero replicas"
_METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Object": "object",
    "Pods": "pods",
    "External": "external",
}
#: In which upstream looks at them.
_IN_ORDER = ("object", "external", "pods", "resource", "containerResource")
_KIND = ("apiVersion", "kind")
_UP = [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]
_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


class OldAutoscalerStrategy(BuiltinStrategy):
    """`autoscaling/v1`."""

    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("minReplicas", 1)
        spec.setdefault("targetCPUUtilizationPercentage", 80)

    def validate(self, document: Document) -> Errors:
        return self._validate(document, None)

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._validate(document, old)

    def _validate(self, document: Document, old: Document | None) -> Errors:
        spec = document["spec"]
        yield from _replicas(spec)
        yield from _scaled(spec, old["spec"] if old is not None else None)
        if spec.get("minReplicas") == 0:
            yield fields.forbidden(SPEC.child("metrics"), _NOTHING_TO_WAKE)
        percentage = spec.get("targetCPUUtilizationPercentage")
        where = SPEC.child("metrics").index(0).child("resource").child("target").child("averageUtilization")
        yield from checks.positive(where, percentage)
        yield from _bounds(spec)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _status(document)


class AutoscalerStrategy(BuiltinStrategy):
    """`autoscaling/v2`."""

    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        spec.setdefault("minReplicas", 1)
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            _default_rules(behavior.setdefault("scaleUp", {}), _UP, stabilization=0)
            _default_rules(behavior.setdefault("scaleDown", {}), _DOWN, stabilization=None)

    def validate(self, document: Document) -> Errors:
        return self._validate(document, None)

    def validate_update(self, document: Document, old: Document) -> Errors:
        return self._validate(document, old)

    def _validate(self, document: Document, old: Document | None) -> Errors:
        spec = document["spec"]
        yield from _replicas(spec)
        before = old["spec"] if old is not None else {}
        yield from _scaled(spec, before or None)
        was_odd = any(
            metric.get("type") == "Object" and _version_problem(metric["object"].get("describedObject") or {})
            for metric in before.get("metrics") or ()
            if metric.get("object") is not None
        )
        for position, metric in enumerate(spec.get("metrics") or ()):
            yield from _metric(SPEC.child("metrics").index(position), metric, any_version=was_odd)
        if spec.get("minReplicas") == 0 and not any(
            metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or ()
        ):
            yield fields.forbidden(SPEC.child("metrics"), _NOTHING_TO_WAKE)
        for name in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or {}).get(name)
            if rules is not None:
                yield from _rules(SPEC.child("behavior").child(name), rules)
        yield from _bounds(spec)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return _status(document)


def _default_rules(rules: dict[str, Any], policies: list[dict[str, Any]], *, stabilization: int | None) -> None:
    rules.setdefault("selectPolicy", "Max")
    if stabilization is not None:
        rules.setdefault("stabilizationWindowSeconds", stabilization)
    if rules.get("policies") is None:
        rules["policies"] = [dict(policy) for policy in policies]


def _replicas(spec: Part) -> Errors:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and most < least:
        yield fields.invalid(SPEC.child("maxReplicas"), most, "must be greater than or equal to `minReplicas`")


def _bounds(spec: Part) -> Errors:
    """What upstream's generated checks say, after everything else."""
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 0:
        yield fields.invalid(SPEC.child("minReplicas"), least, "must be greater than or equal to 0")
    if most == 0:
        yield fields.required(SPEC.child("maxReplicas"))
    elif most < 1:
        yield fields.invalid(SPEC.child("maxReplicas"), most, "must be greater than or equal to 1")


def _scaled(spec: Part, before: Part | None) -> Errors:
    """What is scaled; its version is not looked at again where it has not changed."""
    reference, path = spec.get("scaleTargetRef") or {}, SPEC.child("scaleTargetRef")
    earlier = (before.get("scaleTargetRef") or {}) if before is not None else None
    yield from _reference(path, reference)
    if earlier is not None and all((reference.get(name) or "") == (earlier.get(name) or "") for name in _KIND):
        return
    version, where = reference.get("apiVersion") or "", path.child("apiVersion")
    if problem := _version_problem(reference):
        yield fields.invalid(where, version, problem)
    elif "/" not in version and reference.get("kind") != "ReplicationController":
        # A ReplicationController is the only thing of the core group that can be scaled.
        yield fields.invalid(where, version, "apiVersion must specify API group")


def _reference(path: Path, reference: Part) -> Errors:
    for name in ("kind", "name"):
        if not reference.get(name):
            yield fields.required(path.child(name))
        else:
            yield from checks.named(path.child(name), reference[name], names.path_segment)


def _version_problem(reference: Part) -> str:
    version = reference.get("apiVersion") or ""
    return f"unexpected GroupVersion string: {version}" if version.count("/") > 1 else ""


def _metric(path: Path, metric: Part, *, any_version: bool) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield fields.required(path.child("type"), "must specify a metric source type")
    if kind not in _METRICS:
        yield fields.not_supported(path.child("type"), kind, sorted(_METRICS))
    given = [name for name in _IN_ORDER if metric.get(name) is not None]
    if given:
        # Only one is looked at: the first, whatever the type says.
        yield from _source(path.child(given[0]), given[0], metric[given[0]], any_version=any_version)
    wanted = _METRICS.get(kind, "")
    if wanted and wanted not in given:
        yield fields.required(path.child(wanted), "must populate information for the given metric source")
    if len(given) != 1:
        for name in given:
            if name != wanted:
                yield fields.forbidden(path.child(name), "must populate the given metric source only")


def _source(path: Path, name: str, source: Part, *, any_version: bool) -> Errors:
    if name == "object":
        described, where = source.get("describedObject") or {}, path.child("describedObject")
        yield from _reference(where, described)
        if not any_version and (problem := _version_problem(described)):
            yield fields.invalid(where.child("apiVersion"), described["apiVersion"], problem)
    if name in ("resource", "containerResource"):
        yield from _resource(path, source, contained=name == "containerResource")
    else:
        metric = (source.get("metric") or {}).get("name") or ""
        if not metric:
            yield fields.required(path.child("metric").child("name"), "must specify a metric name")
        else:
            yield from checks.named(path.child("metric").child("name"), metric, names.path_segment)
    yield from _metric_target(path.child("target"), name, source.get("target") or {})


def _resource(path: Path, source: Part, *, contained: bool) -> Errors:
    if not source.get("name"):
        yield fields.required(path.child("name"), "must specify a resource name")
    elif contained:
        yield from container_resource_name(path.child("name"), source["name"])
    if contained and not source.get("container"):
        yield fields.required(path.child("container"), "must specify a container")
    elif contained:
        yield from checks.named(path.child("container"), source["container"], names.dns1123_label)


def _metric_target(path: Path, source: str, target: Part) -> Errors:
    kind = target.get("type") or ""
    if not kind:
        yield fields.required(path.child("type"), "must specify a metric target type")
    if kind not in ("Utilization", "Value", "AverageValue"):
        supported = "Utilization, Value, or AverageValue"
        yield fields.invalid(path.child("type"), kind, f"must be either {supported}")
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and quantities.parse(amount).nano <= 0:
            yield fields.invalid(path.child(name), amount, "must be positive")
    utilization = target.get("averageUtilization")
    yield from checks.positive(path.child("averageUtilization"), utilization)
    if source in ("resource", "containerResource"):
        if utilization is None and target.get("averageValue") is None:
            detail = "must set either a target raw value or a target utilization"
            yield fields.required(path.child("averageUtilization"), detail)
        elif utilization is not None and target.get("averageValue") is not None:
            detail = "may not set both a target raw value and a target utilization"
            yield fields.forbidden(path.child("averageValue"), detail)
    elif source == "pods":
        if target.get("averageValue") is None:
            yield fields.required(path.child("averageValue"), "must specify a positive target averageValue")
    elif target.get("value") is None and target.get("averageValue") is None:
        other = "averageValue" if source == "object" else "a per-pod target"
        detail = f"must set either a target value {'' if source == 'object' else 'for metric '}or {other}"
        yield fields.required(path.child("averageValue"), detail)
    elif target.get("value") is not None and target.get("averageValue") is not None and source == "external":
        detail = "may not set both a target value for metric and a per-pod target"
        yield fields.forbidden(path.child("value"), detail)


def _rules(path: Path, rules: Part) -> Errors:
    seconds = rules.get("stabilizationWindowSeconds")
    where = path.child("stabilizationWindowSeconds")
    if seconds is not None and seconds < 0:
        yield fields.invalid(where, seconds, "must be greater than or equal to zero")
    if seconds is not None and seconds > _STABILIZATION_LIMIT:
        yield fields.invalid(where, seconds, f"must be less than or equal to {_STABILIZATION_LIMIT}")
    if rules.get("selectPolicy") is not None:
        yield from checks.one_of(path.child("selectPolicy"), rules["selectPolicy"], ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        yield fields.required(path.child("policies"), "must specify at least one Policy")
    for position, policy in enumerate(rules.get("policies") or ()):
        here = path.child("policies").index(position)
        yield from checks.one_of(here.child("type"), policy.get("type") or "", ("Percent", "Pods"))
        value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
        if value <= 0:
            yield fields.invalid(here.child("value"), value, "must be greater than zero")
        if period <= 0:
            yield fields.invalid(here.child("periodSeconds"), period, "must be greater than zero")
        if period > _PERIOD_LIMIT:
            yield fields.invalid(here.child("periodSeconds"), period, f"must be less than or equal to {_PERIOD_LIMIT}")
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantities.parse(tolerance).nano < 0:
        yield fields.invalid(path.child("tolerance"), tolerance, "must be greater than or equal to 0")


def _status(document: Document) -> Errors:
    status = document.get("status") or {}
    for position, condition in enumerate(status.get("conditions") or ()):
        where = STATUS.child("conditions").index(position).child("observedGeneration")
        yield from checks.non_negative(where, condition.get("observedGeneration"))
    for name in ("currentReplicas", "desiredReplicas"):
        yield from checks.non_negative(STATUS.child(name), status.get(name))
