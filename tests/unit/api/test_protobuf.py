"""The protobuf form of objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_core.api import protobuf
from kube_core.api.protobuf import ProtobufError
from kube_core.api.schemas import builtin_name

POD: dict[str, Any] = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {
        "name": "p",
        "labels": {"a": "b"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {"f:containers": {}}}}],
    },
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"port": "http", "path": "/"}},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x"}}],
    },
}


def there_and_back(document: dict[str, Any]) -> dict[str, Any]:
    schema = builtin_name(document["apiVersion"], document["kind"])
    return protobuf.decode(protobuf.encode(document, schema), builtin_name)


def test_a_pod_survives_the_round_trip() -> None:
    assert there_and_back(POD) == POD


def test_the_bytes_are_the_documented_ones() -> None:
    document = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}}
    expected = b"k8s\x00" + b"\x0a\x0f\x0a\x02v1\x12\x09Namespace" + b"\x12\x05\x0a\x03\x0a\x01a" + b"\x1a\x00\x22\x00"
    assert protobuf.encode(document, "io.k8s.api.core.v1.Namespace") == expected


def test_a_secret_has_base64_in_json_and_bytes_in_protobuf() -> None:
    document = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": "AAEC"}}
    assert b"\x00\x01\x02" in protobuf.encode(document, "io.k8s.api.core.v1.Secret")
    assert there_and_back(document) == document


@pytest.mark.parametrize("value", ["http", "", 80, -1])
def test_int_or_string_keeps_its_kind(value: int | str) -> None:
    document: dict[str, Any] = {
        "kind": "Service",
        "apiVersion": "v1",
        "spec": {"ports": [{"port": 1, "targetPort": value}]},
    }
    assert there_and_back(document) == document


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=5))
def test_any_text_survives(data: dict[str, str]) -> None:
    document: dict[str, Any] = {"kind": "ConfigMap", "apiVersion": "v1", "data": data}
    assert there_and_back(document).get("data", {}) == data


@given(st.binary(max_size=200))
def test_garbage_is_an_error_and_nothing_worse(data: bytes) -> None:
    try:
        decoded = protobuf.decode(protobuf.MAGIC + data, builtin_name)
    except ProtobufError:
        return
    assert isinstance(decoded, dict)


def test_a_body_without_the_magic_is_refused() -> None:
    with pytest.raises(ProtobufError, match="magic"):
        protobuf.decode(b"{}", builtin_name)


def test_a_time_of_long_ago_is_written_with_four_digits() -> None:
    lease = {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "spec": {"renewTime": "0001-01-01T00:00:02.000000Z"},
    }
    body = protobuf.encode(lease, "io.k8s.api.coordination.v1.Lease")
    assert protobuf.decode(body, builtin_name) == lease


def labelled(value: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": value}}


def written(value: Any) -> str:
    """What comes back of a name."""
    body = protobuf.encode(labelled(value), builtin_name("v1", "ConfigMap"))
    return str(protobuf.decode(body, builtin_name)["metadata"]["name"])


def test_texts_come_back_however_long_they_are_and_however_often_they_were_written() -> None:
    texts = [character * length for character in ("a", "é", "日") for length in (0, 1, 21, 22, 64, 65, 127, 682, 2048)]
    texts += [f"pod-{number}" for number in range(600)]
    for _ in range(2):
        assert [written(text) for text in texts] == texts


def test_what_is_no_text_where_a_text_should_be_is_not_taken_for_another() -> None:
    assert [written(value) for value in (1, True, "1", 1.0)] == ["1", "True", "1", "1.0"]
