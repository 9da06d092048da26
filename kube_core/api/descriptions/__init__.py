"""What kinds and fields mean, in a line each: the texts that OpenAPI documents carry and `kubectl explain` shows.

The texts are in the files beside this one, a file for each group, in a form made for editing by hand, and read in a few
lines (a YAML parser would take longer than all the rest of a document):

    PodSpec: What a pod runs, and where and how.
      hostPID: See the node's processes.
    NodeCondition < _Condition: One aspect of a node.
      lastHeartbeatTime: When the node last told of it.

The text after a type's name is its own. `<` takes the fields of another type of the file, of which some may be
described anew; what begins with `_` exists only for that. Fields that all kinds have are described here (`_OF_KINDS`).
Files are read when a document is made, and not kept. Custom kinds bring their own descriptions.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

__all__ = ["FILES", "Descriptions"]

#: Which file describes the types whose names start so.
FILES = {
    "io.k8s.api.apps.v1.": "apps",
    "io.k8s.api.authentication.v1.": "authentication",
    "io.k8s.api.authorization.v1.": "authorization",
    "io.k8s.api.autoscaling.v1.": "autoscaling_v1",
    "io.k8s.api.autoscaling.v2.": "autoscaling_v2",
    "io.k8s.api.batch.v1.": "batch",
    "io.k8s.api.coordination.v1.": "coordination",
    "io.k8s.api.core.v1.": "core",
    "io.k8s.api.discovery.v1.": "discovery",
    "io.k8s.api.events.v1.": "events",
    "io.k8s.api.networking.v1.": "networking",
    "io.k8s.api.node.v1.": "node",
    "io.k8s.api.policy.v1.": "policy",
    "io.k8s.api.rbac.v1.": "rbac",
    "io.k8s.api.scheduling.v1.": "scheduling",
    "io.k8s.api.scheduling.v1alpha3.": "scheduling_v1alpha3",
    "io.k8s.apimachinery.pkg.": "meta",
}
#: Some words of these are what upstream's conformance suite looks for in `kubectl explain`.
_OF_KINDS = {
    "apiVersion": "APIVersion defines the form of this object: a group and version, such as apps/v1.",
    "kind": "Kind is a name in CamelCase of what this object is.",
    "metadata": "Standard object's metadata: its name, labels and more.",
    "spec": "The desired state.",
    "status": "The observed state, written by the system.",
}
_OF_LISTS = {**_OF_KINDS, "metadata": "Facts about the list.", "items": "The objects of the list."}

Texts = Mapping[str, str]


class Descriptions:
    """The texts, read by file when first asked for. Make one for a document, and drop it with it."""

    def __init__(self) -> None:
        self._files: dict[str, Mapping[str, Texts]] = {}

    def of(self, schema: str) -> Texts:
        """Field → text, of a type by its schema's name; the type's own text is under ""."""
        kind = schema.rpartition(".")[2]
        listed = kind.removesuffix("List")
        known = self._file(schema)
        if (texts := known.get(kind)) is not None:
            return {**_OF_KINDS, **texts}
        if listed != kind:
            return {"": f"A list of {listed} objects.", **_OF_LISTS}
        return _OF_KINDS

    def _file(self, schema: str) -> Mapping[str, Texts]:
        name = next((name for prefix, name in FILES.items() if schema.startswith(prefix)), None)
        if name is None:
            return {}
        if name not in self._files:
            self._files[name] = _read(name)
        return self._files[name]


def _read(name: str) -> Mapping[str, Texts]:
    data = pkgutil.get_data("kube_core.api.descriptions", f"{name}.txt") or b""
    kinds: dict[str, dict[str, str]] = {}
    bases: dict[str, str] = {}
    fields: dict[str, str] = {}
    for line in data.decode().splitlines():
        if not line or line.startswith("#"):
            continue
        key, _, text = line.partition(": ")
        if line.startswith(" "):
            fields[key.strip()] = text
            continue
        kind, _, base = key.partition(" < ")
        if base:
            bases[kind] = base
        fields = kinds[kind] = {"": text}

    def whole(kind: str) -> dict[str, str]:
        return {**whole(bases[kind]), **kinds[kind]} if kind in bases else kinds[kind]

    return {kind: whole(kind) for kind in kinds}
