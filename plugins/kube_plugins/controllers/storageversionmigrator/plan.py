"""What a StorageVersionMigration needs next, and what it says of how far it is. Pure.

Of the migrations of one resource one runs at a time, the oldest first. First the resource version is noted at which it
starts: what was written later is written in today's form anyway. Then every object that is older is written again,
unchanged; and at last the definition of a custom resource forgets the versions in which nothing is stored any longer,
unless it was changed meanwhile. Reasons and messages of the conditions are
upstream's ("Migrate Kubernetes Objects Using Storage Version Migration").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kube_core.control.conditions import condition_of, is_condition_true, set_condition
from kube_core.meta.documents import Document, MutableDocument, metadata_of, name_of, resource_version_of, thaw

__all__ = [
    "Step",
    "candidates",
    "definition_migrated",
    "definition_migrating",
    "failed",
    "next_step",
    "of_same_resource",
    "running",
    "started",
    "succeeded",
]

Step = Literal["", "wait", "start", "migrate"]
_MIGRATING = "StorageMigrating"


def of_same_resource(migration: Document, migrations: Iterable[Document]) -> list[Document]:
    """Those that are to migrate the same resource, the oldest first."""
    same = [each for each in migrations if each["spec"]["resource"] == migration["spec"]["resource"]]
    return sorted(same, key=lambda each: (str(metadata_of(each).get("creationTimestamp")), name_of(each)))


def next_step(migration: Document, same: Iterable[Document]) -> Step:
    """`same`: of the same resource, in their order."""
    if _has_ended(migration):
        return ""
    waiting = [each for each in same if not _has_ended(each)]
    first = next((each for each in waiting if is_condition_true(each, "Running")), next(iter(waiting), migration))
    if name_of(first) != name_of(migration):
        return "wait"
    return "migrate" if (migration.get("status") or {}).get("resourceVersion") else "start"


def candidates(objects: Iterable[Document], resource_version: str) -> list[Document]:
    """Those that were last written at the start of the migration, or before."""
    start = int(resource_version)
    return [each for each in objects if int(resource_version_of(each) or 0) <= start]


def started(migration: Document, resource_version: str, *, now: float) -> MutableDocument:
    changed = running(migration, 0, 0, now=now)
    changed["status"]["resourceVersion"] = resource_version
    return changed


def running(migration: Document, left: int, total: int, *, now: float, trouble: str = "") -> MutableDocument:
    """With how many objects are left to write, and what is in the way just now."""
    message = "The migration is running"
    if total and left:
        message += f", {left}/{total} objects not yet migrated"
    elif total:
        message += f", {total} objects verified migrated"
    if trouble:
        message += f"; transient error: {trouble}"
    return _with(migration, "Running", "True", "MigrationRunning", message, now)


def succeeded(migration: Document, *, now: float) -> MutableDocument:
    ended = _with(migration, "Running", "False", "MigrationCompleted", "Migration completed", now)
    return _with(ended, "Succeeded", "True", "StorageVersionMigrationSucceeded", "Migration completed", now)


def failed(migration: Document, why: str, *, now: float) -> MutableDocument:
    message = f"migration encountered unhandled error: {why}"
    if is_condition_true(migration, "Running"):
        migration = _with(migration, "Running", "False", "MigrationCompleted", "Migration completed", now)
    return _with(migration, "Failed", "True", "StorageVersionMigrationFailed", message, now)


def definition_migrating(definition: Document, migration: Document, *, now: float) -> MutableDocument:
    """The definition of a custom resource whose objects are being written again."""
    message = f"Migration {name_of(migration)} is running"
    return _with(definition, _MIGRATING, "True", "MigrationRunning", message, now, observed=_generation(definition))


def definition_migrated(definition: Document, *, success: bool, now: float) -> MutableDocument:
    """The same once that has ended."""
    if not success:
        why, message = "MigrationFailed", "The migration has failed"
        return _with(definition, _MIGRATING, "False", why, message, now, observed=_generation(definition))
    migrating = condition_of(definition, _MIGRATING) or {}
    same = migrating.get("observedGeneration") == _generation(definition)
    told = "and the stored versions have been updated"
    if not same:
        told = "but the stored versions have not been updated due to a generation mismatch"
    changed = _with(
        definition,
        _MIGRATING,
        "False",
        "MigrationSucceeded",
        f"The migration has succeeded {told}",
        now,
        observed=_generation(definition),
    )
    if same:
        changed["status"]["storedVersions"] = [
            version["name"] for version in definition["spec"]["versions"] if version.get("storage")
        ]
    return changed


def _has_ended(migration: Document) -> bool:
    return is_condition_true(migration, "Succeeded") or is_condition_true(migration, "Failed")


def _generation(document: Document) -> int:
    return int(metadata_of(document).get("generation") or 0)


def _with(
    document: Document, kind: str, value: str, reason: str, message: str, now: float, *, observed: int = 0
) -> MutableDocument:
    changed: MutableDocument = thaw(document)
    status = changed.setdefault("status", {})
    more = {"observedGeneration": observed} if observed else {}
    status["conditions"] = set_condition(
        status.get("conditions") or (), kind, value, now=now, reason=reason, message=message, **more
    )
    return changed
