"""The Node authorizer: a node may touch what belongs to it, and what the pods that run on it need.

Documented under "Using Node Authorization". A node is a user `system:node:NAME` in the group `system:nodes`. It may
read a secret, config map, claim, volume or service account only while a pod that is bound to it refers to it; its own
Node, Lease, CSINode and ResourceSlices; the pods that are bound to it. For everything else it has the rules of the
role `system:node`, which is bound to nobody for this reason.

What pods refer to is kept per node and follows the watch cache in the turn of each change, so a node may read a secret
from the moment in which its pod is bound. What a write of a node may contain is the NodeRestriction admission plugin's
matter, not this module's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from kube_core.abc.transport import User
from kube_core.auth.attributes import (
    ALLOWED,
    NO_OPINION,
    AccessAttributes,
    AccessAuthorizer,
    Decision,
    Rule,
    Rules,
    Verdict,
    exact_field,
)
from kube_core.auth.rbac import allows
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document, Key
from kube_core.meta.gvk import GroupResource
from kube_core.storage.cache import WatchCache

__all__ = ["NodeAuthorizer", "node_name"]

_PREFIX: Final = "system:node:"
_GROUP: Final = "system:nodes"
_LEASES: Final = "kube-node-lease"
_READS: Final = ("get", "list", "watch")
_OWN_VERBS: Final = ("get", "create", "update", "patch", "delete")
#: What a node does to pods: by subresource and verb.
_POD_WRITES: Final = frozenset(
    [("", "create"), ("", "delete"), ("status", "update"), ("status", "patch"), ("eviction", "create")]
)

#: Something that a pod refers to: the plural of its resource, and its name in the pod's namespace.
Reference = tuple[str, str]


def node_name(user: User) -> str:
    """The node that a user is; "" for any other user."""
    return user.name[len(_PREFIX) :] if user.name.startswith(_PREFIX) and _GROUP in user.groups else ""


class NodeAuthorizer(AccessAuthorizer):
    """Decides for nodes; has no opinion on anybody else."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._pods = cache.resource(GroupResource("", "pods"))
        self._claims = cache.resource(GroupResource("", "persistentvolumeclaims"))
        self._volumes = cache.resource(GroupResource("", "persistentvolumes"))
        self._graph: _Graph | None = None
        self._rules: Sequence[Rule] | None = None
        self._special: Mapping[tuple[str, str], Callable[[str, AccessAttributes], Decision]] = {
            ("", "secrets"): self._referred,
            ("", "configmaps"): self._referred,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._volume,
            ("", "serviceaccounts"): self._account,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("storage.k8s.io", "volumeattachments"): self._attachment,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
            ("resource.k8s.io", "resourceclaims"): self._resource_claim,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("certificates.k8s.io", "podcertificaterequests"): self._certificate_request,
        }

    async def authorize(self, attributes: AccessAttributes) -> Decision:
        node = node_name(attributes.user)
        if not node:
            return NO_OPINION
        special = self._special.get((attributes.group, attributes.resource))
        return special(node, attributes) if special is not None else self._by_rules(attributes)

    def rules_of(self, user: User, namespace: str) -> Rules:
        if not node_name(user):
            return Rules()
        return Rules((), "node authorizer does not support user rule resolution")

    def _by_rules(self, attributes: AccessAttributes) -> Decision:
        rules = self._rules
        if rules is None:
            from kube_core.auth.default_policy import cluster_role_rules  # a big table, needed once

            rules = self._rules = cluster_role_rules("system:node")
        return ALLOWED if any(allows(rule, attributes) for rule in rules) else NO_OPINION

    # -- what pods refer to ------------------------------------------------------------------------------------------

    @property
    def _known(self) -> _Graph:
        if self._graph is None:
            self._graph = _Graph(self._pods.list())
            self._pods.followers.append(self._graph.follow)
        return self._graph

    @property
    def _pods_of(self) -> Mapping[str, Mapping[Key, frozenset[Reference]]]:
        return self._known.nodes

    def _refers(self, node: str, plural: str, namespace: str, name: str) -> bool:
        return (node, namespace, plural, name) in self._known.counts

    def _related(self, node: str, *, found: bool) -> Decision:
        if found:
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _referred(self, node: str, asked: AccessAttributes) -> Decision:
        """Secrets and config maps: read by name, while a pod of the node needs them."""
        if asked.verb not in _READS:
            return _no("can only read resources of this type")
        if asked.subresource:
            return _no("cannot read subresource")
        if not asked.name:
            return _no("No Object name found")
        if not asked.namespace:
            return _no("can only read namespaced object of this type")
        found = self._refers(node, asked.resource, asked.namespace, asked.name)
        if not found and asked.resource == "secrets":
            found = any(self._volume_refers(volume, asked) for volume in self._volumes_of(node))
        return self._related(node, found=found)

    def _claim(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.subresource == "status":
            if asked.verb not in ("update", "patch"):
                return _no("can only get/update/patch this type")
        elif refusal := _only_gets(asked):
            return refusal
        found = self._refers(node, "persistentvolumeclaims", asked.namespace, asked.name)
        return self._related(node, found=found)

    def _volume(self, node: str, asked: AccessAttributes) -> Decision:
        if refusal := _only_gets(asked):
            return refusal
        found = any(volume.key.name == asked.name for volume in self._volumes_of(node))
        return self._related(node, found=found)

    def _volumes_of(self, node: str) -> Iterator[Stored]:
        """The volumes that are bound to the claims of a node's pods."""
        for key, references in self._pods_of.get(node, {}).items():
            for plural, name in references:
                claim = self._claims.get(Key(key.namespace, name)) if plural == "persistentvolumeclaims" else None
                bound = (claim.document.get("spec") or {}).get("volumeName") if claim is not None else None
                volume = self._volumes.get(Key("", bound)) if bound else None
                if volume is not None:
                    yield volume

    @staticmethod
    def _volume_refers(volume: Stored, asked: AccessAttributes) -> bool:
        return (asked.namespace, asked.name) in _volume_secrets(volume.document.get("spec") or {})

    def _account(self, node: str, asked: AccessAttributes) -> Decision:
        """A token for, or a look at, the service account of a pod of the node."""
        if asked.verb == "get" and not asked.subresource:
            return self._referred(node, asked)
        if asked.verb != "create" or not asked.name:
            return _no("can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        found = self._refers(node, "serviceaccounts", asked.namespace, asked.name)
        return self._related(node, found=found)

    def _resource_claim(self, node: str, asked: AccessAttributes) -> Decision:
        if refusal := _only_gets(asked):
            return refusal
        found = self._refers(node, "resourceclaims", asked.namespace, asked.name)
        return self._related(node, found=found)

    # -- what belongs to the node ------------------------------------------------------------------------------------

    def _node(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.verb in _READS and not asked.subresource:
            if asked.name == node:
                return ALLOWED
            which = f"'{asked.name}'" if asked.name else "all nodes"
            return _no(f"node '{node}' cannot read {which}, only its own Node object")
        writes = ("update", "patch") if asked.subresource == "status" else ("create", "update", "patch")
        # NodeRestriction sees that it is the node's own.
        return ALLOWED if asked.subresource in ("", "status") and asked.verb in writes else NO_OPINION

    def _pod(self, node: str, asked: AccessAttributes) -> Decision:
        verb, subresource = asked.verb, asked.subresource
        # What is written, and of whose pods, is NodeRestriction's matter.
        if (subresource, verb) in _POD_WRITES:
            return ALLOWED
        if subresource or verb not in _READS:
            return NO_OPINION
        if verb != "get" and exact_field(asked.field_selector, "spec.nodeName") == node:
            return ALLOWED
        if verb == "get" or asked.name:
            return self._related(node, found=Key(asked.namespace, asked.name) in self._pods_of.get(node, {}))
        return _no("can only list/watch pods with spec.nodeName field selector")

    def _attachment(self, node: str, asked: AccessAttributes) -> Decision:
        if refusal := _only_gets(asked):
            return refusal
        return self._related(node, found=self._names_node("storage.k8s.io", asked, "", node))

    def _certificate_request(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.subresource:
            return _no("nodes may not access the status subresource of PodCertificateRequests")
        if asked.verb == "create":
            return ALLOWED  # NodeRestriction sees for which pod
        if asked.verb == "get":
            found = self._names_node("certificates.k8s.io", asked, asked.namespace, node)
            return self._related(node, found=found)
        if asked.verb in ("list", "watch"):
            if exact_field(asked.field_selector, "spec.nodeName") == node:
                return ALLOWED
            return _no("can only list/watch podcertificaterequests with nodeName field selector")
        return _no(f"nodes may not {asked.verb} podcertificaterequests")

    def _names_node(self, group: str, asked: AccessAttributes, namespace: str, node: str) -> bool:
        """Whether the object that is asked for says that it is of the node."""
        found = self._cache.resource(GroupResource(group, asked.resource)).get(Key(namespace, asked.name))
        return found is not None and (found.document.get("spec") or {}).get("nodeName") == node

    def _csi_node(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.subresource == "status":
            return _no("CSINode status access requires CSIVolumeHealth feature")
        if asked.subresource:
            return _no("cannot authorize CSINode subresources")
        return self._own(node, asked, "a CSINode", "CSINode")

    def _lease(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.namespace != _LEASES and asked.verb in _OWN_VERBS:
            return _no(f'can only access leases in the "{_LEASES}" system namespace')
        return self._own(node, asked, "a node lease", "node lease")

    def _own(self, node: str, asked: AccessAttributes, one: str, plain: str) -> Decision:
        """Objects with the node's own name."""
        if asked.verb not in _OWN_VERBS:
            return _no(f"can only get, create, update, patch, or delete {one}")
        # A new object's name is in its body, which NodeRestriction sees.
        if asked.name == node or asked.verb == "create":
            return ALLOWED
        return _no(f"can only access {plain} with the same name as the requesting node")

    def _slice(self, node: str, asked: AccessAttributes) -> Decision:
        if asked.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if asked.verb == "create":
            return ALLOWED
        if asked.verb in ("get", "update", "patch", "delete"):
            return self._related(node, found=self._names_node("resource.k8s.io", asked, "", node))
        if asked.verb in ("list", "watch", "deletecollection"):
            if exact_field(asked.field_selector, "spec.nodeName") == node:
                return ALLOWED
            return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        verbs = "get, watch, list, create, update, patch, delete, deletecollection"
        return _no(f"only the following verbs are allowed for a ResourceSlice: {verbs}")


class _Graph:
    """What the pods of each node refer to: worked out anew only where a change can have made a difference."""

    def __init__(self, pods: Iterable[Stored]) -> None:
        self.nodes: dict[str, dict[Key, frozenset[Reference]]] = {}
        #: How many pods of a node refer to a thing, by node, namespace and reference: nothing of what none does.
        self.counts: dict[tuple[str, str, str, str], int] = {}
        self._known: dict[Key, tuple[object, ...]] = {}
        for pod in pods:
            self._put(pod)

    def follow(self, change: Change) -> None:
        if change.after is None:
            self._remove(change.key)
        else:
            self._put(change.after)

    def _put(self, pod: Stored) -> None:
        document = pod.document
        spec, status = document.get("spec") or {}, document.get("status") or {}
        node = spec.get("nodeName")
        # The rest of a pod's references does not change while it is bound to a node.
        mark = (
            node,
            document["metadata"].get("uid"),
            spec.get("ephemeralContainers"),
            status.get("resourceClaimStatuses"),
        )
        if self._known.get(pod.key) == mark:
            return
        self._remove(pod.key)
        if node:
            self._known[pod.key] = mark
            references = self.nodes.setdefault(node, {})[pod.key] = frozenset(_references(document))
            for plural, name in references:
                counted = (node, pod.key.namespace, plural, name)
                self.counts[counted] = self.counts.get(counted, 0) + 1

    def _remove(self, key: Key) -> None:
        known = self._known.pop(key, None)
        if known is None:
            return
        node = str(known[0])
        pods = self.nodes[node]
        for plural, name in pods.pop(key):
            counted = (node, key.namespace, plural, name)
            self.counts[counted] -= 1
            if not self.counts[counted]:
                del self.counts[counted]
        if not pods:
            del self.nodes[node]


def _references(pod: Document) -> Iterator[Reference]:
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", spec["serviceAccountName"]
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name", "")
    for list_name in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(list_name) or ():
            yield from _container_references(container)
    for volume in spec.get("volumes") or ():
        yield from _volume_references(pod, volume)
    for status in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if status.get("resourceClaimName"):
            yield "resourceclaims", status["resourceClaimName"]
    for claim in spec.get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield "resourceclaims", claim["resourceClaimName"]


def _container_references(container: Document) -> Iterator[Reference]:
    for source in container.get("envFrom") or ():
        yield from _named(source, "secretRef", "secrets")
        yield from _named(source, "configMapRef", "configmaps")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield from _named(source, "secretKeyRef", "secrets")
        yield from _named(source, "configMapKeyRef", "configmaps")


def _volume_references(pod: Document, volume: Document) -> Iterator[Reference]:
    if claim := volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", claim.get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod['metadata']['name']}-{volume['name']}"
    yield from _named(volume, "configMap", "configmaps")
    if secret := volume.get("secret"):
        yield "secrets", secret.get("secretName", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _named(source, "secret", "secrets")
        yield from _named(source, "configMap", "configmaps")
    for kind in ("csi", "cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        held = volume.get(kind) or {}
        for field in ("nodePublishSecretRef", "secretRef"):
            yield from _named(held, field, "secrets")
    if azure := volume.get("azureFile"):
        yield "secrets", azure.get("secretName", "")


def _named(source: Document, field: str, plural: str) -> Iterator[Reference]:
    reference = source.get(field)
    if reference and reference.get("name"):
        yield plural, reference["name"]


def _volume_secrets(spec: Document) -> Iterator[tuple[str, str]]:
    """The secrets that a persistent volume's source names, with their namespaces."""
    claim = spec.get("claimRef") or {}
    for source in spec.values():
        if not isinstance(source, Mapping):
            continue
        for field in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef", "secretRef"):
            if reference := source.get(field):
                yield reference.get("namespace") or claim.get("namespace", ""), reference.get("name", "")
        if isinstance(source.get("secretName"), str):
            yield source.get("secretNamespace") or claim.get("namespace", ""), source["secretName"]


def _only_gets(asked: AccessAttributes) -> Decision | None:
    """Why a read is none of a single object."""
    if asked.verb != "get":
        return _no("can only get individual resources of this type")
    if asked.subresource:
        return _no("cannot get subresource")
    return None if asked.name else _no("No Object name found")


def _no(reason: str) -> Decision:
    return Decision(Verdict.NO_OPINION, reason)
