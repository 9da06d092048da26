"""Decoding: what becomes of a client's document, and what the client is told of one that does not fit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api.schemas import Schema, builtin
from kube_core.meta.documents import freeze
from kube_core.meta.status import BadRequest
from kube_core.registry.decoding import DecodingError, decode, read


def _ref(name: str, **more: Any) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], **more}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


TEXT = {"type": "string"}
LIBRARY: dict[str, dict[str, Any]] = {
    "io.example.v1.Box": {
        "type": "object",
        "properties": {
            "kind": TEXT,
            "apiVersion": TEXT,
            "spec": _ref("io.example.v1.BoxSpec", default={}),
            "status": _ref("io.example.v1.BoxStatus", default={}),
        },
        "x-kubernetes-group-version-kind": [{"group": "example.dev", "version": "v1", "kind": "Box"}],
    },
    "io.example.v1.BoxSpec": {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": _list({"$ref": "#/components/schemas/io.example.v1.Item"}),
            "names": _list(TEXT),
            "labels": _map(TEXT),
            "limits": _map({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}),
            "port": _ref("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            "seconds": {"type": "integer", "format": "int64"},
            "hostPort": {"type": "integer", "format": "int32"},
            "hostNetwork": {"type": "boolean"},
            "hostUsers": {"type": "boolean"},
            "volumeMode": TEXT,
            "note": TEXT,
            "since": _ref("io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
            "renewTime": _ref("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
            "key": {"type": "string", "format": "byte"},
            "free": _ref("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            "inner": _ref("io.example.v1.BoxSpec"),
        },
    },
    "io.example.v1.Item": {
        "type": "object",
        "properties": {"name": {"type": "string", "default": ""}, "protocol": {"type": "string", "default": "TCP"}},
    },
    "io.example.v1.BoxStatus": {
        "type": "object",
        "properties": {
            "replicas": {"type": "integer", "format": "int32", "default": 0},
            "lastProbeTime": _ref("io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
        },
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"format": "int-or-string"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {"type": "string", "format": "date-time"},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
}
BOX = Schema(LIBRARY["io.example.v1.Box"], LIBRARY)


def _box(spec: Any = None, **more: Any) -> dict[str, Any]:
    return {"kind": "Box", "apiVersion": "example.dev/v1", "spec": spec if spec is not None else {}, **more}


def _spec(spec: dict[str, Any]) -> dict[str, Any]:
    decoded: dict[str, Any] = decode(_box(spec), BOX)[0]["spec"]
    if decoded["items"] is None:
        del decoded["items"]
    return decoded


def test_what_is_always_written_is_filled_in() -> None:
    decoded, warnings = decode({"apiVersion": "example.dev/v1", "kind": "Box"}, BOX)
    assert decoded == {
        "kind": "Box",
        "apiVersion": "example.dev/v1",
        "spec": {"items": None},
        "status": {"replicas": 0, "lastProbeTime": None},
    }
    assert list(decoded)[:2] == ["kind", "apiVersion"]
    assert not warnings


def test_empty_values_are_dropped_where_the_field_does_not_keep_them() -> None:
    dropped = {"names": [], "labels": {}, "hostPort": 0, "hostNetwork": False, "note": "", "since": None, "inner": None}
    kept = {"seconds": 0, "hostUsers": False, "volumeMode": ""}
    assert _spec({**dropped, **kept}) == kept


def test_null_in_lists_and_maps_means_the_empty_value() -> None:
    assert _spec({"names": [None, "a"], "labels": {"x": None}, "limits": {"cpu": None}}) == {
        "names": ["", "a"],
        "labels": {"x": ""},
        "limits": {"cpu": "0"},
    }
    assert _spec({"items": [None]}) == {"items": [{"name": "", "protocol": "TCP"}]}


def test_quantities_and_times_become_canonical() -> None:
    spec = {
        "limits": {"cpu": 0.5, "memory": "1024Mi"},
        "since": "2026-01-01T02:00:00.75+02:00",
        "renewTime": "2026-01-01T02:00:00.750000+02:00",
    }
    assert _spec(spec) == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "since": "2026-01-01T00:00:00Z",
        "renewTime": "2026-01-01T00:00:00.750000Z",
    }


def test_free_form_values_are_kept_as_they_are() -> None:
    free: dict[str, Any] = {"a": None, "b": [], "c": {"d": ""}}
    assert _spec({"free": free}) == {"free": free}


def test_free_form_values_are_copied_unless_nobody_can_change_them() -> None:
    free: dict[str, Any] = {"c": {"d": ""}}
    read = _spec({"free": free})["free"]
    free["c"]["d"] = "later"
    assert read == {"c": {"d": ""}}
    frozen = freeze(free)
    assert _spec({"free": frozen})["free"] is frozen


def test_unknown_fields_are_dropped_with_a_warning_each() -> None:
    document = _box({"items": [{"name": "a", "nome": "b"}], "inner": {"nota": ""}, "labels": {"any": "x"}}, statuz={})
    decoded, warnings = decode(document, BOX)
    assert list(warnings) == [
        'unknown field "spec.items[0].nome"',
        'unknown field "spec.inner.nota"',
        'unknown field "statuz"',
    ]
    assert decoded["spec"]["items"] == [{"name": "a", "protocol": "TCP"}]
    assert "statuz" not in decoded


def test_unknown_fields_are_refused_when_strict_and_silent_when_ignored() -> None:
    document = _box({"nota": ""}, statuz={})
    with pytest.raises(BadRequest) as caught:
        decode(document, BOX, "Strict")
    assert caught.value.message == (
        'Box in version "v1" cannot be handled as a Box: strict decoding error: unknown field "spec.nota", '
        'unknown field "statuz"'
    )
    assert decode(document, BOX, "Ignore")[1] == ()


def test_duplicates_found_by_the_parser_count_as_strict_errors() -> None:
    assert decode(_box(), BOX, duplicates=['duplicate field "spec"'])[1] == ['duplicate field "spec"']
    with pytest.raises(DecodingError, match='strict decoding error: duplicate field "spec"') as caught:
        read(_box(), BOX, "Strict", duplicates=['duplicate field "spec"'])
    assert caught.value.strict


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("x", "json: cannot unmarshal string into Go struct field Box.spec of type v1.BoxSpec"),
        ({"items": {}}, "json: cannot unmarshal object into Go struct field BoxSpec.spec.items of type []v1.Item"),
        ({"items": ["a"]}, "json: cannot unmarshal string into Go struct field BoxSpec.spec.items of type v1.Item"),
        (
            {"items": [{"name": 1}]},
            "json: cannot unmarshal number into Go struct field Item.spec.items.name of type string",
        ),
        ({"names": "a"}, "json: cannot unmarshal string into Go struct field BoxSpec.spec.names of type []string"),
        ({"labels": {"a": 1}}, "json: cannot unmarshal number into Go struct field BoxSpec.spec.labels of type string"),
        (
            {"labels": "a"},
            "json: cannot unmarshal string into Go struct field BoxSpec.spec.labels of type map[string]string",
        ),
        ({"seconds": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field BoxSpec.spec.seconds of type int64"),
        ({"seconds": "1"}, "json: cannot unmarshal string into Go struct field BoxSpec.spec.seconds of type int64"),
        (
            {"hostPort": 1 << 31},
            "json: cannot unmarshal number 2147483648 into Go struct field BoxSpec.spec.hostPort of type int32",
        ),
        ({"hostUsers": "no"}, "json: cannot unmarshal string into Go struct field BoxSpec.spec.hostUsers of type bool"),
        ({"port": True}, "json: cannot unmarshal bool into Go struct field BoxSpec.spec.port of type int32"),
        ({"key": "YQ="}, "illegal base64 data at input byte 2"),
        ({"key": "a!bc"}, "illegal base64 data at input byte 1"),
        ({"since": "soon"}, 'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"'),
        (
            {"renewTime": "2026-01-01T00:00:00Z"},
            'parsing time "2026-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"',
        ),
        (
            {"limits": {"cpu": "lots"}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_wrong_type_is_refused_in_every_mode(spec: Any, message: str) -> None:
    for mode in ("Ignore", "Warn", "Strict"):
        with pytest.raises(BadRequest) as caught:
            decode(_box(spec, statuz={}), BOX, mode)
        assert caught.value.message == f'Box in version "v1" cannot be handled as a Box: {message}'


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "items": st.lists(st.fixed_dictionaries({}, optional={"name": st.text(max_size=3)}), max_size=2),
        "names": st.lists(st.text(max_size=3), max_size=2),
        "labels": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
        "limits": st.dictionaries(st.text(max_size=2), st.integers(-10, 10_000).map(str), max_size=2),
        "port": st.one_of(st.integers(0, 99), st.text(max_size=2)),
        "seconds": st.integers(-5, 5),
        "hostNetwork": st.booleans(),
        "note": st.one_of(st.none(), st.text(max_size=2)),
        "strange": st.none(),
    },
)


@given(st.recursive(SPECS, lambda inner: st.builds(lambda spec, more: {**spec, "inner": more}, SPECS, inner)))
def test_decoding_leaves_its_input_alone_and_is_idempotent(spec: dict[str, Any]) -> None:
    document = _box(spec)
    before = copy.deepcopy(document)
    once, _ = decode(document, BOX)
    assert document == before
    twice, warnings = decode(once, BOX, "Strict")
    assert twice == once
    assert not warnings


def test_schemas_inside_schemas_are_read_as_those_around_them() -> None:
    inner = {"type": "string", "pattern": "", "nullable": False, "x-kubernetes-int-or-string": False}
    schema = {
        "properties": {"a": inner, "b": {"items": inner}, "c": {"additionalProperties": inner}},
        "additionalProperties": False,
        "items": [inner, inner],
    }
    document = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }
    definitions = builtin("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition")
    found = decode(document, definitions)[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    plain = {"type": "string"}
    assert found == {
        "properties": {"a": plain, "b": {"items": plain}, "c": {"additionalProperties": plain}},
        "additionalProperties": False,
        "items": [plain, plain],
    }
