"""What each metric of an autoscaler proposes: its figures are read, the number is computed, the status is made.

A metric that cannot be read, or of which nothing can be told, is a `NoProposal` with the reason that upstream gives to
the condition ScalingActive; the others count all the same, unless fewer replicas would be the result (`combine`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.meta import quantities
from kube_core.meta.documents import Document
from kube_core.meta.quantities import Quantity
from kube_core.meta.selectors import EVERYTHING, LabelSelector, from_document
from kube_plugins.controllers.horizontalpodautoscaler import replicas
from kube_plugins.controllers.horizontalpodautoscaler.metrics import MetricsReader
from kube_plugins.controllers.horizontalpodautoscaler.replicas import CannotTell, Question

__all__ = ["Asked", "NoProposal", "Proposal", "Verdict", "combine", "propose"]

_MILLI = 10**6
#: By type: what the spec and the status call it.
_FIELDS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


@attrs.frozen
class Proposal:
    """`name` is what events call the metric; `status` is its entry of `status.currentMetrics`."""

    replicas: int
    name: str
    status: Mapping[str, Any]


@attrs.frozen
class NoProposal:
    """`reason` and `message` are the condition's and the event's; `failure` is what the whole attempt is told by."""

    reason: str
    message: str
    failure: str


@attrs.frozen
class Asked:
    """Whose metrics they are: the pods by a selector's text, and how many replicas there are."""

    namespace: str
    selector: str
    present: int
    question: Question


@attrs.frozen
class Verdict:
    """What all metrics together want; None where that cannot be told. `failure`: what went wrong, if anything did."""

    replicas: int | None
    name: str = ""
    statuses: Sequence[Mapping[str, Any]] = ()
    failure: str = ""
    first: NoProposal | None = None


async def propose(spec: Document, asked: Asked, reader: MetricsReader) -> Proposal | NoProposal:
    """What one metric proposes."""
    kind = str(spec["type"])
    source: Document = spec.get(_FIELDS.get(kind, "")) or {}
    make = _KINDS.get(kind)
    if make is None:
        why = f'unknown metric source type "{kind}"'
        return NoProposal("InvalidMetricSourceType", why, why)
    try:
        number, name, current = await make(source, asked, reader)
    except CannotTell as error:
        return NoProposal(f"FailedGet{kind}Metric", str(error), _failure(kind, source, str(error)))
    identity = {key: source[key] for key in ("name", "container", "describedObject", "metric") if key in source}
    return Proposal(number, name, {"type": kind, _FIELDS[kind]: {**identity, "current": current}})


def combine(found: Sequence[Proposal | NoProposal], wanted_now: int) -> Verdict:
    """The greatest of what is proposed, unless some metric is unknown and it would be fewer than are wanted now."""
    statuses = [each.status if isinstance(each, Proposal) else {"type": ""} for each in found]
    proposals = [each for each in found if isinstance(each, Proposal)]
    failures = [each for each in found if isinstance(each, NoProposal)]
    failure = ""
    if failures:
        first = failures[0].failure
        failure = f"invalid metrics ({len(failures)} invalid out of {len(found)}), first error is: {first}"
    greatest = max(proposals, key=lambda each: each.replicas, default=None)
    if greatest is None or (failures and greatest.replicas < wanted_now):
        return Verdict(None, statuses=statuses, failure=failure, first=failures[0] if failures else None)
    return Verdict(greatest.replicas, greatest.name, statuses, failure)


def _failure(kind: str, source: Document, why: str) -> str:
    named = kind.lower()
    if kind == "Resource":
        named = f"{source['name']} resource"
    elif kind == "ContainerResource":
        named = f"{source['container']} container"
    elif kind == "External":
        named = f"{source['metric']['name']} external"
    return f"failed to get {named} metric value: {why}"


_Found = tuple[int, str, Mapping[str, Any]]


