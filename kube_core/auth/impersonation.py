"""Impersonation: acting as somebody else, by the `Impersonate-…` headers. Documented under "User Impersonation".

Two ways lead there. With *constrained* impersonation who asks needs a permission for the identity
(`impersonate:MODE`) and one for what is done in its name (`impersonate-on:MODE:VERB`); the mode follows from the
identity. Otherwise the verb `impersonate` on every part of the identity is enough: the user or service account, each
group, the uid, each value of each extra key. Either way the request goes on as that identity, and is authorised as
such.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import attrs

from kube_core.abc.transport import User
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.authentication import ANONYMOUS, AUTHENTICATED
from kube_core.meta.status import BadRequest

__all__ = ["Impersonated", "impersonated", "is_asked_for"]

_PREFIX: Final = "impersonate-"
_EXTRA: Final = "impersonate-extra-"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_NODE: Final = "system:node:"
_NODES: Final = "system:nodes"
_UNAUTHENTICATED: Final = "system:unauthenticated"
_GROUP: Final = "authentication.k8s.io"
_OWN_NODE: Final = "authentication.kubernetes.io/node-name"

Allowed = Callable[[AccessAttributes], Awaitable[bool]]
Require = Callable[[AccessAttributes], Awaitable[None]]


@attrs.frozen
class Impersonated:
    """Whom a request is to be taken for. `constraint` is the verb of the constrained mode, "" for the other way."""

    user: User
    constraint: str = ""


@attrs.frozen
class _Asked:
    """What the headers say."""

    name: str
    groups: tuple[str, ...]
    uid: str
    extra: Mapping[str, list[str]]

    @property
    def only_name(self) -> bool:
        return not (self.groups or self.uid or self.extra)

    @property
    def account(self) -> tuple[str, str] | None:
        """Namespace and name of a service account."""
        parts = self.name[len(_SERVICE_ACCOUNT) :].split(":") if self.name.startswith(_SERVICE_ACCOUNT) else []
        return (parts[0], parts[1]) if len(parts) == 2 else None

    @property
    def node(self) -> str:
        return self.name[len(_NODE) :] if self.name.startswith(_NODE) else ""


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """Whether a request is to be taken for somebody else's."""
    return any(name.startswith(_PREFIX) for name in headers)


async def impersonated(
    attributes: AccessAttributes, headers: Mapping[str, str], allowed: Allowed, require: Require
) -> Impersonated:
    """Whom the request is to be taken for.

    `attributes`: the request, of who really asks. `require` raises `Forbidden` for what is not allowed.
    Raises `BadRequest` for groups, uid or extras without a user.
    """
    given = {name: value.split("\n") for name, value in headers.items() if name.startswith(_PREFIX)}
    asked = _Asked(
        given.get("impersonate-user", [""])[0],
        tuple(given.get("impersonate-group", ())),
        given.get("impersonate-uid", [""])[0],
        {unquote(key[len(_EXTRA) :]): values for key, values in given.items() if key.startswith(_EXTRA)},
    )
    if not asked.name:
        raise BadRequest(f"requested {', '.join(sorted(given))} without impersonating a user")
    for mode, parts in _modes(attributes.user, asked):
        if await _is_allowed(attributes, mode, parts, allowed):
            groups = (_NODES,) if mode.endswith("-node") else asked.groups
            identity = User(asked.name, _completed(asked.name, groups), asked.uid, asked.extra)
            return Impersonated(identity, f"impersonate:{mode}")
    for part in _unconstrained(attributes.user, asked):
        await require(part)
    return Impersonated(User(asked.name, _completed(asked.name, asked.groups), asked.uid, asked.extra))


async def _is_allowed(
    attributes: AccessAttributes, mode: str, parts: Iterator[AccessAttributes], allowed: Allowed
) -> bool:
    on = attrs.evolve(attributes, verb=f"impersonate-on:{mode}:{attributes.verb}")
    if not await allowed(on):
        return False
    for part in parts:
        if not await allowed(part):
            return False
    return True


def _modes(user: User, asked: _Asked) -> Iterator[tuple[str, Iterator[AccessAttributes]]]:
    """The constrained modes that fit an identity, and what each needs on its parts."""
    if asked.node:
        if not asked.only_name:
            return
        if user.name.startswith(_SERVICE_ACCOUNT) and list(user.extra.get(_OWN_NODE, ())) == [asked.node]:
            yield "associated-node", iter([_constrained(user, "associated-node", "nodes", "*")])
        yield "arbitrary-node", iter([_constrained(user, "arbitrary-node", "nodes", asked.node)])
    elif asked.account is not None:
        if not asked.only_name:
            return
        namespace, name = asked.account
        part = _constrained(user, "serviceaccount", "serviceaccounts", name, namespace=namespace)
        yield "serviceaccount", iter([part])
    else:
        yield "user-info", _user_info(user, asked)


def _user_info(user: User, asked: _Asked) -> Iterator[AccessAttributes]:
    mode = "user-info"
    yield _constrained(user, mode, "users", asked.name)
    for group in asked.groups:
        yield _constrained(user, mode, "groups", group)
    if asked.uid:
        yield _constrained(user, mode, "uids", asked.uid)
    for key, values in asked.extra.items():
        for value in values:
            yield _constrained(user, mode, "userextras", value, subresource=key)


def _constrained(
    user: User, mode: str, resource: str, name: str, *, namespace: str = "", subresource: str = ""
) -> AccessAttributes:
    return AccessAttributes(user, f"impersonate:{mode}", _GROUP, "v1", resource, subresource, namespace, name)


def _unconstrained(user: User, asked: _Asked) -> Iterator[AccessAttributes]:
    if asked.account is not None:
        namespace, name = asked.account
        yield AccessAttributes(user, "impersonate", "", "v1", "serviceaccounts", "", namespace, name)
    else:
        yield AccessAttributes(user, "impersonate", "", "v1", "users", "", "", asked.name)
    for group in asked.groups:
        yield AccessAttributes(user, "impersonate", "", "v1", "groups", "", "", group)
    if asked.uid:
        yield AccessAttributes(user, "impersonate", _GROUP, "v1", "uids", "", "", asked.uid)
    for key, values in asked.extra.items():
        for value in values:
            yield AccessAttributes(user, "impersonate", _GROUP, "v1", "userextras", key, "", value)


def _completed(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that the authenticator would have given."""
    if name == ANONYMOUS.name:
        return groups if _UNAUTHENTICATED in groups else (*groups, _UNAUTHENTICATED)
    if not groups and name.startswith(_SERVICE_ACCOUNT):
        namespace = name[len(_SERVICE_ACCOUNT) :].partition(":")[0]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return groups if AUTHENTICATED in groups or _UNAUTHENTICATED in groups else (*groups, AUTHENTICATED)
