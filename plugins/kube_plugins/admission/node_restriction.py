"""NodeRestriction: what a node may write, of what the Node authorizer lets it write at all.

A node writes its own Node, without the labels and taints that others rely on; its own Lease, CSINode and
ResourceSlices; mirror pods of its own, and the status of pods that are bound to it; it deletes only those;
and it gets tokens only for pods that run on it. Mirrors upstream's plugin of this name (documented under "Admission
Control" and "Using Node Authorization"). Nobody else is concerned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from kube_core.abc.transport import User
from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.resources import NODES, PODS
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import BadRequest, Forbidden, forbidden
from kube_core.registry.context import Attributes, Operation

__all__ = ["NodeRestriction"]

_PREFIX: Final = "system:node:"
_GROUP: Final = "system:nodes"
_MIRROR: Final = "kubernetes.io/config.mirror"
_RESTRICTED: Final = "node-restriction.kubernetes.io"
#: Labels of Kubernetes' own that a node may say of itself, and the prefixes of such labels.
_OWN_LABELS: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
    }
)
_OWN_PREFIXES: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(AdmissionPlugin):
    name: ClassVar[str] = "NodeRestriction"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "UPDATE", "DELETE"})
    resources: ClassVar[frozenset[str]] = frozenset(
        {"pods", "nodes", "serviceaccounts", "leases", "csinodes", "resourceslices"}
    )

    async def validate(self, attributes: Attributes) -> None:
        node = _node_of(attributes.user)
        if not node:
            return
        checks = {
            ("", "pods"): self._pod,
            ("", "nodes"): self._node,
            ("", "serviceaccounts"): self._account,
            ("coordination.k8s.io", "leases"): self._own,
            ("storage.k8s.io", "csinodes"): self._own,
            ("resource.k8s.io", "resourceslices"): self._slice,
        }
        check = checks.get((attributes.resource.group, attributes.resource.plural))
        if check is not None:
            check(attributes, node)

    # -- pods --------------------------------------------------------------------------------------------------------

    def _pod(self, attributes: Attributes, node: str) -> None:
        if attributes.subresource == "status":
            self._pod_status(attributes, node)
        elif attributes.subresource == "eviction":
            pod = self.context.reader.get(PODS, attributes.key)
            if _node_name(pod) != node:
                raise _refused(attributes, f'node "{node}" can only evict pods with spec.nodeName set to itself')
        elif attributes.subresource:
            raise _refused(attributes, f'unexpected pod subresource "{attributes.subresource}"')
        elif attributes.operation == "CREATE":
            self._new_pod(attributes, node)
        elif attributes.operation == "DELETE":
            if _node_name(attributes.old) != node:
                raise _refused(attributes, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            raise _refused(attributes, f'unexpected operation "{attributes.operation}"')

    def _pod_status(self, attributes: Attributes, node: str) -> None:
        old, new = attributes.old or {}, attributes.object or {}
        if _node_name(old) != node:
            why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
            raise _refused(attributes, why)
        if _labels(old) != _labels(new):
            raise _refused(attributes, f'node "{node}" cannot update labels through pod status')

    def _new_pod(self, attributes: Attributes, node: str) -> None:
        """Only mirrors of what the node runs anyway, that need nothing of the cluster's."""
        pod = attributes.object or {}
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if _MIRROR not in (metadata.get("annotations") or {}):
            why = f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise _refused(attributes, why)
        if spec.get("nodeName") != node:
            raise _refused(attributes, f'node "{node}" can only create pods with spec.nodeName set to itself')
        owners: Sequence[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
        own = self.context.reader.get(NODES, Key("", node))
        uid = own["metadata"]["uid"] if own is not None else None
        if len(owners) != 1 or owners[0].get("kind") != "Node" or owners[0].get("name") != node:
            raise _refused(attributes, f'node "{node}" can only create pods with an owner reference set to itself')
        if owners[0].get("uid") != uid:
            raise _refused(attributes, f'node "{node}" UID mismatch: expected "{uid}" got "{owners[0].get("uid")}"')
        if owners[0].get("blockOwnerDeletion"):
            why = f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            raise _refused(attributes, why)
        if spec.get("serviceAccountName"):
            raise _refused(attributes, f'node "{node}" can not create pods that reference a service account')
        for kind in _references(spec):
            raise _refused(attributes, f'node "{node}" can not create pods that reference {kind}')

    # -- the node's own objects --------------------------------------------------------------------------------------

    def _node(self, attributes: Attributes, node: str) -> None:
        name = attributes.key.name
        if name != node:
            raise _refused(attributes, f'node "{node}" is not allowed to modify node "{name}"')
        if attributes.operation == "DELETE" or attributes.object is None:
            raise _refused(attributes, f'node "{node}" is not allowed to delete itself')
        old, new = attributes.old or {}, attributes.object
        changed = _changed_labels(_labels(old), _labels(new))
        if attributes.operation == "CREATE":
            if forbidden_ones := sorted(filter(_is_forbidden, changed)):
                why = f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden_ones)}'
                raise _refused(attributes, why)
            return
        if (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints"):
            raise _refused(attributes, f'node "{node}" is not allowed to modify taints')
        if old.get("metadata", {}).get("ownerReferences") != new["metadata"].get("ownerReferences"):
            raise _refused(attributes, f'node "{node}" is not allowed to modify ownerReferences')
        if forbidden_ones := sorted(filter(_is_forbidden, changed)):
            raise _refused(attributes, f'node "{node}" is not allowed to modify labels: {", ".join(forbidden_ones)}')

    def _own(self, attributes: Attributes, node: str) -> None:
        # The Node authorizer has looked at names in the path; a new object's is in the body.
        if attributes.key.name != node:
            kind = attributes.resource.kind
            raise _refused(attributes, f"can only access {kind} with the same name as the requesting node")

    def _slice(self, attributes: Attributes, node: str) -> None:
        document = attributes.object if attributes.operation == "CREATE" else attributes.old
        if _node_name(document) != node:
            verb = "create" if attributes.operation == "CREATE" else "change"
            raise _refused(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")

    def _account(self, attributes: Attributes, node: str) -> None:
        if attributes.operation != "CREATE" or attributes.subresource != "token":
            return
        bound: Mapping[str, Any] = ((attributes.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if bound.get("kind") != "Pod" or bound.get("apiVersion") != "v1":
            raise _refused(attributes, "node requested token not bound to a pod")
        if not bound.get("uid"):
            raise _refused(attributes, "node requested token with a pod binding without a uid")
        pod = self.context.reader.get(PODS, Key(attributes.key.namespace, str(bound.get("name"))))
        if pod is None:
            raise BadRequest("pod that the token is to be bound to was not found")
        if pod["metadata"]["uid"] != bound["uid"]:
            raise _refused(attributes, "the UID in the bound object reference does not match the UID in record")
        if _node_name(pod) != node:
            raise _refused(attributes, "node requested token bound to a pod scheduled on a different node")


def _node_of(user: User) -> str:
    return user.name[len(_PREFIX) :] if user.name.startswith(_PREFIX) and _GROUP in user.groups else ""


def _node_name(document: Document | None) -> str:
    return str(((document or {}).get("spec") or {}).get("nodeName") or "")


def _labels(document: Document) -> Mapping[str, str]:
    found: Mapping[str, str] = (document.get("metadata") or {}).get("labels") or {}
    return found


def _changed_labels(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[str]:
    return (name for name in {**old, **new} if old.get(name) != new.get(name))


def _is_forbidden(label: str) -> bool:
    prefix, slash, _ = label.partition("/")
    if not slash:
        return False
    if _within(prefix, _RESTRICTED):
        return True
    if not (_within(prefix, "kubernetes.io") or _within(prefix, "k8s.io")):
        return False
    return label not in _OWN_LABELS and not any(_within(prefix, own) for own in _OWN_PREFIXES)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _references(spec: Mapping[str, Any]) -> Iterable[str]:
    """What of the cluster's a pod refers to, in upstream's words."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    sources = [each for container in containers for each in container.get("envFrom") or ()]
    sources += [each.get("valueFrom") or {} for container in containers for each in container.get("env") or ()]
    volumes = spec.get("volumes") or ()
    sources += [each for volume in volumes for each in (volume.get("projected") or {}).get("sources") or ()]
    if spec.get("imagePullSecrets") or any("secret" in volume for volume in volumes):
        yield "secrets"
    if any(field in source for source in sources for field in ("secretRef", "secretKeyRef", "secret")):
        yield "secrets"
    if any("configMap" in volume for volume in volumes):
        yield "configmaps"
    if any(field in source for source in sources for field in ("configMapRef", "configMapKeyRef", "configMap")):
        yield "configmaps"
    if any("persistentVolumeClaim" in volume for volume in volumes):
        yield "persistentvolumeclaims"
    if spec.get("resourceClaims"):
        yield "resourceclaims"


def _refused(attributes: Attributes, why: str) -> Forbidden:
    return forbidden(attributes.resource.group_resource, attributes.key.name, why)
