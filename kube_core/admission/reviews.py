"""The `AdmissionRequest`: a write as webhooks are told of it, and as the expressions of policies see it.

Upstream's fields (documented under "Webhook request and response"). `kind`, `resource` and `subResource` are those by
which a rule matched, `request…` those of the request itself.
"""

from __future__ import annotations

from typing import Any, Final

from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, thaw
from kube_core.meta.gvk import GroupVersion, GroupVersionKind, GroupVersionResource
from kube_core.registry.context import Attributes

__all__ = ["admission_request", "forms"]

_OPTIONS: Final = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


def admission_request(
    attributes: Attributes,
    shown_as: ResourceType,
    *,
    uid: str,
    document: Document | None,
    old: Document | None,
) -> dict[str, Any]:
    """`document` and `old` are the objects in the form of `shown_as`, the resource by which a rule matched."""
    request: dict[str, Any] = {"uid": uid}
    request["kind"] = _kind(_kind_of(attributes, shown_as))
    request["resource"] = _resource(shown_as.gvr)
    if attributes.subresource:
        request["subResource"] = attributes.subresource
    request["requestKind"] = _kind(_kind_of(attributes, attributes.resource))
    request["requestResource"] = _resource(attributes.resource.gvr)
    if attributes.subresource:
        request["requestSubResource"] = attributes.subresource
    if attributes.key.name:
        request["name"] = attributes.key.name
    if attributes.namespace:
        request["namespace"] = attributes.namespace
    request["operation"] = attributes.operation
    request["userInfo"] = attributes.user.document()
    request["object"] = thaw(document) if document is not None else None
    request["oldObject"] = thaw(old) if old is not None else None
    request["dryRun"] = attributes.dry_run
    kind = _OPTIONS.get(attributes.operation)
    request["options"] = (
        {"kind": kind, "apiVersion": "meta.k8s.io/v1", **thaw(attributes.options)} if kind is not None else None
    )
    return request


async def forms(attributes: Attributes, resource: ResourceType) -> tuple[Document | None, Document | None]:
    """The object and the old one, in the form of a resource. Raises StatusErrors."""
    document, old = attributes.object, attributes.old
    if resource == attributes.resource or attributes.shapes is None:
        return document, old
    if document is not None:
        document = await attributes.shapes.converted(thaw(document), resource)
    if old is not None:
        old = await attributes.shapes.converted(thaw(old), resource)
    return document, old


def _kind_of(attributes: Attributes, resource: ResourceType) -> GroupVersionKind:
    """The kind that is sent: a subresource may speak another than its resource."""
    document = attributes.object
    if not attributes.subresource or document is None or document.get("kind") == attributes.resource.kind:
        return resource.gvk
    version = GroupVersion.parse(str(document.get("apiVersion") or ""))
    return GroupVersionKind(version.group, version.version, str(document.get("kind") or ""))


def _kind(kind: GroupVersionKind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(resource: GroupVersionResource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "resource": resource.resource}
