"""Roles without rules: none is stored, and whoever sent an empty list owns it."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.server import running

pytestmark = pytest.mark.anyio

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


@pytest.mark.parametrize(("sent", "owned"), [({"rules": []}, {"f:rules": {}}), ({}, {}), ({"rules": None}, {})])
async def test_an_empty_list_of_rules_is_stored_as_none_and_owned(sent: dict[str, Any], owned: dict[str, Any]) -> None:
    async with running() as api:
        made = await api.post(ROLES, {"metadata": {"name": "r", "labels": {"a": "b"}}, **sent})
    assert made["rules"] is None
    (entry,) = made["metadata"]["managedFields"]
    assert {name: fields for name, fields in entry["fieldsV1"].items() if name != "f:metadata"} == owned
