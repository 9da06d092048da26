"""Metadata of any object: names, labels, owners, finalizers, and what of it stays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kube_core.registry.kinds import metadata as checks

MakeKind = Callable[..., Any]


def _errors(kind: Any, metadata: dict[str, Any]) -> list[str]:
    return [str(error) for error in checks.validate_metadata({"metadata": metadata}, kind.descriptor, kind.strategy)]


def _update_errors(kind: Any, new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    documents = {"metadata": new}, {"metadata": old}
    return [str(error) for error in checks.validate_metadata_update(*documents, kind.descriptor, kind.strategy)]


@pytest.fixture
def config_maps(kind: MakeKind) -> Any:
    return kind("v1", "ConfigMap")


OK = {"name": "a", "namespace": "ns"}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}


@pytest.mark.parametrize(
    "metadata",
    [
        OK,
        {**OK, "labels": {"a/b": "", "c": "D"}, "annotations": {"X/y": "anything at all"}},
        {**OK, "finalizers": ["kubernetes", "orphan", "example.org/f"]},
        {**OK, "ownerReferences": [OWNER, {**OWNER, "uid": "w", "controller": True}]},
        {**OK, "generateName": "a-"},
    ],
)
def test_good_metadata_pass(config_maps: Any, metadata: dict[str, Any]) -> None:
    assert _errors(config_maps, metadata) == []


@pytest.mark.parametrize(
    ("metadata", "starts"),
    [
        ({"namespace": "ns"}, ["metadata.name: Required value: name or generateName is required"]),
        ({"name": "a"}, ["metadata.namespace: Required value"]),
        (
            {**OK, "managedFields": [{"manager": "m" * 129, "subresource": "s" * 257}, {"manager": "\n"}]},
            [
                "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes",
                "metadata.managedFields[0].subresource: Too long: may not be more than 256 bytes",
                'metadata.managedFields[1].manager: Invalid value: "\\n": should only contain printable characters',
            ],
        ),
        ({**OK, "name": "A"}, ['metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain']),
        ({**OK, "generation": -1}, ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"]),
        ({**OK, "labels": {"a b": ""}}, ['metadata.labels: Invalid value: "a b": name part must consist']),
        ({**OK, "labels": {"a": "b c"}}, ['metadata.labels: Invalid value: "b c": a valid label must be']),
        (
            {**OK, "annotations": {"a": "x" * 262145}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            {**OK, "finalizers": ["plain"]},
            ['metadata.finalizers[0]: Invalid value: "plain": name is neither a standard finalizer name nor is it'],
        ),
        (
            {**OK, "finalizers": ["orphan", "foregroundDeletion"]},
            ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and'],
        ),
        (
            {**OK, "ownerReferences": [{"kind": "Pod", "name": "p"}]},
            [
                "metadata.ownerReferences[0].apiVersion: Required value: must not be empty",
                "metadata.ownerReferences[0].uid: Required value: must not be empty",
            ],
        ),
        (
            {**OK, "ownerReferences": [{**OWNER, "kind": "Event"}]},
            ['metadata.ownerReferences[0]: Invalid value: {"apiVersion":"v1","kind":"Event"'],
        ),
    ],
)
def test_bad_metadata_are_refused(config_maps: Any, metadata: dict[str, Any], starts: list[str]) -> None:
    errors = _errors(config_maps, metadata)
    assert len(errors) == len(starts)
    assert all(error.startswith(start) for error, start in zip(errors, starts, strict=True))


def test_only_one_owner_is_the_controller(config_maps: Any) -> None:
    owners = [{**OWNER, "controller": True}, {**OWNER, "name": "q", "uid": "w", "controller": True}]
    (error,) = _errors(config_maps, {**OK, "ownerReferences": owners})
    assert error.endswith('Found "true" in references for Pod/p and Pod/q')


def test_cluster_scoped_objects_have_no_namespace(kind: MakeKind) -> None:
    assert _errors(kind("v1", "Node"), OK) == ["metadata.namespace: Forbidden: not allowed on this type"]


@pytest.mark.parametrize(
    ("api_version", "name_of_kind", "good", "bad"),
    [
        ("v1", "Namespace", "a-b", "a.b"),
        ("v1", "Service", "1a", "a.b"),
        ("v1", "ConfigMap", "a.b", "A"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "system:node", "a/b"),
        ("networking.k8s.io/v1", "IPAddress", "10.0.0.1", "10.0.0"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest", "Anything Goes", None),
    ],
)
def test_each_kind_has_its_rule_for_names(
    kind: MakeKind, api_version: str, name_of_kind: str, good: str, bad: str | None
) -> None:
    strategy = kind(api_version, name_of_kind).strategy
    assert not strategy.name_problems(good)
    assert bad is None or strategy.name_problems(bad)


def test_identity_and_deletion_stay(config_maps: Any) -> None:
    old = {**OK, "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert _update_errors(config_maps, {**old, "labels": {"a": "b"}}, old) == []
    assert _update_errors(config_maps, {**OK, "uid": "v"}, old) == [
        'metadata.uid: Invalid value: "v": field is immutable',
        "metadata.deletionTimestamp: Invalid value: null: field is immutable",
    ]


def test_an_object_being_deleted_gets_no_new_finalizers(config_maps: Any) -> None:
    old = {**OK, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c", "a.b/d"]}
    assert _update_errors(config_maps, {**old, "finalizers": ["a.b/d"]}, old) == []
    assert _update_errors(config_maps, {**old, "finalizers": ["a.b/c", "a.b/e"]}, old) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"a.b/e"}'
    ]


def test_repeated_owners_are_dropped_with_a_warning() -> None:
    document = {"metadata": {"ownerReferences": [OWNER, copy.deepcopy(OWNER), {**OWNER, "uid": "w"}]}}
    (warning,) = checks.drop_duplicate_owners(document)
    assert warning.endswith("duplicate UID(s) observed: u")
    assert document["metadata"]["ownerReferences"] == [OWNER, {**OWNER, "uid": "w"}]
    assert checks.drop_duplicate_owners(document) == ()
