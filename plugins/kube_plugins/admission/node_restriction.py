"""NodeRestriction: what a node may write, of what the Node authorizer lets it write at all.

A node writes its own Node, without the labels and taints that others rely on; its own Lease, CSINode and
ResourceSlices; mirror pods of its own, and the status of pods that are bound to it, but not what it says of claims;
how large a claim has become; it deletes only those pods. It gets tokens and certificates only for pods that run on it,
and tokens only for audiences that their volumes name, unless it has the verb `request-serviceaccounts-token-audience`.
It asks for certificates of its own only in its own name. Mirrors upstream's plugin of this name (documented under
"Admission Control" and "Using Node Authorization"), which also judges before the object is validated. Nobody else is
concerned.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from kube_core.abc.transport import User
from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.api.resources import NODES, PODS, SERVICE_ACCOUNTS
from kube_core.meta.documents import Document, Key
from kube_core.meta.equality import same
from kube_core.meta.status import Forbidden, InternalError, forbidden, not_found
from kube_core.registry.context import Attributes, Operation
from kube_plugins.admission.pod_references import first_reference, names_audience

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
#: What a pod's status says of its claims, and how upstream calls it.
_CLAIM_STATUS: Final = {
    "resourceClaimStatuses": "resource claim statues",
    "extendedResourceClaimStatus": "extended resource claim status",
    "nodeAllocatableResourceClaimStatuses": "node allocatable resource claim statuses",
}
#: What a node says in the status of a claim.
_CLAIM_FIELDS: Final = ("capacity", "conditions", "allocatedResourceStatuses", "allocatedResources")
_SIGNERS: Final = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
_LEASES: Final = "kube-node-lease"
_OWN_PREFIXES: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(AdmissionPlugin):
    name: ClassVar[str] = "NodeRestriction"
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "UPDATE", "DELETE"})
    resources: ClassVar[frozenset[str]] = frozenset(
        {
            "pods",
            "nodes",
            "persistentvolumeclaims",
            "serviceaccounts",
            "leases",
            "csinodes",
            "resourceslices",
            "certificatesigningrequests",
            "podcertificaterequests",
        }
    )

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._checks: Mapping[tuple[str, str], Callable[[Attributes, str], None]] = {
            ("", "pods"): self._pod,
            ("", "nodes"): self._node,
            ("", "persistentvolumeclaims"): self._claim,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("certificates.k8s.io", "certificatesigningrequests"): self._signing_request,
        }

    async def mutate(self, attributes: Attributes) -> None:
        node = _node_of(attributes.user)
        if not node:
            return
        group, plural = attributes.resource.group, attributes.resource.plural
        if (group, plural) == ("", "serviceaccounts"):
            await self._account(attributes, node)
        elif (group, plural) == ("certificates.k8s.io", "podcertificaterequests"):
            await self._pod_certificate(attributes, node)
        elif (check := self._checks.get((group, plural))) is not None:
            check(attributes, node)

    # -- pods --------------------------------------------------------------------------------------------------------

    def _pod(self, attributes: Attributes, node: str) -> None:
        if attributes.subresource == "status":
            self._pod_status(attributes, node)
        elif attributes.subresource == "eviction":
            pod = self.context.reader.get(PODS, attributes.key)
            if pod is None:
                raise not_found(PODS.group_resource, attributes.key.name)
            if _node_name(pod) != node:
                raise _refused(attributes, f"node {node} can only evict pods with spec.nodeName set to itself")
        elif attributes.subresource:
            why = f"unexpected pod subresource \"{attributes.subresource}\", only 'status' and 'eviction' are allowed"
            raise _refused(attributes, why)
        elif attributes.operation == "CREATE":
            self._new_pod(attributes, node)
        elif attributes.operation == "DELETE":
            if _node_name(attributes.old) != node:
                raise _refused(attributes, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            why = f'unexpected operation "{attributes.operation}", node "{node}" can only create and delete mirror pods'
            raise _refused(attributes, why)

    def _pod_status(self, attributes: Attributes, node: str) -> None:
        old, new = attributes.old or {}, attributes.object or {}
        if _node_name(old) != node:
            why = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
            raise _refused(attributes, why)
        if _labels(old) != _labels(new):
            raise _refused(attributes, f'node "{node}" cannot update labels through pod status')
        before, after = old.get("status") or {}, new.get("status") or {}
        for field, called in _CLAIM_STATUS.items():
            if not same(before.get(field) or None, after.get(field) or None):
                raise _refused(attributes, f'node "{node}" cannot update {called}')

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
        if len(owners) > 1:
            why = f'node "{node}" can only create pods with a single owner reference set to itself'
            raise _refused(attributes, why)
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise _refused(attributes, f'node "{node}" can only create pods with an owner reference set to itself')
        if not owner.get("controller"):
            why = f'node "{node}" can only create pods with a controller owner reference set to itself'
            raise _refused(attributes, why)
        if owner.get("blockOwnerDeletion"):
            why = f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            raise _refused(attributes, why)
        own = self.context.reader.get(NODES, Key("", node))
        if own is None:
            raise not_found(NODES.group_resource, node)
        if owner.get("uid") != own["metadata"]["uid"]:
            why = f"node {node} UID mismatch: expected {owner.get('uid')} got {own['metadata']['uid']}"
            raise _refused(attributes, why)
        if named := first_reference(pod):
            raise _refused(attributes, f'node "{node}" can not create pods that reference {named}')

    def _claim(self, attributes: Attributes, node: str) -> None:
        """How large the volume behind a claim is, and what is still to be done about it."""
        if attributes.subresource != "status":
            raise _refused(attributes, "may only update PVC status")
        if attributes.operation != "UPDATE":
            raise _refused(attributes, f'unexpected operation "{attributes.operation}"')
        if not same(_without_sizes(attributes.old), _without_sizes(attributes.object)):
            why = f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
            raise _refused(attributes, why)

    # -- the node's own objects --------------------------------------------------------------------------------------

    def _node(self, attributes: Attributes, node: str) -> None:
        name = attributes.key.name
        if name != node:
            raise _refused(attributes, f'node "{node}" is not allowed to modify node "{name}"')
        if attributes.operation == "DELETE" or attributes.object is None:
            return  # the Node authorizer allows none
        old, new = attributes.old or {}, attributes.object
        changed = _changed_labels(_labels(old), _labels(new))
        source = (new.get("spec") or {}).get("configSource")
        if attributes.operation == "CREATE":
            if source is not None:
                why = f'node "{node}" is not allowed to create pods with a non-nil configSource'
                raise _refused(attributes, why)
            if forbidden_ones := sorted(filter(_is_forbidden, changed)):
                why = f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden_ones)}'
                raise _refused(attributes, why)
            return
        if source is not None and source != (old.get("spec") or {}).get("configSource"):
            why = f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
            raise _refused(attributes, why)
        if (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints"):
            raise _refused(attributes, f'node "{node}" is not allowed to modify taints')
        if old.get("metadata", {}).get("ownerReferences") != new["metadata"].get("ownerReferences"):
            raise _refused(attributes, f'node "{node}" is not allowed to modify ownerReferences')
        if forbidden_ones := sorted(filter(_is_forbidden, changed)):
            raise _refused(attributes, f"is not allowed to modify labels: {', '.join(forbidden_ones)}")

    def _lease(self, attributes: Attributes, node: str) -> None:
        if attributes.key.namespace != _LEASES:
            raise _refused(attributes, f'can only access leases in the "{_LEASES}" system namespace')
        # The Node authorizer has looked at names in the path; a new object's is in the body.
        if attributes.key.name != node:
            raise _refused(attributes, "can only access node lease with the same name as the requesting node")

    def _csi_node(self, attributes: Attributes, node: str) -> None:
        if attributes.key.name != node:
            raise _refused(attributes, "can only access CSINode with the same name as the requesting node")

    def _slice(self, attributes: Attributes, node: str) -> None:
        if attributes.operation == "UPDATE":
            return  # the Node authorizer has looked at the object that there is
        document = attributes.object if attributes.operation == "CREATE" else attributes.old
        if _node_name(document) != node:
            verb = "create" if attributes.operation == "CREATE" else "delete"
            raise _refused(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")

    def _signing_request(self, attributes: Attributes, node: str) -> None:
        spec = (attributes.object or {}).get("spec") or {}
        if attributes.operation != "CREATE" or spec.get("signerName") not in _SIGNERS:
            return
        wanted = f"{_PREFIX}{node}"
        try:
            name = _common_name(base64.b64decode(spec.get("request") or ""))
        except ValueError as error:
            raise _refused(attributes, f"unable to parse csr: {error}") from None
        if name != wanted:
            raise _refused(attributes, f"can only create a node CSR with CN={wanted}")

    # -- on behalf of its pods ---------------------------------------------------------------------------------------

    async def _account(self, attributes: Attributes, node: str) -> None:
        if attributes.operation != "CREATE" or attributes.subresource != "token":
            return
        spec: Mapping[str, Any] = (attributes.object or {}).get("spec") or {}
        bound: Mapping[str, Any] = spec.get("boundObjectRef") or {}
        if bound.get("kind") != "Pod" or bound.get("apiVersion") != "v1" or not bound.get("name"):
            raise _refused(attributes, "node requested token not bound to a pod")
        if not bound.get("uid"):
            raise _refused(attributes, "node requested token with a pod binding without a uid")
        pod = self.context.reader.get(PODS, Key(attributes.key.namespace, str(bound["name"])))
        if pod is None:
            raise not_found(PODS.group_resource, str(bound["name"]))
        if pod["metadata"]["uid"] != bound["uid"]:
            why = (
                f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record. The object "
                "might have been deleted and then recreated"
            )
            raise _refused(attributes, why)
        if _node_name(pod) != node:
            raise _refused(attributes, "node requested token bound to a pod scheduled on a different node")
        await self._audience(attributes, pod, list(spec.get("audiences") or ()))

    async def _audience(self, attributes: Attributes, pod: Document, audiences: Sequence[str]) -> None:
        if len(audiences) > 1:
            raise _refused(attributes, "node may only request 0 or 1 audiences")
        audience = audiences[0] if audiences else ""
        try:
            if names_audience(pod, audience, self.context.reader):
                return
        except LookupError as error:
            raise _refused(attributes, f'error validating audience "{audience}": {error}') from None
        if not await self._may(attributes, "request-serviceaccounts-token-audience", audience, attributes.key.name):
            user = attributes.user.name
            raise _refused(attributes, f'{user} is not authorized to request tokens for audience "{audience}"')

    async def _pod_certificate(self, attributes: Attributes, node: str) -> None:
        """Only for pods that run on the node, as they are now, and for signers that they or somebody else names."""
        if attributes.operation != "CREATE":
            raise _refused(attributes, f"unexpected operation {attributes.operation}")
        if attributes.subresource:
            raise _refused(attributes, f"unexpected subresource {attributes.subresource}")
        spec, namespace = (attributes.object or {}).get("spec") or {}, attributes.key.namespace
        name, account = spec.get("podName", ""), spec.get("serviceAccountName", "")
        whole = f'pod "{namespace}/{name}"'
        if spec.get("nodeName") != node:
            why = f'PodCertificateRequest.Spec.NodeName="{spec.get("nodeName", "")}", which is not the requesting node'
            raise _refused(attributes, f'{why} "{node}"')
        reader, about = self.context.reader, f"PodCertificateRequest for {whole}"
        _same_object(reader.get(NODES, Key("", node)), spec.get("nodeUID"), f'{about} names node "{node}"')
        pod = reader.get(PODS, Key(namespace, name))
        pod = _same_object(pod, spec.get("podUID"), f"{about} names {whole}")
        if _node_name(pod) != node:
            why = f'{whole} is not running on node "{node}" named in the PodCertificateRequest'
            raise _refused(attributes, why)
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            raise _refused(attributes, f"{whole} is a mirror pod")
        running = (pod.get("spec") or {}).get("serviceAccountName") or ""
        if account != running:
            why = f'{about} contains serviceAccountName ("{account}") that differs from running pod ("{running}")'
            raise _refused(attributes, why)
        found = reader.get(SERVICE_ACCOUNTS, Key(namespace, account))
        _same_object(found, spec.get("serviceAccountUID"), f'{about} names service account "{account}"')
        signer = spec.get("signerName", "")
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        sources = [each for volume in volumes for each in (volume.get("projected") or {}).get("sources") or ()]
        if any((each.get("podCertificate") or {}).get("signerName") == signer for each in sources):
            return
        # No role can name a resource with a slash in it.
        resource = signer.replace("/", ":")
        if not await self._may(attributes, "request-serviceaccounts-podcertificate-signer", resource, account):
            why = f'{whole} does not mount a podCertificate projected volume for signer "{signer}"'
            raise _refused(attributes, why)

    async def _may(self, attributes: Attributes, verb: str, resource: str, name: str) -> bool:
        from kube_core.cel.authorizer import Question  # few pods want such a certificate

        question = Question(
            verb,
            group=attributes.resource.group,
            resource=resource,
            namespace=attributes.key.namespace,
            name=name,
        )
        return (await self.context.permissions.answer(attributes.user, question)).allowed


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


def _without_sizes(claim: Document | None) -> dict[str, Any]:
    """A claim without what its node may say of it, and without what no client writes."""
    document = dict(claim or {})
    unread = ("resourceVersion", "managedFields")
    metadata = {name: value for name, value in (document.get("metadata") or {}).items() if name not in unread}
    status = {name: value for name, value in (document.get("status") or {}).items() if name not in _CLAIM_FIELDS}
    return {**document, "metadata": metadata, "status": status}


def _common_name(request: bytes) -> str:
    """Of a request (PEM). Raises ValueError."""
    # Takes a while to import, and hardly any server ever sees such a request.
    from cryptography import x509

    names = x509.load_pem_x509_csr(request).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def _same_object(found: Document | None, uid: Any, what: str) -> Document:
    """An object that is there, as it was when the node saw it. What is not yet here may be on its way: not refused."""
    if found is None:
        raise InternalError(f"{what}, which was not found")
    if found["metadata"]["uid"] != uid:
        raise InternalError(f"{what} by another UID ({uid}) than it has ({found['metadata']['uid']})")
    return found


def _refused(attributes: Attributes, why: str) -> Forbidden:
    return forbidden(attributes.resource.group_resource, attributes.key.name, why)
