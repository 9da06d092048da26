"""Which schemas a definition may have: those of OpenAPI v3 that are structural, with defaults that fit them.

Mirrors "Specifying a structural schema" in upstream's documentation of CustomResourceDefinitions; the order and the
words of the errors are upstream's. Rules in CEL are checked by `registry.custom.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kube_core.api.structural import Structural
from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.custom.formats import KNOWN
from kube_core.registry.custom.patterns import compile_pattern
from kube_core.registry.custom.pruning import prune
from kube_core.registry.custom.rules import rule_errors, rule_problems
from kube_core.registry.custom.validation import validate

__all__ = ["schema_problems", "unknown_formats"]

Errors = Iterator[FieldError]
Node = Mapping[str, Any]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_MAP_TYPES: Final = ("atomic", "granular")
_LIST_TYPES: Final = ("atomic", "set", "map")
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_LIST_TYPE, _LIST_KEYS, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_EITHER = "x-kubernetes-int-or-string"
_UNSUPPORTED: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
#: The steps to what every object has.
_IDENTITY: Final = (".metadata", ".kind", ".apiVersion")
#: What the root of a schema may have where the status is a subresource, and what upstream calls it.
_WITH_STATUS: Final = {
    "description": "Description", "type": "Type", "format": "Format", "title": "Title", "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum", "minimum": "Minimum", "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength", "minLength": "MinLength", "pattern": "Pattern", "maxItems": "MaxItems",
    "minItems": "MinItems", "uniqueItems": "UniqueItems", "multipleOf": "MultipleOf", "required": "Required",
    "items": "Items", "properties": "Properties", "externalDocs": "ExternalDocs", "example": "Example",
    _PRESERVE: "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations",
}  # fmt: skip
#: What may not stand inside allOf, anyOf, oneOf and not.
_OUTER_ONLY: Final = (
    ("type", "must be empty to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("nullable", "must be false to be structural"),
    (_PRESERVE, "must be false to be structural"),
    (_EMBEDDED, "must be false to be structural"),
    (_EITHER, "must be false to be structural"),
    (_LIST_TYPE, "must be undefined to be structural"),
    (_LIST_KEYS, "must be empty to be structural"),
    (_MAP_TYPE, "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


def schema_problems(schema: Node, path: Path, *, has_status: bool = False, changed: bool = True) -> list[FieldError]:
    """What is wrong with a version's schema at `path`. `has_status`: the status is a subresource.

    `changed`: it is not the one that was there; its rules are held to their limits on cost one by one only then.
    """
    found = [*_root(schema, path, has_status=has_status), *_openapi(schema, path)]
    if not found:
        found = list(_structural(schema, path, "root"))
    if not found:
        tree = Structural(schema)
        found = list(_defaults(schema, tree, path)) or rule_problems(tree, path, cheap=changed)
    return found


def unknown_formats(schema: Node) -> Iterator[str]:
    """Formats that nothing is checked by, in the order in which they are met."""
    form = schema.get("format")
    if form and form not in KNOWN:
        yield form
    for _, _, below in _below(schema, Path()):
        yield from unknown_formats(below)


def _below(schema: Node, path: Path) -> Iterator[tuple[str, Path, Node]]:
    """The fields (by name), values and items (by the word for them) of a schema, where they are schemas."""
    for name, member in (schema.get("properties") or {}).items():
        if isinstance(member, Mapping):
            yield f".{name}", path.child("properties").key(name), member
    for name in ("additionalProperties", "items"):
        if isinstance(schema.get(name), Mapping):
            yield name, path.child(name), schema[name]


def _combined(schema: Node, path: Path) -> Iterator[tuple[str, Path, Node]]:
    if isinstance(schema.get("not"), Mapping):
        yield "not", path.child("not"), schema["not"]
    for word in ("allOf", "anyOf", "oneOf"):
        for index, each in enumerate(schema.get(word) or ()):
            if isinstance(each, Mapping):
                yield word, path.child(word).index(index), each


# -- what OpenAPI says, and what upstream leaves out of it -------------------------------------------------------------


def _root(schema: Node, path: Path, *, has_status: bool) -> Errors:
    """What only whole objects are held to. Their status is judged by itself, so that nothing else may speak of it."""
    kind = schema.get("type") or ""
    if has_status and kind not in ("", "object"):
        detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        yield fields.invalid(path.child("type"), kind, detail)
    elif has_status and any(value and name not in _WITH_STATUS for name, value in schema.items()):
        allowed = " ".join(_WITH_STATUS.values())
        detail = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
        yield fields.invalid(path, schema, detail)
    if schema.get("nullable"):
        yield fields.forbidden(path.child("nullable"), "nullable cannot be true at the root")


def _openapi(schema: Node, path: Path, *, root: bool = True, inside_metadata: bool = False, top: str = "") -> Errors:
    """`top`: the part of every object that this is below, whose defaults are the server's; "" for none."""
    yield from _own_rules(schema, path)
    yield from _list_rules(schema, path)
    if schema.get("default") is not None and top:
        yield fields.forbidden(path.child("default"), f"must not be set in top-level {top}")
    if inside_metadata and schema.get(_EMBEDDED):
        yield fields.forbidden(path.child(_EMBEDDED), "must not be used inside of resource meta")
    for step, here, below in (*_below(schema, path), *_combined(schema, path)):
        identity = (root or bool(schema.get(_EMBEDDED))) and step in _IDENTITY
        lead = top or (step[1:] if root and identity else "")
        yield from _openapi(below, here, root=False, inside_metadata=inside_metadata or identity, top=lead)


