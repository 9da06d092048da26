"""Generate `kube_core/api/generated/protobuf.json`: the protobuf form of every schema that `schemas.json` holds.

    python scripts/generate_protobuf.py FACTS

FACTS has `protobuf-fields.json` (message → field → [number, type, label]). Run `generate_api.py` first. Written is, for
each schema's name, a list of [number, JSON name, type, repeated]: the type is a scalar, `map<…>`, or another schema's
name. A field whose JSON name is "" is embedded: in JSON its fields stand beside those of its owner.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

GENERATED = Path(__file__).resolve().parent.parent / "kube_core" / "api" / "generated"
_SCALARS = ("string", "bool", "bytes", "int32", "int64", "double")
#: Messages that no schema has: the envelope, and what is left of an object of which only metadata is asked for.
_FURTHER = (
    "k8s.io.apimachinery.pkg.runtime.Unknown",
    "k8s.io.apimachinery.pkg.runtime.TypeMeta",
    "k8s.io.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata",
    "k8s.io.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList",
)
#: Fields of JSON Schema whose JSON names no rule gives.
_RENAMED = {"ref": "$ref", "schema": "$schema"}


def main() -> None:
    facts: dict[str, dict[str, list[Any]]] = json.loads((Path(sys.argv[1]) / "protobuf-fields.json").read_text())
    schemas: dict[str, Any] = json.loads((GENERATED / "schemas.json").read_text())
    messages: dict[str, list[list[Any]]] = {}
    wanted = [message for message in facts if schema_name(message) in schemas or message in _FURTHER]
    while wanted:
        message = wanted.pop()
        name = schema_name(message)
        if name in messages or message not in facts:
            continue
        known = (schemas.get(name) or {}).get("properties") or {}
        messages[name] = []
        for field, (number, written, *label) in facts[message].items():
            kind, references = resolve(message, written)
            wanted += references
            json_name = name_in_json(field, known) if known else field
            messages[name].append([number, json_name, kind, bool(label)])
    lines = ",\n".join(
        f"{json.dumps(name)}:{json.dumps(fields, separators=(',', ':'))}" for name, fields in sorted(messages.items())
    )
    (GENERATED / "protobuf.json").write_text(f"{{\n{lines}\n}}\n")


def schema_name(message: str) -> str:
    name = message.replace("k8s.io.", "io.k8s.", 1)
    return name.replace("apiextensions_apiserver", "apiextensions-apiserver").replace(
        "kube_aggregator", "kube-aggregator"
    )


def resolve(message: str, kind: str) -> tuple[str, list[str]]:
    """The type with schema names in it, and the messages it refers to."""
    if kind in _SCALARS:
        return kind, []
    if match := re.fullmatch(r"map<string,(.+)>", kind):
        value, references = resolve(message, match[1])
        return f"map<{value}>", references
    full = kind[1:] if kind.startswith(".") else f"{message.rpartition('.')[0]}.{kind}"
    return schema_name(full), [full]


def name_in_json(field: str, known: dict[str, Any]) -> str:
    """The field's name in JSON, "" where it is embedded."""
    if field in known:
        return field
    if _RENAMED.get(field) in known:
        return _RENAMED[field]
    by_letters = {re.sub(r"[^a-z]", "", name.lower()): name for name in known}
    letters = field.lower()
    return by_letters.get(letters) or by_letters.get("xkubernetes" + letters.removeprefix("x")) or ""


if __name__ == "__main__":
    main()
