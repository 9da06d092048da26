"""What `metadata` may hold, whatever the kind: the checks that the registry makes around every strategy's own.

The rules are upstream's `ValidateObjectMeta` and `ValidateObjectMetaUpdate`; names are judged by the strategy
(`Strategy.name_problems`), since each kind has its rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from kube_core.api.types import ResourceDescriptor
from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.strategy import Strategy

__all__ = [
    "check_annotations",
    "drop_duplicate_owners",
    "template_metadata",
    "validate_metadata",
    "validate_metadata_update",
]

METADATA = Path("metadata")
ANNOTATIONS_LIMIT = 256 * 1024
MANAGER_LIMIT = 128
SUBRESOURCE_LIMIT = 256
#: Finalizers that need no domain.
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_DUPLICATE_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject "
    "such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
)
#: Kinds that nothing can belong to, as they come and go without garbage collection.
NEVER_OWNERS = frozenset({("v1", "Event"), ("events.k8s.io/v1", "Event")})


def validate_metadata(document: Document, descriptor: ResourceDescriptor, strategy: Strategy) -> Sequence[FieldError]:
    """What is wrong with a new object's metadata."""
    metadata: Mapping[str, Any] = document["metadata"]
    qualified = _qualified_finalizers(metadata) if strategy.qualifies_finalizers else ()
    return [*_identity(metadata, descriptor, strategy), *_contents(metadata), *qualified]


def validate_metadata_update(
    document: Document, old: Document, descriptor: ResourceDescriptor, strategy: Strategy
) -> Sequence[FieldError]:
    """What is wrong with a changed object's metadata."""
    new: Mapping[str, Any] = document["metadata"]
    before: Mapping[str, Any] = old["metadata"]
    if new == before:
        return ()
    qualified = _qualified_finalizers(new) if strategy.qualifies_finalizers else ()
    return [*_changes(new, before), *_contents(new, finalizers=False), *qualified]


def drop_duplicate_owners(document: MutableDocument) -> Sequence[str]:
    """Remove owner references that are there twice, in place; the warnings that say so."""
    references: list[Mapping[str, Any]] = document["metadata"].get("ownerReferences") or []
    if len(references) < 2:
        return ()
    kept: dict[bytes, Mapping[str, Any]] = {}
    repeated: dict[str, None] = {}
    for each in references:
        identity = orjson.dumps(each, option=orjson.OPT_SORT_KEYS)
        if identity in kept:
            repeated[str(each.get("uid"))] = None
        else:
            kept[identity] = each
    if not repeated:
        return ()
    document["metadata"]["ownerReferences"] = list(kept.values())
    return (_DUPLICATE_OWNERS + ", ".join(repeated),)


def template_metadata(path: Path, metadata: Mapping[str, Any]) -> Errors:
    """The labels and annotations of a template."""
    yield from checks.labels(path.child("labels"), metadata.get("labels"))
    yield from check_annotations(path.child("annotations"), metadata.get("annotations"))


def check_annotations(path: Path, values: Mapping[str, str] | None) -> Errors:
    if not values:
        return
    for key in values:
        for message in names.qualified_name(key.lower()):
            yield fields.invalid(path, key, message)
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > ANNOTATIONS_LIMIT:
        yield fields.too_long(path, ANNOTATIONS_LIMIT)


def _identity(metadata: Mapping[str, Any], descriptor: ResourceDescriptor, strategy: Strategy) -> Errors:
    generate, name = metadata.get("generateName") or "", metadata.get("name") or ""
    if generate:
        for message in strategy.name_problems(generate, prefix=True):
            yield fields.invalid(METADATA.child("generateName"), generate, message)
    if not name:
        yield fields.required(METADATA.child("name"), "name or generateName is required")
    else:
        for message in strategy.name_problems(name):
            yield fields.invalid(METADATA.child("name"), name, message)
    namespace = metadata.get("namespace") or ""
    if descriptor.type.namespaced:
        if not namespace:
            yield fields.required(METADATA.child("namespace"))
        else:
            yield from checks.named(METADATA.child("namespace"), namespace, names.dns1123_label)
    elif namespace:
        yield fields.forbidden(METADATA.child("namespace"), "not allowed on this type")
    yield from checks.non_negative(METADATA.child("generation"), metadata.get("generation"))


