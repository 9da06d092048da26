"""May they. In order, the first that says yes: the almighty group, the cluster's own components, RBAC.

* `system:masters` may do everything, as upstream.
* So may the cluster's own components (`system:kube-*`, `system:node:*` in `system:nodes`, service accounts of
  `kube-system`): they run in the same process or on the same host, and have no less power anyway.
* Everybody else may do what roles and bindings say (`kube_core.auth.rbac`). Until the default ones are there
  (`rules_ready`), what those give to everyone holds by itself, so that nobody is turned away while a server starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from kube_core.abc.transport import User
from kube_core.auth.authentication import AUTHENTICATED, MASTERS
from kube_core.auth.rbac import AccessAttributes, Rbac, Rule

__all__ = ["AccessAttributes", "Authorizer", "denial"]

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version")
_OWN_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
_EVERYTHING: Sequence[Rule] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class Authorizer:
    """Answers with a reason, or with None for no."""

    def __init__(self, rbac: Rbac) -> None:
        self.rbac = rbac
        #: Whether the default roles and bindings are in the store.
        self.rules_ready = False

    def authorize(self, attributes: AccessAttributes) -> str | None:
        """Why it is allowed ("" where there is nothing to say), or None when nothing allows it."""
        if _is_almighty(attributes.user):
            return ""
        reason = self.rbac.authorize(attributes)
        return _at_first(attributes) if reason is None and not self.rules_ready else reason

    def rules_of(self, user: User, namespace: str) -> Sequence[Rule]:
        """Every rule that a user has in a namespace."""
        return _EVERYTHING if _is_almighty(user) else self.rbac.rules_of(user, namespace)


def denial(attributes: AccessAttributes) -> str:
    """Upstream's sentence for what is not allowed, without the resource it begins with."""
    user = attributes.user.name
    if not attributes.resource:
        return f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}'


def _is_almighty(user: User) -> bool:
    return MASTERS in user.groups or _is_component(user)


def _is_component(user: User) -> bool:
    name = user.name
    return (
        name.startswith(("system:kube-", "system:serviceaccount:kube-system:"))
        or (name.startswith("system:node:") and "system:nodes" in user.groups)
        or name == "system:apiserver"
    )


def _at_first(attributes: AccessAttributes) -> str | None:
    """What `system:discovery`, `system:basic-user` and `system:public-info-viewer` give, before they are there."""
    known = AUTHENTICATED in attributes.user.groups
    if attributes.resource:
        own = attributes.resource in _OWN_REVIEWS and attributes.verb == "create"
        return "" if own and known else None
    path = attributes.path
    if attributes.verb not in ("get", "head"):
        return None
    if path in _PUBLIC:
        return ""
    discovery = any(path == root or path.startswith(root + "/") for root in _DISCOVERY)
    return "" if discovery and known else None
