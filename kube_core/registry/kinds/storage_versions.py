"""StorageVersionMigrations: that all objects of a resource be written again. Documented under the same name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kube_core.meta import fields
from kube_core.meta.documents import Document
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.conditions import conditions, is_true

__all__ = ["MigrationStrategy"]

SPEC = Path("spec")
CONDITIONS = Path("status").child("conditions")
VERSION = Path("status").child("resourceVersion")


class MigrationStrategy(BuiltinStrategy):
    keeps_generation = True

    def validate(self, document: Document) -> Errors:
        if not checks.mapping(document, "spec", "resource").get("resource"):
            yield fields.required(SPEC.child("resource").child("resource"), "resource is required")

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        yield from self.validate(document)
        new, before = (checks.mapping(each, "spec", "resource") for each in (document, old))
        for name in ("group", "resource"):
            # Upstream leaves out where they are.
            yield from checks.immutable(Path(name), new.get(name) or "", before.get(name) or "")

    def validate_status_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        status, before = (checks.mapping(each, "status") for each in (document, old))
        yield from _resource_version(status.get("resourceVersion") or "", before.get("resourceVersion") or "")
        listed: list[dict[str, Any]] = status.get("conditions") or []
        yield from conditions(CONDITIONS, listed)
        succeeded, failed, running = (is_true(listed, kind) for kind in ("Succeeded", "Failed", "Running"))
        contradictions = (
            (succeeded and failed, "Both success and failed conditions cannot be true at the same time"),
            (succeeded and running, "Running condition cannot be true when success condition is true"),
            (failed and running, "Running condition cannot be true when failed condition is true"),
            (
                is_true(before.get("conditions"), "Succeeded") and not succeeded,
                "Success condition cannot be set to false once it is true",
            ),
            (
                is_true(before.get("conditions"), "Failed") and not failed,
                "Failed condition cannot be set to false once it is true",
            ),
        )
        for wrong, detail in contradictions:
            if wrong:
                yield fields.invalid(CONDITIONS, [dict(each) for each in listed], detail)


def _resource_version(version: str, before: str) -> Errors:
    if version and not version.lstrip("-").isdigit():
        detail = f'failed to parse resource version "{version}": strconv.ParseInt: parsing "{version}": invalid syntax'
        yield fields.invalid(VERSION, version, detail)
    elif version:
        yield from checks.non_negative(VERSION, int(version))
    if before and version != before:
        yield fields.invalid(VERSION, version, "cannot be updated")
