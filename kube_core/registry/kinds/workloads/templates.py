"""Pod templates, and how a workload's selector must fit its template. Shared by everything that makes pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, selectors
from kube_core.meta.fields import Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.metadata import template_metadata
from kube_core.registry.kinds.pods import annotated
from kube_core.registry.kinds.pods.validation import validate_spec
from kube_core.registry.kinds.rules import ValidationContext

__all__ = [
    "MISMATCH",
    "always_restarting",
    "amount",
    "at_most_all",
    "collisions",
    "is_usable",
    "matching",
    "required_selector",
    "rolling_amounts",
    "template",
]

Part = Mapping[str, Any]

MISMATCH = "`selector` does not match template `labels`"
BEYOND_ALL = "must not be greater than 100%"


def template(path: Path, part: Part | None, context: ValidationContext) -> Errors:
    """A PodTemplateSpec."""
    part = part or {}
    metadata, spec = part.get("metadata") or {}, part.get("spec") or {}
    # Upstream leaves out the metadata of a template, here.
    yield from template_metadata(path, metadata)
    notes = metadata.get("annotations") or {}
    yield from annotated.pod_annotations(path.child("annotations"), notes, spec)
    yield from validate_spec(path.child("spec"), spec, context)
    yield from annotated.profiles(path.child("spec"), notes, spec)
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        yield fields.forbidden(path.child("spec").child("ephemeralContainers"), detail)


def required_selector(path: Path, selector: Part | None, kind: str) -> Errors:
    """A selector that must be there and may not select everything. `kind` as upstream names it in the message."""
    if selector is None:
        yield fields.required(path)
        return
    yield from checks.label_selector(path, selector)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield fields.invalid(path, dict(selector), f"empty selector is invalid for {kind}")


def matching(path: Path, selector: Part | None, part: Part | None) -> Errors:
    """The template at `path` carries the labels that the selector asks for."""
    try:
        matcher = selectors.from_document(selector)
    except selectors.SelectorError:
        return
    if not is_usable(selector):
        return
    labels = ((part or {}).get("metadata") or {}).get("labels") or {}
    if not matcher.is_everything and not matcher.matches(labels):
        yield fields.invalid(path.child("metadata").child("labels"), dict(sorted(labels.items())) or None, MISMATCH)


def is_usable(selector: Part | None) -> bool:
    """Whether a selector can be made of the document; one that cannot is not held against the template."""
    return not any(checks.label_selector(Path(), selector))


def always_restarting(path: Path, part: Part | None, kind: str) -> Errors:
    """What keeps pods running wants them to run forever."""
    spec = (part or {}).get("spec") or {}
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        yield fields.not_supported(path.child("spec").child("restartPolicy"), policy, ["Always"])
    if spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        yield fields.forbidden(path.child("spec").child("activeDeadlineSeconds"), detail)


def rolling_amounts(path: Path, part: Part, *names: str) -> Errors:
    """Counts or percentages of pods."""
    for name in names:
        if (value := part.get(name)) is not None:
            yield from checks.int_or_percent(path.child(name), value)


def amount(value: int | str | None) -> int:
    """The number in a count or a percentage; 0 where there is none."""
    if isinstance(value, int):
        return value
    return checks.percent_of(value or "") or 0


def collisions(status: Part, before: Part) -> Errors:
    """The count of hash collisions of a status: it is never made less."""
    new, old = status.get("collisionCount"), before.get("collisionCount")
    if old is not None and (new or 0) < old:
        yield fields.invalid(Path("status").child("collisionCount"), new or 0, "cannot be decremented")


def at_most_all(path: Path, value: int | str | None) -> Errors:
    percent = checks.percent_of(value) if value is not None else None
    if percent is not None and percent > 100:
        yield fields.invalid(path, value, BEYOND_ALL)