def _own_rules(schema: Node, path: Path) -> Errors:
    kind = schema.get("type") or ""
    if kind == "null":
        yield fields.forbidden(path.child("type"), "type cannot be set to null, use nullable as an alternative")
    elif kind and kind not in _TYPES:
        yield fields.not_supported(path.child("type"), kind, _TYPES)
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield fields.forbidden(path.child(name), f"{name} is not supported")
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield fields.forbidden(path.child("uniqueItems"), detail)
    if kind == "array" and schema.get("items") is None:
        yield fields.required(path.child("items"), "must be specified")
    elif isinstance(schema.get("items"), list):
        yield fields.forbidden(path.child("items"), "items must be a schema object and not an array")
    values = schema.get("additionalProperties")
    if values is False:
        yield fields.forbidden(path.child("additionalProperties"), "additionalProperties cannot be set to false")
    if values not in (None, True) and schema.get("properties"):
        detail = "additionalProperties and properties are mutual exclusive"
        yield fields.forbidden(path.child("additionalProperties"), detail)
    if schema.get("pattern"):
        try:
            compile_pattern(schema["pattern"])
        except ValueError as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            yield fields.invalid(path.child("pattern"), schema["pattern"], detail)
    if schema.get(_PRESERVE) is False:
        yield fields.invalid(path.child(_PRESERVE), False, "must be true or undefined")


def _list_rules(schema: Node, path: Path) -> Errors:
    kind = schema.get("type") or ""
    map_type, list_type, keys = schema.get(_MAP_TYPE), schema.get(_LIST_TYPE), schema.get(_LIST_KEYS) or []
    if map_type is not None:
        if kind != "object":
            yield _wrong_type(path.child("type"), kind, f"must be object if {_MAP_TYPE} is specified")
        if map_type not in _MAP_TYPES:
            yield fields.not_supported(path.child(_MAP_TYPE), map_type, _MAP_TYPES)
    if list_type is not None:
        if kind != "array":
            yield _wrong_type(path.child("type"), kind, f"must be array if {_LIST_TYPE} is specified")
        elif list_type not in _LIST_TYPES:
            yield fields.not_supported(path.child(_LIST_TYPE), list_type, _LIST_TYPES)
    if keys and list_type != "map":
        detail = f"must be map if {_LIST_KEYS} is non-empty"
        if list_type is None:
            yield fields.required(path.child(_LIST_TYPE), detail)
        else:
            yield fields.invalid(path.child(_LIST_TYPE), list_type, detail)
    items = schema.get("items")
    if list_type == "map":
        yield from _map_rules(schema, keys, path)
    elif list_type == "set" and isinstance(items, Mapping):
        yield from _set_rules(items, path.child("items"))


