"""Aggregated ClusterRoles: their rules are those of all the roles that they select.

Mirrors upstream's clusterrole-aggregation-controller, documented under "Aggregated ClusterRoles": that is where the
rules of `admin`, `edit` and `view` come from. Parts are taken in the order of their names, and a rule that was taken
already is not repeated. Whatever else somebody wrote into the rules of an aggregated role is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kube_core.api.resources import CLUSTER_ROLES
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, labels_of, name_of, thaw
from kube_core.meta.selectors import from_document

__all__ = ["ClusterRoleAggregation", "joined_rules"]


class ClusterRoleAggregation(Controller):
    """See the module's docstring."""

    def watches(self) -> Iterable[Watch]:
        # A role that changed may be, or may have been, a part of any aggregated one; there are few of those.
        yield Watch(CLUSTER_ROLES, self._aggregated)

    async def reconcile(self, key: Key) -> Action:
        lister = self.context.informers.lister(CLUSTER_ROLES)
        role = lister.get(key)
        if role is None or not role.get("aggregationRule"):
            return await_change()
        rules = joined_rules(role, lister.list())
        if rules != (role.get("rules") or []):
            changed: MutableDocument = thaw(role)
            changed["rules"] = rules
            await self.client.update(CLUSTER_ROLES, changed)
        return await_change()

    def _aggregated(self, document: Document) -> Iterable[Key]:
        for role in self.context.informers.lister(CLUSTER_ROLES).list():
            if role.get("aggregationRule"):
                yield Key("", name_of(role))


def joined_rules(role: Document, roles: Iterable[Document]) -> list[Any]:
    """The rules of every role that an aggregated one selects, each once; never its own."""
    selectors = [from_document(each) for each in role["aggregationRule"].get("clusterRoleSelectors") or ()]
    rules: list[Any] = []
    for part in sorted(roles, key=name_of):
        if name_of(part) == name_of(role) or not any(each.matches(labels_of(part)) for each in selectors):
            continue
        for rule in part.get("rules") or ():
            if rule not in rules:
                rules.append(thaw(rule))
    return rules
