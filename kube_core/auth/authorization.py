"""May they. `system:masters` may do everything; for the rest the authorizers are asked in turn, until one decides.

Which ones, and in which order, is `--authorization-mode` (documented under "Authorization"): `Node` and `RBAC` unless
told otherwise, besides them `Webhook`, `AlwaysAllow` and `AlwaysDeny`. What none of them allows is denied.

The cluster's own components have no other way in: they are users with roles, like everybody
(`docs/decisions/0006-components-are-users.md`). While the default roles are still being written to a new store
(`rules_ready`), the default policy itself is asked after the authorizers, so that nobody is turned away meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kube_core.abc.transport import User
from kube_core.auth.attributes import (
    ALLOWED,
    NO_OPINION,
    AccessAttributes,
    AccessAuthorizer,
    Decision,
    Rules,
    Verdict,
)
from kube_core.auth.authentication import MASTERS
from kube_core.auth.rbac import Rbac

__all__ = ["MODES", "AccessAttributes", "AlwaysAllow", "AlwaysDeny", "Authorizer", "denial"]

#: Values of `--authorization-mode`.
MODES: Final = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")


class Authorizer(AccessAuthorizer):
    """Every authorizer of a server, as one."""

    def __init__(self, rbac: Rbac, authorizers: Sequence[AccessAuthorizer] = ()) -> None:
        """`rbac`: the roles by which escalation is judged, whatever the authorizers are (only `rbac`, by default)."""
        self.rbac = rbac
        self._authorizers = tuple(authorizers or (rbac,))
        self._at_first: Rbac | None = None
        self._ready = False

    def use(self, authorizers: Sequence[AccessAuthorizer]) -> None:
        """Ask these from now on."""
        self._authorizers = tuple(authorizers)

    @property
    def rules_ready(self) -> bool:
        """Whether the default roles and bindings are in the store."""
        return self._ready

    @rules_ready.setter
    def rules_ready(self, ready: bool) -> None:
        self._ready = ready
        self._at_first = None

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        """The first decision there is. One that is not `allowed` is a refusal."""
        if MASTERS in attributes.user.groups:
            return ALLOWED
        reasons, errors = [], []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.verdict is not Verdict.NO_OPINION:
                return decision
            if decision is not NO_OPINION:
                reasons.append(decision.reason)
                errors.append(decision.error)
        if not self._ready and self.rbac in self._authorizers and self._default.decide(attributes).allowed:
            return ALLOWED
        if not reasons:
            return NO_OPINION
        return Decision(Verdict.NO_OPINION, "\n".join(filter(None, reasons)), "\n".join(filter(None, errors)))

    def rules_of(self, user: User, namespace: str) -> Rules:
        """Every rule that a user has in a namespace."""
        found = [authorizer.rules_of(user, namespace) for authorizer in self._authorizers]
        if not self._ready and self.rbac in self._authorizers:
            found.append(self._default.rules_of(user, namespace))
        problems = ", ".join(each.problem for each in found if each.problem)
        return Rules([rule for each in found for rule in each.rules], problems)

    @property
    def _default(self) -> Rbac:
        if self._at_first is None:
            self._at_first = Rbac.by_default()
        return self._at_first


class AlwaysAllow(AccessAuthorizer):
    """The mode that lets everybody do everything."""

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        return ALLOWED

    def rules_of(self, user: User, namespace: str) -> Rules:
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return Rules([everything, {"verbs": ["*"], "nonResourceURLs": ["*"]}])


class AlwaysDeny(AccessAuthorizer):
    """The mode that has nothing to say: with nothing beside it, nobody may do anything."""

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        return Decision(Verdict.NO_OPINION, "Everything is forbidden.")


def denial(attributes: AccessAttributes) -> str:
    """Upstream's sentence for what is not allowed, without the resource it begins with."""
    user = attributes.user.name
    if not attributes.resource:
        return f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}'