def _wrong_type(path: Path, kind: str, detail: str) -> FieldError:
    return fields.invalid(path, kind, detail) if kind else fields.required(path, detail)


def _map_rules(schema: Node, keys: Sequence[str], path: Path) -> Errors:
    if not keys:
        yield fields.required(path.child(_LIST_KEYS), f"must not be empty if {_LIST_TYPE} is map")
    items = schema.get("items")
    if not isinstance(items, Mapping):
        yield fields.required(path.child("items"), f"must have a schema if {_LIST_TYPE} is map")
        return
    here = path.child("items")
    if items.get("type") != "object":
        detail = f"must be object if parent array's {_LIST_TYPE} is map"
        yield fields.invalid(here.child("type"), items.get("type") or "", detail)
        return
    properties, required = items.get("properties") or {}, items.get("required") or ()
    if items.get("nullable"):
        yield fields.forbidden(here.child("nullable"), f"cannot be nullable when {_LIST_TYPE} is map")
    for position, key in enumerate(keys):
        if key not in properties:
            yield fields.invalid(path.child(_LIST_KEYS), list(keys), "entries must all be names of item properties")
        if key in keys[:position]:
            yield fields.invalid(path.child(_LIST_KEYS), list(keys), "must not contain duplicate entries")
    for key in dict.fromkeys(keys):
        member = properties.get(key)
        if not isinstance(member, Mapping):
            continue
        place = here.child("properties").key(key)
        if member.get("type") in ("array", "object"):
            detail = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield fields.invalid(place.child("type"), "object", detail)
        if member.get("nullable"):
            detail = f"this property is in {_LIST_KEYS}, so it cannot be nullable"
            yield fields.forbidden(place.child("nullable"), detail)
        if key not in required and member.get("default") is None:
            detail = f"this property is in {_LIST_KEYS}, so it must have a default or be a required property"
            yield fields.required(place.child("default"), detail)


def _set_rules(items: Node, path: Path) -> Errors:
    kind = items.get("type")
    if items.get("nullable"):
        yield fields.forbidden(path.child("nullable"), f"cannot be nullable when {_LIST_TYPE} is set")
    for wanted, name in (("object", _MAP_TYPE), ("array", _LIST_TYPE)):
        given = items.get(name)
        # A list that says nothing is atomic.
        if kind == wanted and given != "atomic" and not (kind == "array" and given is None):
            yield fields.invalid(path.child(name), given, f"must be atomic as item of a list with {_LIST_TYPE}=set")


# -- what makes a schema structural ------------------------------------------------------------------------------------

