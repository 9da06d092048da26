"""DaemonSets. Documented under "DaemonSet".

The generation of the template is kept in an annotation, as the API has had it since its first version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.workloads import templates

__all__ = ["DaemonSetStrategy"]

SPEC = Path("spec")
STATUS = Path("status")
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


class DaemonSetStrategy(BuiltinStrategy):
    keeps_generation = True

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        default_template(spec.setdefault("template", {}))
        if TEMPLATE_GENERATION not in (document["metadata"].get("annotations") or {}):
            _set_template_generation(document, 0)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        _set_template_generation(document, 1)

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        changed = document["spec"].get("template") != old["spec"].get("template")
        _set_template_generation(document, _template_generation(old) + changed)

    def validate(self, document: Document) -> Errors:
        spec = document["spec"]
        path, template, selector = SPEC.child("template"), spec.get("template"), spec.get("selector")
        yield from checks.label_selector(SPEC.child("selector"), selector)
        yield from templates.matching(path, selector, template)
        if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
            yield fields.invalid(SPEC.child("selector"), dict(selector), "empty selector is invalid for daemonset")
        yield from templates.template(path, template, self.context)
        yield from templates.always_restarting(path, template, "DaemonSet")
        for name in ("minReadySeconds", "revisionHistoryLimit"):
            yield from checks.non_negative(SPEC.child(name), spec.get(name))
        yield from _strategy(document)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from checks.immutable(
            SPEC.child("selector"), document["spec"].get("selector"), old["spec"].get("selector")
        )
        yield from self.validate(document)

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        for name in _COUNTS:
            yield from checks.non_negative(STATUS.child(name), (document.get("status") or {}).get(name))
        yield from templates.collisions(document.get("status") or {}, old.get("status") or {})

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        before = old["spec"].get("template") if old is not None else None
        return template_warnings("spec.template", document["spec"].get("template") or {}, before)


def _strategy(document: Document) -> Errors:
    strategy = document["spec"].get("updateStrategy") or {}
    path = SPEC.child("updateStrategy")
    match strategy.get("type"):
        case "OnDelete":
            return
        case "RollingUpdate":
            rolling = strategy.get("rollingUpdate")
            here = path.child("rollingUpdate")
            if rolling is None:
                yield fields.required(here)
                return
            yield from templates.rolling_amounts(here, rolling, "maxUnavailable", "maxSurge")
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
                yield from templates.at_most_all(here.child(name), value)
            has_unavailable, has_surge = templates.amount(unavailable) != 0, templates.amount(surge) != 0
            if has_unavailable and has_surge:
                yield fields.invalid(here.child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero")
            elif not has_unavailable and not has_surge:
                yield fields.required(here.child("maxUnavailable"), "cannot be 0 when maxSurge is 0")
        case _:
            yield fields.not_supported(path, dict(strategy), ["RollingUpdate", "OnDelete"])


def _template_generation(document: Document) -> int:
    text = (document["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isdigit() else 0


def _set_template_generation(document: MutableDocument, number: int) -> None:
    document["metadata"]["annotations"] = {
        **(document["metadata"].get("annotations") or {}),
        TEMPLATE_GENERATION: str(number),
    }
