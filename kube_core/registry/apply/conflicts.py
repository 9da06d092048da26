"""Conflicts of an apply: fields that the configuration would change and somebody else owns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kube_core.meta.status import Conflict
from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.managers import Identity

__all__ = ["FieldConflicts"]


@attrs.frozen
class FieldConflicts(Exception):
    """Each other manager's fields that the apply would change."""

    fields: Mapping[Identity, Fields]

    def except_for(self, allowed: Fields) -> FieldConflicts | None:
        """Without the allowed fields; None when nothing is left."""
        left = {identity: fieldsets.difference(fields, allowed) for identity, fields in self.fields.items()}
        left = {identity: fields for identity, fields in left.items() if fields}
        return FieldConflicts(left) if left else None

    def to_status(self) -> Conflict:
        """The 409 that a client gets: a cause for every field, and a message that lists them by manager."""
        conflicts = [
            (identity, fieldsets.path_text(path))
            for identity in sorted(self.fields, key=lambda identity: identity.sort_text)
            for path in fieldsets.paths(self.fields[identity])
        ]
        causes = [
            {"reason": "FieldManagerConflict", "message": f"conflict with {identity}", "field": path}
            for identity, path in conflicts
        ]
        return Conflict(_message(conflicts), details={"causes": causes})


def _message(conflicts: Iterable[tuple[Identity, str]]) -> str:
    conflicts = list(conflicts)
    if len(conflicts) == 1:
        identity, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {identity}: {path}"
    lines: list[str] = []
    previous = None
    for identity, path in conflicts:
        if identity != previous:
            lines.append(f"conflicts with {identity}:")
            previous = identity
        lines.append(f"- {path}")
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
