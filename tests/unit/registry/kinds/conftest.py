"""Strategies as the registry uses them, without a registry."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kube_core.api.descriptors import descriptor_of_kind
from kube_core.api.schemas import builtin
from kube_core.meta.gvk import GroupVersion, GroupVersionKind
from kube_core.registry.decoding import decode
from kube_core.registry.kinds import ValidationContext, strategy_for
from kube_core.registry.strategy import Strategy


class Kind:
    """One kind's strategy, with the steps that the registry takes around it."""

    def __init__(self, api_version: str, kind: str, context: ValidationContext) -> None:
        group_version = GroupVersion.parse(api_version)
        descriptor = descriptor_of_kind(GroupVersionKind(group_version.group, group_version.version, kind))
        assert descriptor is not None
        self.identity = {"apiVersion": api_version, "kind": kind}
        self.descriptor = descriptor
        self.strategy: Strategy = strategy_for(descriptor, context)

    def decoded(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with its defaults. `metadata` has a name unless given."""
        metadata = {"name": "a", "namespace": "ns"} if self.descriptor.type.namespaced else {"name": "a"}
        whole = {**self.identity, "metadata": metadata, **copy.deepcopy(document)}
        result, _ = decode(whole, builtin(self.descriptor.schema), "Strict")
        self.strategy.default(result)
        return result

    def created(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document as it is stored, unless it is invalid."""
        result = self.decoded(document)
        self.strategy.prepare_for_create(result)
        return result

    def updated(self, document: dict[str, Any], old: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        result = self.decoded(document)
        if subresource == "status":
            self.strategy.prepare_for_status_update(result, old)
        else:
            self.strategy.prepare_for_update(result, old)
        return result

    def errors(self, document: dict[str, Any]) -> list[str]:
        """What is wrong with a new object, as `path: message`."""
        return [str(error) for error in self.strategy.validate(self.created(document))]

    def update_errors(self, document: dict[str, Any], old: dict[str, Any]) -> list[str]:
        return [str(error) for error in self.strategy.validate_update(self.updated(document, old), old)]

    def status_errors(self, document: dict[str, Any], old: dict[str, Any]) -> list[str]:
        new = self.updated(document, old, "status")
        return [str(error) for error in self.strategy.validate_status_update(new, old)]


@pytest.fixture
def kind() -> Callable[..., Kind]:
    """`kind("apps/v1", "Deployment")`."""

    def make(api_version: str, name: str, context: ValidationContext | None = None) -> Kind:
        return Kind(api_version, name, context or ValidationContext())

    return make
