"""Volumes on disks elsewhere, and claims made for a pod: what an upstream server answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ISCSI = {"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.com.example:storage", "lun": 1}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"iscsi": ISCSI}, []),
    (
        {"iscsi": {**ISCSI, "iqn": "x", "lun": -1, "chapAuthSession": True}},
        [
            'iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
            "iscsi.lun: Invalid value: -1: must be between 0 and 255, inclusive",
            "iscsi.secretRef: Required value",
        ],
    ),
    ({"iscsi": {**ISCSI, "iqn": "iqn.x"}}, ['iscsi.iqn: Invalid value: "iqn.x": must be valid format']),
    (
        {"iscsi": {**ISCSI, "initiatorName": ""}},
        ['iscsi.initiatorname: Invalid value: "": must be valid format starting with iqn, eui, or naa'],
    ),
    (
        {"quobyte": {}},
        [
            "quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas",
            "quobyte.volume: Required value",
        ],
    ),
    (
        {"azureDisk": {}},
        [
            "azureDisk.diskName: Required value",
            "azureDisk.diskURI: Required value",
            f'azureDisk.diskURI: Unsupported value: "": supported values: "{BLOB}"',
        ],
    ),
    ({"image": {}}, ["image.reference: Required value"]),
    ({"csi": {"driver": "a" * 64}}, ["csi.driver: Too long: may not be more than 63 bytes"]),
    (
        {"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x", "finalizers": ["a.b/c"]}, "spec": CLAIM}}},
        [
            "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
            "ephemeral.volumeClaimTemplate.metadata.finalizers: Forbidden: cannot be set",
        ],
    ),
    (
        {
            "projected": {
                "sources": [{"clusterTrustBundle": {"name": "a", "signerName": "b.c/d", "path": "p"}}],
            }
        },
        [
            'projected.sources[0].clusterTrustBundle: Invalid value: {"name":"a","signerName":"b.c/d","path":"p"}: '
            "only one of name and signerName may be used",
        ],
    ),
]


@pytest.fixture
def pods(kind: Callable[..., Any]) -> Any:
    return kind("v1", "Pod")


@pytest.mark.parametrize(("source", "errors"), CASES)
def test_a_volume_is_judged_as_its_system_wants(pods: Any, source: dict[str, Any], errors: list[str]) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", **source}]}
    found = pods.errors({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})
    assert found == [f"spec.volumes[0].{error}" for error in errors]


def test_sleeping_is_measured_by_a_second_where_the_grace_is_no_time(pods: Any) -> None:
    container = {"name": "c", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": -1}
    assert pods.errors({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}) == []