async def _resource(source: Document, asked: Asked, reader: MetricsReader, container: str = "") -> _Found:
    name, target = str(source["name"]), source["target"]
    raw = target.get("averageValue") is not None
    try:
        try:
            samples = await reader.resource(name, asked.namespace, asked.selector, container)
        except CannotTell as error:
            raise CannotTell(f"unable to get metrics for resource {name}: {error}") from None
        if raw:
            number, average = replicas.by_average(samples, asked.question, _milli(target["averageValue"]), name)
            return number, f"{name} resource", {"averageValue": _amount(average, name)}
        if target.get("averageUtilization") is None:
            raise CannotTell("neither an average utilization target nor an average value (usage) target was set")
        wanted = int(target["averageUtilization"])
        number, percent, average = replicas.by_utilization(samples, asked.question, wanted, name, container)
    except CannotTell as error:
        raise CannotTell(f"failed to get {name} {'usage' if raw else 'utilization'}: {error}") from None
    what = "container resource" if container else "resource"
    current = {"averageUtilization": percent, "averageValue": _amount(average, name)}
    return number, f"{name} {what} utilization (percentage of request)", current


async def _container_resource(source: Document, asked: Asked, reader: MetricsReader) -> _Found:
    return await _resource(source, asked, reader, str(source["container"]))


async def _pods(source: Document, asked: Asked, reader: MetricsReader) -> _Found:
    name, selector = _identity(source)
    try:
        samples = await reader.of_pods(name, asked.namespace, asked.selector, selector)
    except CannotTell as error:
        raise CannotTell(f"unable to get metric {name}: {error}") from None
    number, average = replicas.by_average(samples, asked.question, _milli(source["target"]["averageValue"]))
    return number, f"pods metric {name}", {"averageValue": _amount(average)}


async def _object(source: Document, asked: Asked, reader: MetricsReader) -> _Found:
    name, selector = _identity(source)
    described, target = source["describedObject"], source["target"]
    per_pod = target.get("value") is None
    try:
        value = await reader.of_object(name, asked.namespace, described, selector)
    except CannotTell as error:
        where = f"{described['kind']} {asked.namespace}/{described['name']}"
        why = f"unable to get metric {name} on {where}: {error}"
        raise CannotTell(f"failed to get {name} object metric: {why}" if per_pod else why) from None
    if per_pod:
        number, average = _per_pod(value, asked, target)
        return number, f"external metric {name}({_shown(source)})", {"averageValue": _amount(average)}
    number = replicas.by_value(value, asked.question, _milli(target["value"]))
    return number, f"{described['kind']} metric {name}", {"value": _amount(value)}


async def _external(source: Document, asked: Asked, reader: MetricsReader) -> _Found:
    name, selector = _identity(source)
    target = source["target"]
    per_pod = target.get("averageValue") is not None
    try:
        value = sum(await reader.external(name, asked.namespace, selector))
    except CannotTell as error:
        why = f"unable to get external metric {asked.namespace}/{name}/{_shown(source)}: {error}"
        prefix = f"failed to get {name} external metric" if per_pod else f"failed to get external metric {name}"
        raise CannotTell(f"{prefix}: {why}") from None
    told = f"external metric {name}({_shown(source)})"
    if per_pod:
        number, average = _per_pod(value, asked, target)
        return number, told, {"averageValue": _amount(average)}
    return replicas.by_value(value, asked.question, _milli(target["value"])), told, {"value": _amount(value)}


def _per_pod(value: int, asked: Asked, target: Document) -> tuple[int, int]:
    wanted = _milli(target["averageValue"])
    return replicas.by_value_per_pod(value, asked.present, wanted, asked.question.tolerances)


_KINDS = {
    "Resource": _resource,
    "ContainerResource": _container_resource,
    "Pods": _pods,
    "Object": _object,
    "External": _external,
}


def _identity(source: Document) -> tuple[str, LabelSelector]:
    metric = source["metric"]
    selector = metric.get("selector")
    return str(metric["name"]), EVERYTHING if selector is None else from_document(selector)


def _shown(source: Document) -> str:
    """A metric's selector, as upstream's texts show it."""
    selector = source["metric"].get("selector")
    if selector is None:
        return "nil"
    labels = " ".join(f"{key}:{value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
    )


def _milli(text: Any) -> int:
    return quantities.parse(text).milli_value


def _amount(milli: int, resource: str = "") -> str:
    return str(Quantity(milli * _MILLI, "binary" if resource == "memory" else "decimal"))
