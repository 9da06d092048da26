"""Endpoints and EndpointSlices: hints, what is left alone because nobody changes it, and what is left of topology."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

MakeKind = Callable[..., Any]

HOST = "kubernetes.io/hostname"
NAME = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def one(**endpoint: Any) -> dict[str, Any]:
    return {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"], **endpoint}]}


@pytest.mark.parametrize(
    ("hints", "errors"),
    [
        (
            {"forZones": [{"name": "z"}] * 2, "forNodes": [{"name": "B"}]},
            ['forZones[1].name: Duplicate value: "z"', f'forNodes[0].name: Invalid value: "B": {NAME}'],
        ),
        ({"forNodes": [{"name": "n"}] * 9}, ["forNodes: Too many: 9: must have at most 8 items"]),
    ],
)
def test_hints_are_refused(kind: MakeKind, hints: dict[str, Any], errors: list[str]) -> None:
    found = kind("discovery.k8s.io/v1", "EndpointSlice").errors(one(hints=hints))
    assert found == [f"endpoints[0].hints.{error}" for error in errors]


def test_endpoints_that_nobody_changes_are_left_alone_and_ports_are_not(kind: MakeKind) -> None:
    slices = kind("discovery.k8s.io/v1", "EndpointSlice")
    odd = {**one(hostname="Bad"), "ports": [{"name": "p", "protocol": "X"}]}
    assert slices.update_errors(odd, slices.created(odd)) == [
        'ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"'
    ]
    endpoints = kind("v1", "Endpoints")
    odd = {"subsets": [{"addresses": [{"ip": "nowhere"}]}]}
    assert endpoints.update_errors(odd, endpoints.created(odd)) == []


def test_topology_is_dropped_when_endpoints_change_and_keeps_the_names_of_nodes(kind: MakeKind) -> None:
    slices = kind("discovery.k8s.io/v1", "EndpointSlice")
    told = one(deprecatedTopology={HOST: "n", "zone": "z"})
    assert "deprecatedTopology" not in slices.created(told)["endpoints"][0]
    old = slices.decoded(told)
    assert slices.updated(told, old)["endpoints"] == old["endpoints"]
    changed = copy.deepcopy(told)
    changed["endpoints"][0]["hostname"] = "h"
    after = slices.updated(changed, old)["endpoints"][0]
    assert "deprecatedTopology" not in after
    assert after["nodeName"] == "n"
