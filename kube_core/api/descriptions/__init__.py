"""What kinds and fields mean, in a line each: the texts that OpenAPI documents carry and `kubectl explain` shows.

The texts are in the files beside this one, a file for each group, in a form made for editing by hand:

    PodSpec: What a pod runs, and where and how.
      containers: The containers; at least one, and their list never changes.

The text after a type's name is its own; a field that has none falls back to what a field of that name means everywhere
(`_EVERYWHERE`). Files are read when a document is made and not kept. Custom kinds bring their own descriptions.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

__all__ = ["FILES", "Descriptions"]

#: Which file describes the types whose names start so.
FILES = {
    "io.k8s.api.apps.v1.": "apps",
    "io.k8s.api.batch.v1.": "batch",
    "io.k8s.api.core.v1.": "core",
    "io.k8s.api.networking.v1.": "networking",
    "io.k8s.apimachinery.pkg.": "meta",
}
_EVERYWHERE = {
    "apiVersion": "The group and version of this object's form, such as apps/v1.",
    "items": "The objects of the list.",
    "kind": "What kind of object this is, in CamelCase.",
    "metadata": "The object's name, labels and other metadata.",
    "spec": "The desired state.",
    "status": "The observed state, written by the system.",
}


class Descriptions:
    """The texts, read by file when first asked for. Make one for a document, and drop it with it."""

    def __init__(self) -> None:
        self._files: dict[str, Mapping[str, Mapping[str, str]]] = {}

    def of(self, schema: str) -> Mapping[str, str]:
        """Field → text, of a type by its schema's name; the type's own text is under ""."""
        prefix = next((prefix for prefix in FILES if schema.startswith(prefix)), None)
        if prefix is None:
            return _EVERYWHERE
        file = FILES[prefix]
        if file not in self._files:
            self._files[file] = _read(file)
        kind = schema.rpartition(".")[2]
        found = self._files[file].get(kind)
        if found is None and kind.endswith("List"):
            found = {"": f"A list of {kind.removesuffix('List')} objects.", "metadata": "Facts about the list."}
        return {**_EVERYWHERE, **found} if found else _EVERYWHERE


def _read(name: str) -> Mapping[str, Mapping[str, str]]:
    data = pkgutil.get_data("kube_core.api.descriptions", f"{name}.yaml") or b""
    kinds: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in data.decode().splitlines():
        key, _, text = line.partition(": ")
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            fields = kinds[key] = {"": text}
        else:
            fields[key.strip()] = text
    return kinds
