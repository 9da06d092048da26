"""Bodies that are not what they are sent as: what is said of them, as an upstream server said it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.server import Caller, running

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"
UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap): "
NO_KIND = f"{UNRECOGNIZED}couldn't get version/kind; json parse error: "
SCHEME = 'in scheme "pkg/runtime/scheme.go:111"'
ANSWERS = [
    (b"", f"{NO_KIND}unexpected end of JSON input (<empty>)"),
    (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{',
        f'{NO_KIND}unexpected end of JSON input ({{"apiVersion":"v1","kind":"Con ...)',
    ),
    (b"not json", f"{NO_KIND}invalid character 'o' in literal null (expecting 'u') (6e6f74206a736f6e)"),
    (
        b"[]",
        f"{NO_KIND}json: cannot unmarshal array into Go value of type struct "
        '{ APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" } (5b5d)',
    ),
    (
        b'{"apiVersion":"v1","kind":[1]}',
        f"{NO_KIND}json: cannot unmarshal array into Go struct field .kind of type string "
        '({"apiVersion":"v1","kind":[1]})',
    ),
    (
        b'{"apiVersion":"v2","kind":"ConfigMap"}',
        'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version '
        f'"v2" {SCHEME}',
    ),
    (
        b'{"apiVersion":"a/b/c","kind":"ConfigMap"}',
        f'{UNRECOGNIZED}unexpected GroupVersion string: a/b/c ({{"apiVersion":"a/b/c","kind":" ...)',
    ),
    (
        b'{"apiVersion":"apps/v1","kind":"ReplicaSet"}',
        'ReplicaSet in version "v1" cannot be handled as a ConfigMap: converting (v1.ReplicaSet) to (core.ConfigMap): '
        "unknown conversion",
    ),
]


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with running(upkeep=False) as started:
        yield started


async def test_a_body_that_is_no_object_of_the_kind_is_told_why(caller: Caller) -> None:
    for body, message in ANSWERS:
        answer = await caller.ask("POST", MAPS, body)
        assert (answer.status, answer.decoded()["message"]) == (400, message)


async def test_a_kind_that_was_served_in_another_version_is_told_the_version(caller: Caller) -> None:
    body = {"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "old"}}
    answer = await caller.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert answer.decoded()["message"] == (
        "the API version in the data (extensions/v1beta1) does not match the expected API version (apps/v1)"
    )


async def test_keys_repeated_in_yaml_are_one_error_of_their_lines(caller: Caller) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: b\n  a: c\nmore: 1\n"
    answer = await caller.ask("POST", f"{MAPS}?fieldValidation=Strict", body, content_type="application/yaml")
    assert answer.decoded()["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n'
        '  line 6: key "a" already set in map, unknown field "more"'
    )
