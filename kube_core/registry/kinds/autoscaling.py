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

__all__ = ["AutoscalerStrategy", "OldAutoscalerStrategy"]

Part = Mapping[str, Any]

SPEC = Path("spec")
STATUS = Path("status")
_STABILIZATION_LIMIT = 3600
_PERIOD_LIMIT = 1800
_METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Object": "object",
    "Pods": "pods",
    "External": "external",
}
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
        spec = document["spec"]
        yield from _replicas(spec)
        yield from _target(SPEC.child("scaleTargetRef"), spec.get("scaleTargetRef") or {})
        percentage = spec.get("targetCPUUtilizationPercentage")
        where = SPEC.child("metrics").index(0).child("resource").child("target").child("averageUtilization")
        yield from checks.positive(where, percentage)

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
        spec = document["spec"]
        yield from _replicas(spec)
        yield from _target(SPEC.child("scaleTargetRef"), spec.get("scaleTargetRef") or {})
        for position, metric in enumerate(spec.get("metrics") or ()):
            yield from _metric(SPEC.child("metrics").index(position), metric)
        if spec.get("minReplicas") == 0 and not any(
            metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or ()
        ):
            detail = "must specify at least one Object or External metric to support scaling to zero replicas"
            yield fields.forbidden(SPEC.child("metrics"), detail)
        for name in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or {}).get(name)
            if rules is not None:
                yield from _rules(SPEC.child("behavior").child(name), rules)

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
    if least is not None and least < 0:
        yield fields.invalid(SPEC.child("minReplicas"), least, "must be greater than or equal to 0")
    if most == 0:
        yield fields.required(SPEC.child("maxReplicas"))
    elif most < 1:
        yield fields.invalid(SPEC.child("maxReplicas"), most, "must be greater than or equal to 1")
    if least is not None and most < least:
        yield fields.invalid(SPEC.child("maxReplicas"), most, "must be greater than or equal to `minReplicas`")


def _target(path: Path, reference: Part) -> Errors:
    for name in ("kind", "name"):
        if not reference.get(name):
            yield fields.required(path.child(name))
        else:
            yield from checks.named(path.child(name), reference[name], names.path_segment)
    version, where = reference.get("apiVersion") or "", path.child("apiVersion")
    if version.count("/") > 1:
        yield fields.invalid(where, version, f"unexpected GroupVersion string: {version}")
    elif "/" not in version and not (version == "v1" and reference.get("kind") == "ReplicationController"):
        yield fields.invalid(where, version, "apiVersion must specify API group")


def _metric(path: Path, metric: Part) -> Errors:
    kind = metric.get("type") or ""
    given = [name for name in _METRICS.values() if metric.get(name) is not None]
    if not kind:
        yield fields.required(path.child("type"), "must specify a metric source type")
    elif kind not in _METRICS:
        yield fields.not_supported(path.child("type"), kind, sorted(_METRICS))
    else:
        wanted = _METRICS[kind]
        for name in given:
            if name != wanted:
                yield fields.forbidden(
                    path.child(name), f"must populate the given metric source only for metric type {kind}"
                )
        if wanted not in given:
            yield fields.required(path.child(wanted), f"must populate information for the given metric source: {kind}")
    for name in given:
        yield from _source(path.child(name), name, metric[name])


def _source(path: Path, name: str, source: Part) -> Errors:
    if name in ("resource", "containerResource"):
        if not source.get("name"):
            yield fields.required(path.child("name"), "must specify a resource name")
        if name == "containerResource" and not source.get("container"):
            yield fields.required(path.child("container"), "must specify a container")
    else:
        metric = (source.get("metric") or {}).get("name") or ""
        if not metric:
            yield fields.required(path.child("metric").child("name"), "must specify a metric name")
        else:
            yield from checks.named(path.child("metric").child("name"), metric, names.path_segment)
        yield from checks.label_selector(
            path.child("metric").child("selector"), (source.get("metric") or {}).get("selector")
        )
    if name == "object":
        yield from _target(path.child("describedObject"), source.get("describedObject") or {})
    yield from _metric_target(path.child("target"), name, source.get("target") or {})


def _metric_target(path: Path, source: str, target: Part) -> Errors:
    kind = target.get("type") or ""
    if not kind:
        yield fields.required(path.child("type"), "must specify a metric target type")
    elif kind not in ("Utilization", "Value", "AverageValue"):
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
        detail = "must set either a target value for metric or a per-pod target"
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


def _status(document: Document) -> Errors:
    status = document.get("status") or {}
    for name in ("currentReplicas", "desiredReplicas"):
        yield from checks.non_negative(STATUS.child(name), status.get(name))