_MISSING_TYPE: Final = {
    "root": "must not be empty at the root",
    "items": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _structural(schema: Node, path: Path, level: str) -> Errors:
    kind = schema.get("type") or ""
    if level == "root" and kind not in ("", "object"):
        yield fields.invalid(path.child("type"), kind, "must be object at the root")
    embedded = bool(schema.get(_EMBEDDED))
    if not kind and not (embedded or schema.get(_EITHER) or schema.get(_PRESERVE)):
        yield fields.required(path.child("type"), _MISSING_TYPE[level])
    for name in (_PRESERVE, _EMBEDDED):
        if schema.get(_EITHER) and schema.get(name):
            yield fields.invalid(path.child(name), True, f"must be false if {_EITHER} is true")
    if level == "root" and schema.get("additionalProperties") is not None:
        yield fields.forbidden(path.child("additionalProperties"), "must not be used at the root")
    if embedded:
        if kind != "object":
            yield _wrong_type(path.child("type"), kind, f"must be object if {_EMBEDDED} is true")
        if schema.get("additionalProperties") is not None:
            detail = f"must not be used if {_EMBEDDED} is set"
            yield fields.forbidden(path.child("additionalProperties"), detail)
        if not schema.get("properties") and not schema.get(_PRESERVE):
            detail = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
            yield fields.required(path.child("properties"), detail)
    if level == "root" or embedded:
        yield from _identity_rules(schema.get("properties") or {}, path.child("properties"), root=level == "root")
    yield from _nested(schema, path)
    for step, here, below in _below(schema, path):
        yield from _structural(below, here, "items" if step == "items" else "field")


def _identity_rules(properties: Node, path: Path, *, root: bool) -> Errors:
    for name, wanted in (("apiVersion", "string"), ("kind", "string"), ("metadata", "object")):
        member = properties.get(name)
        if isinstance(member, Mapping) and (member.get("type") or "") != wanted:
            yield fields.invalid(path.key(name).child("type"), member.get("type") or "", f"must be {wanted}")
    metadata = properties.get("metadata")
    if root and isinstance(metadata, Mapping):
        named = set(metadata.get("properties") or ()) - {"name", "generateName"}
        if named or set(metadata) - {"type", "properties"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield fields.forbidden(path.key("metadata"), detail)


def _nested(schema: Node, path: Path) -> Errors:
    """The logical combinations: they judge values, and add nothing to what fields there are."""
    either = schema.get("anyOf") == _INT_OR_STRING
    first = (schema.get("allOf") or [{}])[0]
    either_within = isinstance(first, Mapping) and first.get("anyOf") == _INT_OR_STRING
    for word, here, below in _combined(schema, path):
        if word == "anyOf" and either:
            continue
        yield from _inner_only(below, here, schema, path, either=word == "allOf" and either_within)


def _inner_only(schema: Node, path: Path, outer: Node | None, outer_path: Path, *, either: bool = False) -> Errors:
    for name, detail in _OUTER_ONLY:
        if schema.get(name) not in (None, "", False, []):
            yield fields.forbidden(path.child(name), detail)
    if "metadata" in (schema.get("properties") or {}):
        here = path.child("properties").key("metadata")
        yield fields.forbidden(here, "must not be specified in a nested context")
    for name, member in (schema.get("properties") or {}).items():
        known = (outer or {}).get("properties") or {}
        values = (outer or {}).get("additionalProperties")
        here = path.child("properties").key(name)
        place = outer_path.child("properties").key(name)
        if name not in known and not isinstance(values, Mapping):
            yield fields.required(place, f"because it is defined in {here}")
            continue
        if isinstance(member, Mapping):
            yield from _inner_only(member, here, known.get(name) or values, place)
    if isinstance(schema.get("items"), Mapping):
        items = (outer or {}).get("items")
        if not isinstance(items, Mapping):
            yield fields.required(outer_path.child("items"), f"because it is defined in {path.child('items')}")
        else:
            yield from _inner_only(schema["items"], path.child("items"), items, outer_path.child("items"))
    for word, here, below in _combined(schema, path):
        if not (either and word == "anyOf"):
            yield from _inner_only(below, here, outer, outer_path)


# -- defaults ----------------------------------------------------------------------------------------------------------


def _defaults(schema: Node, tree: Structural, path: Path, *, inside_metadata: bool = False) -> Errors:
    """Defaults that do not fit. `inside_metadata`: of an embedded resource, which has more than the schema says."""
    value = schema.get("default")
    if value is not None:
        here = path.child("default")
        dropped: list[str] = []
        if not inside_metadata:
            prune(value, tree, dropped, root=tree.embedded)
        if dropped:
            yield fields.invalid(here, value, "must not have unknown fields")
        yield from validate(value, tree, base=here) or rule_errors(value, tree, here)
    for step, place, below in _below(schema, path):
        child = {"items": tree.items, "additionalProperties": tree.values}.get(step) or tree.properties[step[1:]]
        identity = tree.embedded and step in _IDENTITY
        yield from _defaults(below, child, place, inside_metadata=inside_metadata or identity)
