"""Impersonation: acting as somebody else, by the `Impersonate-…` headers. Documented under "User impersonation".

Who asks must be allowed the verb `impersonate` on every part of the identity: the user or service account, each group,
the uid, each value of each extra key. The request then goes on as that identity, and is authorised as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote

from kube_core.abc.transport import User
from kube_core.auth.authentication import ANONYMOUS, AUTHENTICATED
from kube_core.auth.rbac import AccessAttributes
from kube_core.meta.status import BadRequest

__all__ = ["impersonated"]

_PREFIX = "impersonate-"
_EXTRA = "impersonate-extra-"
_SERVICE_ACCOUNT = "system:serviceaccount:"
_UNAUTHENTICATED = "system:unauthenticated"


def impersonated(user: User, headers: Mapping[str, str], require: Callable[[AccessAttributes], None]) -> User:
    """Whom the request is to be taken for: `user` where no header says otherwise.

    `require` raises `Forbidden` for what is not allowed. Raises `BadRequest` for groups, uid or extras without a user.
    """
    asked = {name: value.split("\n") for name, value in headers.items() if name.startswith(_PREFIX)}
    if not asked:
        return user
    name = asked.get("impersonate-user", [""])[0]
    groups = tuple(asked.get("impersonate-group", ()))
    uid = asked.get("impersonate-uid", [""])[0]
    extra = {unquote(key[len(_EXTRA) :]): values for key, values in asked.items() if key.startswith(_EXTRA)}
    if not name:
        raise BadRequest(f"requested {', '.join(sorted(asked))} without impersonating a user")
    for attributes in _attributes(user, name, groups, uid, extra):
        require(attributes)
    return User(name, _completed(name, groups), uid, extra)


def _attributes(
    user: User, name: str, groups: tuple[str, ...], uid: str, extra: Mapping[str, list[str]]
) -> Iterator[AccessAttributes]:
    account = name[len(_SERVICE_ACCOUNT) :].split(":") if name.startswith(_SERVICE_ACCOUNT) else []
    if len(account) == 2:
        yield _attribute(user, "", "serviceaccounts", account[1], namespace=account[0])
    else:
        yield _attribute(user, "", "users", name)
    for group in groups:
        yield _attribute(user, "", "groups", group)
    if uid:
        yield _attribute(user, "authentication.k8s.io", "uids", uid)
    for key, values in extra.items():
        for value in values:
            yield _attribute(user, "authentication.k8s.io", "userextras", value, subresource=key)


def _attribute(
    user: User, group: str, resource: str, name: str, *, namespace: str = "", subresource: str = ""
) -> AccessAttributes:
    return AccessAttributes(user, "impersonate", group, "v1", resource, subresource, namespace, name)


def _completed(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that the authenticator would have given."""
    if name == ANONYMOUS.name:
        return groups if _UNAUTHENTICATED in groups else (*groups, _UNAUTHENTICATED)
    if not groups and name.startswith(_SERVICE_ACCOUNT):
        namespace = name[len(_SERVICE_ACCOUNT) :].partition(":")[0]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return groups if AUTHENTICATED in groups or _UNAUTHENTICATED in groups else (*groups, AUTHENTICATED)