def _contents(metadata: Mapping[str, Any], *, finalizers: bool = True) -> Errors:
    yield from checks.labels(METADATA.child("labels"), metadata.get("labels"))
    yield from check_annotations(METADATA.child("annotations"), metadata.get("annotations"))
    yield from _owners(metadata.get("ownerReferences") or ())
    yield from _managers(metadata.get("managedFields") or ())
    if finalizers and metadata.get("finalizers"):
        yield from _finalizers(metadata["finalizers"])


def _finalizers(finalizers: Sequence[str]) -> Errors:
    path = METADATA.child("finalizers")
    for finalizer in finalizers:
        yield from checks.named(path, finalizer, names.qualified_name)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        yield fields.invalid(path, list(finalizers), detail)


def _qualified_finalizers(metadata: Mapping[str, Any]) -> Errors:
    for position, finalizer in enumerate(metadata.get("finalizers") or ()):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield fields.invalid(METADATA.child("finalizers").index(position), finalizer, detail)


def _owners(references: Iterable[Mapping[str, Any]]) -> Errors:
    path = METADATA.child("ownerReferences")
    controller: Mapping[str, Any] | None = None
    for position, reference in enumerate(references):
        here = path.index(position)
        version = reference.get("apiVersion") or ""
        if not version:
            yield fields.required(here.child("apiVersion"), "must not be empty")
        elif version.count("/") > 1:
            yield fields.invalid(here.child("apiVersion"), version, "must be <group>/<version> or <version>")
        for name in ("kind", "name", "uid"):
            if not reference.get(name):
                yield fields.required(here.child(name), "must not be empty")
        if (version, reference.get("kind")) in NEVER_OWNERS:
            group, _, number = version.rpartition("/")
            detail = f"{group}/{number}, Kind={reference['kind']} is disallowed from being an owner"
            yield fields.invalid(here, dict(reference), detail)
        if reference.get("controller"):
            if controller is not None:
                yield fields.invalid(path, [dict(each) for each in references], _rivals(controller, reference))
            else:
                controller = reference


def _managers(entries: Iterable[Mapping[str, Any]]) -> Errors:
    """Only what ownership can be and yet may not be: whatever else is wrong was not taken for it."""
    for position, entry in enumerate(entries):
        here = METADATA.child("managedFields").index(position)
        manager, subresource = entry.get("manager") or "", entry.get("subresource") or ""
        if len(manager) > MANAGER_LIMIT:
            yield fields.too_long(here.child("manager"), MANAGER_LIMIT)
        elif not manager.isprintable():
            yield fields.invalid(here.child("manager"), manager, "should only contain printable characters")
        if len(subresource) > SUBRESOURCE_LIMIT:
            yield fields.too_long(here.child("subresource"), SUBRESOURCE_LIMIT)


def _rivals(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    return (
        'Only one reference can have Controller set to true. Found "true" in references for '
        f"{one.get('kind')}/{one.get('name')} and {other.get('kind')}/{other.get('name')}"
    )


def _changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> Errors:
    if old.get("deletionTimestamp"):
        known = set(old.get("finalizers") or ())
        added = [each for each in new.get("finalizers") or () if each not in known]
        if added:
            shown = ", ".join(f'"{each}"' for each in sorted(added))
            yield fields.forbidden(
                METADATA.child("finalizers"),
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{shown}}}",
            )
    elif (new.get("finalizers") or []) != (old.get("finalizers") or []):
        yield from _finalizers(new.get("finalizers") or ())
    generation = new.get("generation") or 0
    yield from checks.non_negative(METADATA.child("generation"), generation)
    if generation < (old.get("generation") or 0):
        yield fields.invalid(METADATA.child("generation"), generation, "must not be decremented")
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(name) != old.get(name):
            yield fields.invalid(METADATA.child(name), new.get(name), checks.IMMUTABLE)
