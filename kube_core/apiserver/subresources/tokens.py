"""`serviceaccounts/NAME/token`: issues a token for a service account (TokenRequest)."""

from __future__ import annotations

from typing import Any

from kube_core.abc.transport import Request, Response
from kube_core.api.schemas import builtin
from kube_core.api.types import ResourceType
from kube_core.apiserver import responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.verbs import read_shaped
from kube_core.auth.tokens import BoundObject, TokenClaims, TokenIssuer
from kube_core.meta import fields
from kube_core.meta.documents import Document, Key, MutableDocument, metadata_of
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind, GroupResource, GroupVersionKind
from kube_core.meta.status import BadRequest, Conflict, invalid, not_found
from kube_core.meta.times import format_time
from kube_core.registry import options as request_options
from kube_core.registry.apply import FieldManager
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry
from kube_core.registry.shapes import SpokenShapes

__all__ = ["Token", "is_current"]

_ACCOUNTS = ResourceType("", "v1", "ServiceAccount", "serviceaccounts", True)
_BINDABLE = {
    "Pod": ResourceType("", "v1", "Pod", "pods", True),
    "Secret": ResourceType("", "v1", "Secret", "secrets", True),
    "Node": ResourceType("", "v1", "Node", "nodes", False),
}
_SCHEMA = "io.k8s.api.authentication.v1.TokenRequest"
_KIND = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")
_DEFAULT_SECONDS = 3600


def is_current(catalogue: Catalogue, claims: TokenClaims) -> bool:
    """Whether what a token claims is still there."""
    account = catalogue.of(_ACCOUNTS).cache.get(Key(claims.namespace, claims.name))
    if account is None or account.metadata["uid"] != claims.uid:
        return False
    if claims.bound is None:
        return True
    resource = _BINDABLE[claims.bound.kind]
    namespace = claims.namespace if resource.namespaced else ""
    bound = catalogue.of(resource).cache.get(Key(namespace, claims.bound.name))
    return bound is not None and bound.metadata["uid"] == claims.bound.uid


class Token:
    """The handler of `token`."""

    def __init__(self, issuer: TokenIssuer, catalogue: Catalogue) -> None:
        self._issuer = issuer
        self._catalogue = catalogue
        self._owners = FieldManager(builtin(_SCHEMA), _KIND, has_status=False)

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.write_options(request, "CreateOptions")
        wanted = read_shaped(request, "authentication.k8s.io/v1", "TokenRequest", context, options.field_validation)
        account = (await registry.find(info.key)).document
        shapes = SpokenShapes(registry.type, _SCHEMA)
        attributes = context.attributes(
            "CREATE", registry.type, info.key, dict(wanted), subresource="token", options=options, shapes=shapes
        )
        await context.admission.mutate(attributes)
        wanted = attributes.object or wanted
        spec = dict(wanted.get("spec") or {})
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check(seconds)
        audiences = list(spec.get("audiences") or self._issuer.audiences)
        bound, node = self._bound(spec.get("boundObjectRef"), account)
        await context.admission.validate(attributes)
        claims = TokenClaims(info.namespace, info.name, str(account["metadata"]["uid"]), bound, node)
        status: dict[str, Any] = {"token": "", "expirationTimestamp": None}
        if not options.dry_run:
            token, expires = await self._issuer.issue(claims, audiences=audiences, seconds=seconds)
            status = {"token": token, "expirationTimestamp": format_time(expires)}
        metadata: dict[str, Any] = {
            "name": info.name,
            "namespace": info.namespace,
            "uid": registry.random.uid(),
            "creationTimestamp": format_time(registry.clock.now()),
        }
        self._own(metadata, {**spec, "expirationSeconds": seconds}, options.field_manager, registry.clock.now())
        document = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": status,
        }
        return responses.success(request, document, 201)

    def _own(self, metadata: dict[str, Any], spec: Document, manager: str, now: float) -> None:
        """Say in the metadata who asked for what, as for any object that is created."""
        asked: MutableDocument = {"kind": _KIND.kind, "apiVersion": _KIND.api_version, "metadata": {}, "spec": spec}
        self._owners.update(None, asked, manager=manager, subresource="token", now=now)
        if "managedFields" in asked["metadata"]:
            metadata["managedFields"] = asked["metadata"]["managedFields"]

    def _bound(self, reference: Any, account: Document) -> tuple[BoundObject | None, BoundObject | None]:
        """What the token is bound to, and for a pod the node that it runs on."""
        if not reference:
            return None, None
        kind = str(reference.get("kind") or "")
        resource = _BINDABLE.get(kind)
        if resource is None or reference.get("apiVersion") not in (None, "", "v1"):
            version = str(reference.get("apiVersion") or "")
            group, _, short = version.rpartition("/")
            raise BadRequest(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
        name = str(reference.get("name") or "")
        namespace = str(account["metadata"]["namespace"]) if resource.namespaced else ""
        found = self._catalogue.of(resource).cache.get(Key(namespace, name))
        if found is None:
            raise not_found(GroupResource("", resource.plural), name)
        uid = str(found.metadata["uid"])
        if reference.get("uid") and reference["uid"] != uid:
            raise Conflict(
                f'Operation cannot be fulfilled on {kind} "{name}": the UID in the bound object reference '
                f"({reference['uid']}) does not match the UID in record. The object might have been deleted and then "
                "recreated",
                details={"name": name, "kind": kind},
            )
        if kind != "Pod":
            return BoundObject(kind, name, uid), None
        spec = found.document.get("spec") or {}
        if spec.get("serviceAccountName") != account["metadata"]["name"]:
            raise BadRequest(
                f"cannot bind token for serviceaccount {account['metadata']['name']!r} to pod running with different "
                "serviceaccount name.".replace("'", '"')
            )
        return BoundObject(kind, name, uid), self._node(spec.get("nodeName"))

    def _node(self, name: str | None) -> BoundObject | None:
        if not name:
            return None
        node = self._catalogue.of(_BINDABLE["Node"]).cache.get(Key("", name))
        return BoundObject("Node", name, str(metadata_of(node.document)["uid"])) if node is not None else None


def _check(seconds: int) -> None:
    path = Path("spec").child("expirationSeconds")
    if seconds < 600:
        error = fields.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > 1 << 32:
        error = fields.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
    else:
        return
    raise invalid(GroupKind("authentication.k8s.io", "TokenRequest"), "", [error])
