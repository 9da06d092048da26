"""Revisions: which replica set is the new one, what number it has, and what is written on it.

The new replica set is the one whose template is the Deployment's; the oldest of several such. When a Deployment
returns to an earlier template (`kubectl rollout undo` patches it so), the old replica set is the new one again: it
gets the next revision number, and the number that it had goes to its history. Annotations of the Deployment are
copied onto it, so that `kubernetes.io/change-cause` shows in `kubectl rollout history`.

Pure: nothing here talks to the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from kube_core.meta.documents import Document, MutableDocument, annotations_of, labels_of, name_of, namespace_of, thaw
from kube_core.meta.documents import uid_of as _uid
from kube_plugins.controllers.deployment.replicasets import (
    DESIRED_ANNOTATION,
    MAX_ANNOTATION,
    fenceposts,
    oldest_first,
    wanted,
)
from kube_plugins.controllers.deployment.rolling import new_size
from kube_plugins.controllers.deployment.templates import HASH_LABEL, same_template, template_hash

__all__ = [
    "REVISION_ANNOTATION",
    "Generations",
    "annotated",
    "build_new",
    "next_revision",
    "revision_of",
    "sized",
    "sort_generations",
]

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
HISTORY_ANNOTATION = "deployment.kubernetes.io/revision-history"

#: How long an object's name may be.
_NAME_LIMIT = 253
#: How many characters of earlier revision numbers are kept.
_HISTORY_LENGTH = 2000
#: Annotations that are the Deployment's, or the replica set's, alone.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION_ANNOTATION,
        HISTORY_ANNOTATION,
        DESIRED_ANNOTATION,
        MAX_ANNOTATION,
    }
)


@attrs.frozen
class Generations:
    """A Deployment's replica sets: the one with its template, if it was made yet, and the others, oldest first."""

    new: Document | None
    old: tuple[Document, ...]

    @property
    def all(self) -> tuple[Document, ...]:
        return self.old if self.new is None else (*self.old, self.new)


def sort_generations(deployment: Document, replica_sets: Iterable[Document]) -> Generations:
    """Tell the new replica set from the old ones."""
    ordered = oldest_first(replica_sets)
    template = deployment["spec"]["template"]
    new = next((each for each in ordered if same_template(each["spec"]["template"], template)), None)
    return Generations(new, tuple(each for each in ordered if each is not new))


def revision_of(document: Document) -> int:
    """The revision number on a Deployment or replica set; 0 where there is none."""
    try:
        return int(annotations_of(document).get(REVISION_ANNOTATION) or 0)
    except ValueError:
        return 0


def next_revision(old: Sequence[Document]) -> int:
    """The number for the new replica set: one more than any old one has."""
    return max((revision_of(replica_set) for replica_set in old), default=0) + 1


def annotated(deployment: Document, replica_set: Document, revision: int) -> dict[str, str]:
    """The annotations for a new replica set that there is: the Deployment's, and the revision where it moved up."""
    annotations = dict(annotations_of(replica_set))
    annotations |= {key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED}
    before = annotations_of(replica_set).get(REVISION_ANNOTATION, "")
    if before and not before.isdigit():
        return annotations  # somebody's own numbering: left alone
    if int(before or 0) < revision:
        annotations[REVISION_ANNOTATION] = str(revision)
        if before:
            annotations[HISTORY_ANNOTATION] = _remember(annotations.get(HISTORY_ANNOTATION, ""), before)
    return annotations


def sized(deployment: Document) -> dict[str, str]:
    """The annotations that say what numbers the Deployment had when a replica set was sized."""
    replicas = wanted(deployment)
    return {DESIRED_ANNOTATION: str(replicas), MAX_ANNOTATION: str(replicas + fenceposts(deployment).surge)}


def build_new(deployment: Document, old: Sequence[Document], owner_reference: dict[str, object]) -> MutableDocument:
    """The new replica set, as it should be created beside the `old` ones."""
    spec = deployment["spec"]
    template: dict[str, Any] = thaw(spec["template"])
    mark = template_hash(spec["template"], int((deployment.get("status") or {}).get("collisionCount") or 0))
    metadata = template["metadata"] = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: mark}
    selector: dict[str, Any] = thaw(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: mark}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)[: _NAME_LIMIT - len(mark) - 1]}-{mark}",
            "namespace": namespace_of(deployment),
            "labels": dict(metadata["labels"]),
            "annotations": annotated(deployment, {}, next_revision(old)) | sized(deployment),
            "ownerReferences": [owner_reference],
        },
        "spec": {
            "replicas": new_size(deployment, None, old),
            "minReadySeconds": int(spec.get("minReadySeconds") or 0),
            "selector": selector,
            "template": template,
        },
    }


def is_own(deployment: Document, replica_set: Document) -> bool:
    """Whether a replica set found under the new one's name is the new one, and no collision of hashes."""
    references = (replica_set.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((each for each in references if each.get("controller")), None)
    same = same_template(replica_set["spec"]["template"], deployment["spec"]["template"])
    return owner is not None and owner.get("uid") == _uid(deployment) and same


def hash_of(replica_set: Document) -> str:
    return str(labels_of(replica_set).get(HASH_LABEL) or "")


def _remember(history: str, revision: str) -> str:
    earlier = history.split(",") if history else []
    while earlier and len(",".join([*earlier, revision])) > _HISTORY_LENGTH:
        earlier.pop(0)
    return ",".join([*earlier, revision])
