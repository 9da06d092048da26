"""May they. The rules in force until RBAC serves: who is all-powerful, what everyone may see, and no more.

* `system:masters` may do everything, as upstream; so may the cluster's own components (`system:kube-*`, `system:node:*`
  in `system:nodes`, service accounts of `kube-system`), whose bootstrap roles RBAC will bring.
* Every authenticated user may read discovery, OpenAPI, `/version` and health, and review their own access; everybody
  may read `/version` and health (upstream's `system:discovery`, `system:basic-user`, `system:public-info-viewer`).

`Authorizer` is the seam: RBAC becomes another rule in its chain.
"""

from __future__ import annotations

import attrs

from kube_core.abc.transport import User
from kube_core.auth.authentication import AUTHENTICATED, MASTERS

__all__ = ["AccessAttributes", "Authorizer", "denial"]

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY = ("/api", "/apis", "/openapi", "/healthz", "/livez", "/readyz", "/version")
_OWN_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


@attrs.frozen
class AccessAttributes:
    """What somebody wants to do: on a resource, or (with `resource` "") on a path."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authorizer:
    """Answers with a reason, or with None for no."""

    def authorize(self, attributes: AccessAttributes) -> str | None:
        """Why it is allowed ("" where there is nothing to say), or None when nothing allows it."""
        user = attributes.user
        if MASTERS in user.groups or _is_component(user):
            return ""
        if not attributes.resource:
            return self._path(attributes)
        if attributes.resource in _OWN_REVIEWS and attributes.verb == "create" and AUTHENTICATED in user.groups:
            return ""
        return None

    @staticmethod
    def _path(attributes: AccessAttributes) -> str | None:
        if attributes.verb not in ("get", "head"):
            return None
        if attributes.path in _PUBLIC:
            return ""
        if AUTHENTICATED in attributes.user.groups and any(
            attributes.path == root or attributes.path.startswith(root + "/") for root in _DISCOVERY
        ):
            return ""
        return None


def denial(attributes: AccessAttributes) -> str:
    """Upstream's sentence for what is not allowed, without the resource it begins with."""
    user = attributes.user.name
    if not attributes.resource:
        return f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}'


def _is_component(user: User) -> bool:
    name = user.name
    return (
        name.startswith(("system:kube-", "system:serviceaccount:kube-system:"))
        or (name.startswith("system:node:") and "system:nodes" in user.groups)
        or name == "system:apiserver"
    )
