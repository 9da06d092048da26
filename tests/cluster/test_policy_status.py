"""The status of validating admission policies: their expressions' types, checked by the controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.waiting import eventually
from kube_core.api.resources import VALIDATING_ADMISSION_POLICIES
from kube_core.cluster import Cluster
from kube_core.meta.documents import Document

pytestmark = pytest.mark.anyio

CONTROLLER = "validatingadmissionpolicy-status-controller"
DEPLOYMENTS = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, listen=False, controllers=[CONTROLLER]) as running:
        yield running


async def status(cluster: Cluster, name: str, *expressions: str, rules: list[Any] | None = None, **spec: Any) -> Any:
    """Of a policy with these validations, once it is checked."""
    policy = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules or [DEPLOYMENTS]},
            "validations": [{"expression": each} for each in expressions],
            **spec,
        },
    }
    client = cluster.client
    await client.create(VALIDATING_ADMISSION_POLICIES, policy)

    async def checked() -> Document | None:
        found = await client.get(VALIDATING_ADMISSION_POLICIES, name)
        return found["status"] if (found.get("status") or {}).get("observedGeneration") else None

    return await eventually(checked)


async def test_a_policy_without_mistakes_has_no_warnings(cluster: Cluster) -> None:
    found = await status(cluster, "right", "object.spec.replicas <= 5", "has(object.metadata.labels)")
    assert found == {"observedGeneration": 1, "typeChecking": {}}


async def test_mistakes_are_told_with_their_place_and_kind(cluster: Cluster) -> None:
    found = await status(cluster, "wrong", "object.spec.replicas > '5'", "object.replicas == 1 || true", "true")
    [types, field] = found["typeChecking"]["expressionWarnings"]
    assert types["fieldRef"] == "spec.validations[0].expression"
    assert types["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload")
    assert "'_>_' applied to '(int, string)'" in types["warning"]
    assert field == {
        "fieldRef": "spec.validations[1].expression",
        "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n"
        " | object.replicas == 1 || true\n | ......^\n",
    }


async def test_variables_parameters_and_messages_are_checked_too(cluster: Cluster) -> None:
    found = await status(
        cluster,
        "more",
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "size", "expression": "object.spec.replicas"}],
        validations=[
            {"expression": "variables.size == 'a'"},
            {"expression": "params.dat == null", "messageExpression": "string(object.spec.nothing)"},
        ],
    )
    said = {each["fieldRef"]: each["warning"] for each in found["typeChecking"]["expressionWarnings"]}
    assert set(said) == {
        "spec.validations[0].expression",
        "spec.validations[1].expression",
        "spec.validations[1].messageExpression",
    }
    assert "undefined field 'dat'" in said["spec.validations[1].expression"]


async def test_each_kind_is_checked_and_wildcards_are_not(cluster: Cluster) -> None:
    both = {**DEPLOYMENTS, "resources": ["deployments", "daemonsets", "deployments/scale"]}
    found = await status(cluster, "both", "object.spec.replicas > 1", rules=[both])
    [warning] = found["typeChecking"]["expressionWarnings"]
    assert warning["warning"].startswith("apps/v1, Kind=DaemonSet: ")
    anything = {**DEPLOYMENTS, "apiGroups": ["*"]}
    assert (await status(cluster, "any", "object.nothing == 1", rules=[anything]))["typeChecking"] == {}
