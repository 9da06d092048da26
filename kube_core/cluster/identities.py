"""Who the parts of a cluster are when they ask the server for something: users with roles, as with upstream.

What each may do is what the default roles give to these names (`kube_core.auth.default_policy`), and to nodes what the
Node authorizer says. A part has no other way in for living in the same process.

The ingress is no part of upstream, nor is the metrics server, so no default role is for them: policies make
their own. A plugin's controller
without an account is an administrator: whoever installs it into the program has trusted it with everything anyway,
and a role would only look as if it held something back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kube_core.abc.transport import User
from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.auth.authentication import AUTHENTICATED, MASTERS
from kube_core.meta.documents import MutableDocument

__all__ = [
    "ADMIN",
    "CONTROLLER_MANAGER",
    "INGRESS",
    "METRICS_SERVER",
    "SCHEDULER",
    "controller_user",
    "ingress_policy",
    "metrics_policy",
    "metrics_server_policy",
    "node_user",
]

ADMIN: Final = User("kubernetes-admin", (MASTERS, AUTHENTICATED))
CONTROLLER_MANAGER: Final = User("system:kube-controller-manager", (AUTHENTICATED,))
SCHEDULER: Final = User("system:kube-scheduler", (AUTHENTICATED,))
INGRESS: Final = User("system:kube-core:ingress", (AUTHENTICATED,))
#: Asks the servers of nodes elsewhere.
METRICS_SERVER: Final = User("system:kube-core:metrics-server", (AUTHENTICATED,))

_SYSTEM: Final = "kube-system"
_RBAC: Final = "rbac.authorization.k8s.io"


def node_user(name: str) -> User:
    return User(f"system:node:{name}", ("system:nodes", AUTHENTICATED))


def controller_user(name: str, account: str) -> User:
    """A controller: its service account's user, or an administrator of its name where it has none."""
    if not account:
        return User(f"system:kube-core:controller:{name}", (MASTERS, AUTHENTICATED))
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{_SYSTEM}", AUTHENTICATED)
    return User(f"system:serviceaccount:{_SYSTEM}:{account}", groups)


def ingress_policy() -> Iterator[tuple[ResourceType, MutableDocument]]:
    """The ingress's role and its binding."""
    rule = {"verbs": ["get", "update", "patch"], "apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"]}
    return _own_role(INGRESS.name, rule)


def metrics_server_policy() -> Iterator[tuple[ResourceType, MutableDocument]]:
    """The role by which the metrics server asks nodes elsewhere, by way of the API server, and its binding."""
    return _own_role(METRICS_SERVER.name, {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes/proxy"]})


def metrics_policy() -> tuple[ResourceType, MutableDocument]:
    """The role by which whoever may read a namespace may also read what its pods use, as metrics-server brings it."""
    labels: dict[str, Any] = {f"{_RBAC}/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")}
    rule = {"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    return (
        resources.CLUSTER_ROLES,
        {"metadata": {"name": "system:aggregated-metrics-reader", "labels": labels}, "rules": [rule]},
    )


def _own_role(name: str, rule: MutableDocument) -> Iterator[tuple[ResourceType, MutableDocument]]:
    """A role of one rule, bound to the user of its name."""
    yield resources.CLUSTER_ROLES, {"metadata": {"name": name}, "rules": [rule]}
    yield (
        resources.CLUSTER_ROLE_BINDINGS,
        {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "apiGroup": _RBAC, "name": name}],
        },
    )
