"""Generate `kube_core/api/generated/` and `kube_core/api/resources.py` from the upstream API's names and types.

    python scripts/generate_api.py FACTS

FACTS is a folder with `discovery.json` (groups and resources with every feature on) and `openapi-schemas.json` (every
schema, without prose). `scripts/served.json` says what of it is served by default: groups with their priority, their
versions with the preferred one first, and the core group's resources, which aggregated discovery tells apart.

Written are
    resources.json   the descriptors' data, a line a resource (read by `kube_core.api.descriptors`);
    schemas.json     the schemas that served resources reach, and the types of the API machinery itself;
    resources.py     a constant of `ResourceType` for each resource.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "kube_core" / "api" / "generated"

_REF_PREFIX = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
#: Schemas that documents and requests use without a resource of their own.
_MACHINERY = (
    *(
        _META + kind
        for kind in (
            "APIGroup",
            "APIGroupList",
            "APIResourceList",
            "APIVersions",
            "Condition",
            "DeleteOptions",
            "LabelSelector",
            "ListMeta",
            "MicroTime",
            "ObjectMeta",
            "Patch",
            "Status",
            "Time",
            "WatchEvent",
        )
    ),
    "io.k8s.apimachinery.pkg.version.Info",
)
#: Resources that are kept as those of another group are (upstream's cohabitating resources).
_COHABITATION = {("events.k8s.io", "events"): ""}
#: Every schema's extension that depends on what else is served; OpenAPI documents add it for these.
_EVERY_GROUP = (_META + "DeleteOptions", _META + "WatchEvent")

Json = dict[str, Any]


def main() -> None:
    facts = Path(sys.argv[1])
    served = json.loads((ROOT / "scripts" / "served.json").read_text())
    discovery = json.loads((facts / "discovery.json").read_text())
    schemas: Json = json.loads((facts / "openapi-schemas.json").read_text())
    names = {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in schemas.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
        if name not in _EVERY_GROUP
    }
    resources = list(_resources(served, discovery, names))
    _write_resources(served["groups"], resources)
    _write_schemas(schemas, resources, names)
    _write_constants(resources)


def _resources(served: Json, discovery: Json, names: dict[tuple[str, str, str], str]) -> Iterator[Json]:
    found = {
        (group["metadata"]["name"], version["version"]): version["resources"]
        for group in discovery["items"]
        for version in group["versions"]
    }
    found["", "v1"] = served["core"]
    for group in served["groups"]:
        storage = group["versions"][0]
        for version in group["versions"]:
            for resource in sorted(found[group["group"], version], key=lambda each: str(each["resource"])):
                yield _resource(group["group"], version, storage, resource, names)


def _resource(group: str, version: str, storage: str, facts: Json, names: dict[tuple[str, str, str], str]) -> Json:
    kind = facts["responseKind"]["kind"]
    row: Json = {"group": group, "version": version, "kind": kind, "plural": facts["resource"]}
    row["singular"] = facts["singularResource"]
    row["namespaced"] = facts["scope"] == "Namespaced"
    row["verbs"] = facts["verbs"]
    for ours, theirs in (("short", "shortNames"), ("categories", "categories")):
        if facts.get(theirs):
            row[ours] = facts[theirs]
    if facts.get("subresources"):
        row["subresources"] = [
            [
                each["subresource"],
                each["responseKind"]["group"] if each["responseKind"]["version"] else group,
                each["responseKind"]["version"] or version,
                each["responseKind"]["kind"],
                each["verbs"],
            ]
            for each in sorted(facts["subresources"], key=lambda each: str(each["subresource"]))
        ]
    row["schema"] = names.get((group, version, kind), "")
    if "watch" in facts["verbs"]:
        home = _COHABITATION.get((group, facts["resource"]), group)
        row["storage"] = storage
        if home != group:
            row["storedIn"] = home
        row["hash"] = _storage_version_hash(home, storage, kind)
    return row


def _storage_version_hash(group: str, version: str, kind: str) -> str:
    """What upstream publishes: the first eight bytes of a digest of the stored group, version and kind."""
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _write_resources(groups: list[Json], resources: list[Json]) -> None:
    lines = [json.dumps(each, separators=(",", ":")) for each in resources]
    head = ",\n".join(json.dumps(each, separators=(",", ":")) for each in groups)
    (GENERATED / "resources.json").write_text(
        '{"groups":[\n' + head + '\n],\n"resources":[\n' + ",\n".join(lines) + "\n]}\n"
    )


def _write_schemas(schemas: Json, resources: list[Json], names: dict[tuple[str, str, str], str]) -> None:
    wanted = list(_MACHINERY)
    for row in resources:
        kinds = [(row["group"], row["version"], row["kind"]), (row["group"], row["version"], row["kind"] + "List")]
        kinds += [(group, version, kind) for _, group, version, kind, _ in row.get("subresources", ())]
        wanted += [names[kind] for kind in kinds if kind in names]
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in reached:
            reached.add(name)
            wanted += _references(schemas[name])
    lines = []
    for name in sorted(reached):
        schema = dict(schemas[name])
        if name in _EVERY_GROUP:
            schema.pop("x-kubernetes-group-version-kind", None)
        lines.append(json.dumps(name) + ":" + json.dumps(schema, separators=(",", ":"), sort_keys=True))
    (GENERATED / "schemas.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "$ref" and isinstance(member, str):
                yield member.removeprefix(_REF_PREFIX)
            else:
                yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


def _write_constants(resources: Iterable[Json]) -> None:
    rows = sorted(resources, key=lambda row: (row["plural"], row["group"], row["version"]))
    homes: dict[str, Json] = {}
    for row in rows:
        # The plain name is that of the core group, or else of the latest version.
        best = homes.setdefault(row["plural"], row)
        if (row["group"] == "", row["version"]) > (best["group"] == "", best["version"]):
            homes[row["plural"]] = row
    constants: dict[str, Json] = {}
    for row in rows:
        name = _constant(row["kind"], row["plural"])
        if homes[row["plural"]] is not row:
            name += "_" + row["version"].upper()
        if name in constants:
            raise SystemExit(f"two resources would be called {name}")
        constants[name] = row
    lines = [
        f"{name} = ResourceType({_quoted(row['group'])}, {_quoted(row['version'])}, {_quoted(row['kind'])}, "
        f"{_quoted(row['plural'])}, {row['namespaced']})"
        for name, row in sorted(constants.items())
    ]
    text = (
        '"""The built-in resources by name. Generated by `scripts/generate_api.py`: do not edit."""\n\n'
        "from __future__ import annotations\n\n"
        "from kube_core.api.types import ResourceType\n\n" + "\n".join(_wrapped(line) for line in lines) + "\n"
    )
    (ROOT / "kube_core" / "api" / "resources.py").write_text(text)


def _constant(kind: str, plural: str) -> str:
    """`ReplicaSet`, `replicasets` → `REPLICA_SETS`; `CSIStorageCapacity` → `CSI_STORAGE_CAPACITIES`."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z][a-z]+|[A-Z]+", kind)
    lead = words[:-1]
    return "_".join([*(word.upper() for word in lead), plural[len("".join(lead)) :].upper()])


def _quoted(text: str) -> str:
    return f'"{text}"'


def _wrapped(line: str, width: int = 120) -> str:
    if len(line) <= width:
        return line
    head, _, arguments = line.partition("(")
    return f"{head}(\n    {arguments[:-1]}\n)"


if __name__ == "__main__":
    main()
