"""Write `docs/compatibility.md`: what of Kubernetes is there, partial or absent.

    python scripts/generate_compatibility.py            write the page
    python scripts/generate_compatibility.py --check    say whether it is what the script gives

Whether a verb or subresource is answered, and whether a controller, an admission plugin or a scheduler plugin is
there, is asked of a running server and of what is installed. What cannot be asked is said in the tables below, in
words; each names the one thing that is missing. What became of the community's conformance tests is read from the
file that `tests/conformance/run.py --record` keeps. `tests/meta/test_docs.py` holds the page to this script.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import attrs

from kube_core.abc.transport import Request, Response, User
from kube_core.api.descriptors import builtin_descriptors, builtin_groups
from kube_core.api.types import ResourceDescriptor, ResourceType
from kube_core.cluster import Cluster
from kube_core.plugins import GROUP, PluginHost

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
CONFORMANCE = ROOT / "tests" / "conformance" / "results.json"
DONE, PARTIAL, ABSENT = "done", "partial", "absent"

#: Every controller of upstream's controller manager and cloud controller manager, and what it is for.
CONTROLLERS: Mapping[str, str] = {
    "certificatesigningrequest-approving-controller": "approves the requests of nodes",
    "certificatesigningrequest-cleaner-controller": "removes old requests",
    "certificatesigningrequest-signing-controller": "signs approved requests",
    "clusterrole-aggregation-controller": "fills aggregated roles",
    "cronjob-controller": "makes Jobs on a schedule",
    "daemonset-controller": "runs a pod on each node",
    "deployment-controller": "rolls out ReplicaSets",
    "device-taint-eviction-controller": "evicts users of tainted devices",
    "disruption-controller": "keeps the status of PodDisruptionBudgets",
    "endpoints-controller": "keeps Endpoints",
    "endpointslice-controller": "keeps EndpointSlices",
    "endpointslice-mirroring-controller": "mirrors hand-made Endpoints",
    "cloud-node-controller": "says of new nodes what the cloud knows of them",
    "cloud-node-lifecycle-controller": "removes nodes whose machines are gone",
    "ephemeral-volume-controller": "makes claims for ephemeral volumes",
    "garbage-collector-controller": "deletes what has lost its owners",
    "horizontal-pod-autoscaler-controller": "scales by metrics",
    "job-controller": "runs pods to completion",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller": "publishes the server's CA as a trust bundle",
    "legacy-serviceaccount-token-cleaner-controller": "removes tokens in Secrets that nobody uses",
    "namespace-controller": "empties namespaces that go",
    "node-ipam-controller": "gives nodes their pod ranges (those of this program come with theirs)",
    "node-lifecycle-controller": "marks and taints nodes that went silent",
    "node-route-controller": "has the cloud lead pod ranges to nodes",
    "persistentvolume-attach-detach-controller": "attaches volumes to nodes",
    "persistentvolume-binder-controller": "binds claims, and provisions volumes",
    "persistentvolume-expander-controller": "grows volumes",
    "persistentvolume-protection-controller": "keeps volumes that are bound",
    "persistentvolumeclaim-protection-controller": "keeps claims that are used",
    "pod-garbage-collector-controller": "removes pods of nodes that are gone, and old ended ones",
    "podcertificaterequest-cleaner-controller": "removes old requests of pods",
    "replicaset-controller": "keeps the number of pods",
    "replicationcontroller-controller": "the same for ReplicationControllers",
    "resourceclaim-controller": "makes claims of devices for pods",
    "resourcequota-controller": "counts what quotas limit",
    "root-ca-certificate-publisher-controller": "puts the CA into each namespace",
    "service-cidr-controller": "keeps ranges of service addresses that are used",
    "service-lb-controller": "has the cloud make load balancers",
    "serviceaccount-controller": "makes the default service account",
    "serviceaccount-token-controller": "fills Secrets that hold tokens",
    "statefulset-controller": "runs pods with names and volumes of their own",
    "storage-version-migrator-controller": "rewrites stored objects",
    "taint-eviction-controller": "evicts pods that do not tolerate a taint",
    "ttl-controller": "says on nodes how long objects may be remembered",
    "ttl-after-finished-controller": "deletes finished Jobs",
    "validatingadmissionpolicy-status-controller": "checks the types of policies",
    "volumeattributesclass-protection-controller": "keeps classes that are used",
    "bootstrap-signer-controller": "signs cluster-info for new nodes (runs where it is named, as upstream)",
    "token-cleaner-controller": "removes expired bootstrap tokens (runs where it is named, as upstream)",
    "selinux-warning-controller": "warns of volumes with two SELinux labels (off by default upstream)",
    "podgroup-protection-controller": "keeps PodGroups that are used (its API is not served by default)",
    "resourcepoolstatusrequest-controller": "answers for pools of devices (its API is not served by default)",
    "storageversion-garbage-collector-controller": "removes old StorageVersions (their API is not served by default)",
}
#: What of that the server does itself, without a controller that one could switch off.
CONTROLLERS_BUILT_IN = ("service-cidr-controller", "serviceaccount-token-controller")

#: Upstream's admission plugins that are on by default.
ADMISSION_PLUGINS = (
    "NamespaceLifecycle", "LimitRanger", "ServiceAccount", "TaintNodesByCondition", "PodSecurity", "Priority",
    "DefaultTolerationSeconds", "DefaultStorageClass", "StorageObjectInUseProtection", "PersistentVolumeClaimResize",
    "RuntimeClass", "CertificateApproval", "CertificateSigning", "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction", "DefaultIngressClass", "PodTopologyLabels", "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota",
)  # fmt: skip

#: Upstream's default scheduler plugins.
SCHEDULER_PLUGINS = (
    "SchedulingGates", "PrioritySort", "NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity", "NodePorts",
    "NodeResourcesFit", "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone", "PodTopologySpread",
    "InterPodAffinity", "DynamicResources", "DefaultPreemption", "NodeResourcesBalancedAllocation", "ImageLocality",
    "DefaultBinder",
)  # fmt: skip
#: What the scheduler does itself, without a plugin that one could replace.
SCHEDULER_BUILT_IN = {"PrioritySort": "the queue orders by priority, then by age"}

#: Who acts on a resource: controllers, admission plugins and scheduler plugins. Where one is missing the resource is
#: stored, validated and watched, and nothing more happens.
ACTED_ON_BY: Mapping[str, Sequence[str]] = {
    "daemonsets.apps": ["daemonset-controller"],
    "statefulsets.apps": ["statefulset-controller"],
    "deployments.apps": ["deployment-controller"],
    "replicasets.apps": ["replicaset-controller"],
    "replicationcontrollers": ["replicationcontroller-controller"],
    "jobs.batch": ["job-controller", "ttl-after-finished-controller"],
    "cronjobs.batch": ["cronjob-controller"],
    "horizontalpodautoscalers.autoscaling": ["horizontal-pod-autoscaler-controller"],
    "poddisruptionbudgets.policy": ["disruption-controller"],
    "endpoints": ["endpoints-controller", "endpointslice-mirroring-controller"],
    "endpointslices.discovery.k8s.io": ["endpointslice-controller"],
    "limitranges": ["LimitRanger"],
    "clusterroles.rbac.authorization.k8s.io": ["clusterrole-aggregation-controller"],
    "resourcequotas": ["ResourceQuota", "resourcequota-controller"],
    "namespaces": ["namespace-controller", "NamespaceLifecycle"],
    "serviceaccounts": ["serviceaccount-controller", "ServiceAccount"],
    "persistentvolumes": ["persistentvolume-binder-controller", "persistentvolume-protection-controller"],
    "persistentvolumeclaims": [
        "persistentvolume-binder-controller",
        "persistentvolumeclaim-protection-controller",
        "persistentvolume-expander-controller",
    ],
    "ingressclasses.networking.k8s.io": ["DefaultIngressClass"],
    "volumeattachments.storage.k8s.io": ["persistentvolume-attach-detach-controller"],
    "volumeattributesclasses.storage.k8s.io": ["volumeattributesclass-protection-controller"],
    "storageclasses.storage.k8s.io": ["DefaultStorageClass"],
    "priorityclasses.scheduling.k8s.io": ["Priority"],
    "runtimeclasses.node.k8s.io": ["RuntimeClass"],
    "certificatesigningrequests.certificates.k8s.io": [
        "certificatesigningrequest-approving-controller",
        "certificatesigningrequest-signing-controller",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
    ],
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": ["MutatingAdmissionWebhook"],
    "validatingwebhookconfigurations.admissionregistration.k8s.io": ["ValidatingAdmissionWebhook"],
    "mutatingadmissionpolicies.admissionregistration.k8s.io": ["MutatingAdmissionPolicy"],
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": ["MutatingAdmissionPolicy"],
    "validatingadmissionpolicies.admissionregistration.k8s.io": ["ValidatingAdmissionPolicy"],
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": ["ValidatingAdmissionPolicy"],
    "deviceclasses.resource.k8s.io": ["DynamicResources"],
    "devicetaintrules.resource.k8s.io": ["DynamicResources", "device-taint-eviction-controller"],
    "resourceclaims.resource.k8s.io": ["DynamicResources", "resourceclaim-controller"],
    "resourceclaimtemplates.resource.k8s.io": ["resourceclaim-controller"],
    "resourceslices.resource.k8s.io": ["DynamicResources"],
    "storageversionmigrations.storagemigration.k8s.io": ["storage-version-migrator-controller"],
}

#: What cannot be asked of the program: said by hand.
GAPS: Mapping[str, str] = {
    "componentstatuses": "always an empty list",
    "networkpolicies.networking.k8s.io": "stored; no network driver enforces them",
    "csidrivers.storage.k8s.io": "stored; volumes come from volume drivers",
    "csinodes.storage.k8s.io": "stored; nodes make none",
    "csistoragecapacities.storage.k8s.io": "stored; the scheduler does not read them",
}

#: Outside resources. (what, state, what to know)
BY_HAND: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "Authentication and authorisation": [
        ("client certificates", DONE, "of the cluster's own CA"),
        ("service account tokens", DONE, "bound to pods, with audiences; issuer and keys are published"),
        ("OpenID Connect, static and bootstrap tokens, front proxies, webhooks", DONE, ""),
        ("Node authorizer", DONE, ""),
        ("audit", DONE, ""),
        ("encryption at rest", DONE, "`aesgcm`, `aescbc`, `secretbox` and `kms` (v2)"),
    ],
    "Nodes": [
        ("registration, leases, capacity, conditions", DONE, ""),
        ("nodes that are processes of their own", DONE, "`kube-core node`; certificates are renewed"),
        ("init containers, sidecars, restart policies with back-off", DONE, ""),
        ("readiness, liveness and startup probes", DONE, "HTTP, TCP, exec and gRPC"),
        ("volumes", DONE, "configMap, secret, downwardAPI, projected, emptyDir, hostPath, claims, images; `fsGroup`"),
        ("certificates for pods", DONE, "asked for and renewed, by simulated nodes too"),
        ("`postStart` and `preStop`", DONE, ""),
        ("logs, exec, attach, port-forward", DONE, "over WebSocket and SPDY"),
        ("container images from a registry", DONE, "by `oci`; of `process` an image is a folder, or the host"),
        ("security contexts, namespaces, cgroups, limits", DONE, "by `oci`; of `process` users and groups alone"),
        ("users of a pod's own (`hostUsers: false`)", DONE, "by `oci` as root; containers without root are absent"),
        ("`hostPort`", DONE, "on the network `bridge`, by nftables"),
        ("two families of addresses", ABSENT, "a cluster has one range of pods and one of Services"),
        ("a file system of its own for each container", DONE, "by `oci`; of `process` by the path rule"),
        ("cluster DNS", ABSENT, "service environment variables are there"),
        ("resource metrics", DONE, "metrics.k8s.io; of `process` from `/proc`, of `fake` as it is told"),
        ("admission by the node", DONE, "room, host ports, selectors, taints, system controls, pressure"),
        ("ephemeral containers", DONE, "`kubectl debug`"),
        ("restart rules by exit code, restart of a whole pod", DONE, ""),
        ("resizing in place", DONE, "pods and containers; carried out by runtimes with cgroups, and by `fake`"),
        ("static pods", DONE, "with mirrors"),
        ("eviction under pressure", DONE, "where thresholds are set; processes are not counted by pod"),
        ("graceful shutdown, image garbage collection, log rotation", DONE, ""),
        ("device plugins, dynamic resources, CPU and memory managers, swap", ABSENT, ""),
    ],
    "Services and Ingress": [
        ("ClusterIP, NodePort, external addresses, session affinity", DONE, "TCP and UDP"),
        ("headless services", PARTIAL, "endpoints are there, DNS is not"),
        ("LoadBalancer", DONE, "an address of its own on loopback, or what a cloud driver gives"),
        ("Ingress with hosts and paths", DONE, "HTTP/1.1 and WebSocket"),
        ("Ingress with TLS", ABSENT, "the seam carries certificates, the driver does not use them"),
        ("Gateway API", ABSENT, "its kinds can be installed; nothing here acts on them"),
    ],
}  # fmt: skip


@attrs.frozen
class Found:
    """One line of the page."""

    what: str
    state: str
    note: str = ""


class Prober:
    """Asks a running server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.admin = User("prober", ("system:masters", "system:authenticated"))

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        user: User | None = None,
        **headers: str,
    ) -> Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            given.setdefault("content-type", "application/json")
        request = Request(method, path, tuple((query or {}).items()), given, body, user=user or self.admin)
        response = await self._cluster.server.handle(request)
        close = getattr(response.stream, "aclose", None)
        if close is not None:
            await close()
        return response

    async def answers(self, verb: str, resource: ResourceType, subresource: str = "") -> bool:
        """Whether a verb is answered by more than "not here". Changes nothing."""
        name = "kube-core-probe"
        at = resource.path("default" if resource.namespaced else "", name, subresource)
        collection = resource.path("default" if resource.namespaced else "")
        nothing = {"fieldSelector": f"metadata.name={name}"}
        dry = {"dryRun": "All"}
        ways: Mapping[str, Callable[[], Awaitable[Response]]] = {
            "get": lambda: self.ask("GET", at),
            "list": lambda: self.ask("GET", collection, nothing),
            "watch": lambda: self.ask("GET", collection, {**nothing, "watch": "1"}),
            "create": lambda: self.ask("POST", at if subresource else collection, dry, body=b"{}"),
            "update": lambda: self.ask("PUT", at, dry, body=b"{}"),
            "patch": lambda: self.ask("PATCH", at, dry, body=b"{}", content_type="application/merge-patch+json"),
            "delete": lambda: self.ask("DELETE", at, dry),
            "deletecollection": lambda: self.ask("DELETE", collection, {**nothing, **dry}),
        }
        response = await ways[verb]()
        if response.status in (405, 501):  # upstream answers 500 to a binding without a target, and so do we
            return False
        message = str((response.decoded() or {}).get("message", "")) if response.status == 404 else ""
        return message != "the server could not find the requested resource"


async def probe_api(prober: Prober, known: Asked) -> list[Found]:
    """The API's own features, each by asking for it."""
    pods, list_kind = "/api/v1/pods", "PodList"
    view = "application/json;as={};v=v1;g=meta.k8s.io"

    async def kind(path: str, query: Mapping[str, str] | None = None, accept: str = "*/*") -> str:
        response = await prober.ask("GET", path, query, accept=accept)
        document = response.decoded() if response.status == 200 and "json" in response.content_type else {}
        return str((document or {}).get("kind", ""))

    async def status(path: str, query: Mapping[str, str] | None = None, accept: str = "*/*") -> int:
        return (await prober.ask("GET", path, query, accept=accept)).status

    async def patched(content_type: str, body: bytes) -> bool:
        query = {"dryRun": "All", **({"fieldManager": "probe"} if "apply" in content_type else {})}
        path = "/api/v1/namespaces/default"
        return (await prober.ask("PATCH", path, query, body=body, content_type=content_type)).status == 200

    protobuf = "application/vnd.kubernetes.protobuf"
    applied = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default","labels":{"a":"b"}}}'
    asked: list[tuple[str, bool, str]] = [
        ("JSON and YAML", await kind(pods) == list_kind and await status(pods, accept="application/yaml") == 200, ""),
        ("protobuf in requests", await _reads_protobuf(prober), ""),
        ("protobuf in responses", await status(pods, accept=protobuf) == 200, ""),
        ("CBOR", await status(pods, accept="application/cbor") == 200, "off by default upstream too"),
        ("`Table`", await kind(pods, accept=view.format("Table")) == "Table", ""),
        (
            "`PartialObjectMetadata`",
            await kind(pods, accept=view.format("PartialObjectMetadataList")) == "PartialObjectMetadataList",
            "",
        ),
        ("label and field selectors", await status(pods, {"labelSelector": "a in (b)"}) == 200, ""),
        ("`limit` and `continue`", await status(pods, {"limit": "1"}) == 200, ""),
        ("watch, with bookmarks", await status(pods, {"watch": "1", "allowWatchBookmarks": "true"}) == 200, ""),
        (
            "watch lists (`sendInitialEvents`)",
            await status(
                pods,
                {
                    "watch": "1",
                    "sendInitialEvents": "true",
                    "resourceVersionMatch": "NotOlderThan",
                    "allowWatchBookmarks": "true",
                },
            )
            == 200,
            "",
        ),
        ("JSON patch", await patched("application/json-patch+json", b"[]"), ""),
        ("merge patch", await patched("application/merge-patch+json", b"{}"), ""),
        ("strategic merge patch", await patched("application/strategic-merge-patch+json", b"{}"), ""),
        ("server-side apply", await patched("application/apply-patch+yaml", applied), ""),
        ("dry run", await _dry_runs(prober), ""),
        ("discovery", await kind("/apis") == "APIGroupList", ""),
        (
            "aggregated discovery",
            await kind("/apis", accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
            == "APIGroupDiscoveryList",
            "",
        ),
        ("OpenAPI v2", await status("/openapi/v2") == 200, ""),
        ("OpenAPI v3", await status("/openapi/v3") == 200, ""),
        ("`/version`, `/healthz`, `/livez`, `/readyz`", await status("/readyz") == 200, ""),
        ("`/metrics`", await status("/metrics") == 200, ""),
        ("custom resources", known.custom_resources, "definitions are stored, and no more"),
        ("custom resources: rules in CEL", known.custom_resources, ""),
        ("custom resources: limits on the cost of rules", True, ""),
        ("custom resources: `format` in rules", True, ""),
        ("custom resources: conversion by webhooks", known.custom_resources, ""),
        ("RBAC", known.rbac, "roles are stored, and no more"),
        ("aggregated API servers", True, ""),
        ("impersonation", await _impersonates(prober), "the headers are ignored"),
        ("API priority and fairness", True, ""),
    ]
    return [Found(what, DONE, "") if there else Found(what, ABSENT, note) for what, there, note in asked]


async def _reads_protobuf(prober: Prober) -> bool:
    # An empty message of the right kind: what matters is that it is not refused as a media type (415).
    body = b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x00"
    response = await prober.ask(
        "POST",
        "/api/v1/namespaces",
        {"dryRun": "All"},
        body=body,
        content_type="application/vnd.kubernetes.protobuf",
        accept="application/json",
    )
    return response.status in (201, 422)


async def _dry_runs(prober: Prober) -> bool:
    path = "/api/v1/namespaces"
    made = await prober.ask("POST", path, {"dryRun": "All"}, body=b'{"metadata":{"name":"kube-core-probe"}}')
    return made.status == 201 and (await prober.ask("GET", f"{path}/kube-core-probe")).status == 404


async def _serves_custom_resources(prober: Prober) -> bool:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    definition = (
        b'{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",'
        b'"metadata":{"name":"probes.kube-core.test"},"spec":{"group":"kube-core.test","scope":"Cluster",'
        b'"names":{"plural":"probes","singular":"probe","kind":"Probe"},"versions":[{"name":"v1","served":true,'
        b'"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}'
    )
    await prober.ask("POST", path, body=definition)
    try:
        return await _becomes(prober, "/apis/kube-core.test/v1/probes", prober.admin)
    finally:
        await prober.ask("DELETE", f"{path}/probes.kube-core.test")


async def _obeys_roles(prober: Prober) -> bool:
    """Whether a user who may nothing may read pods once a role says so."""
    group = "/apis/rbac.authorization.k8s.io/v1"
    role = b'{"metadata":{"name":"probe"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]}'
    binding = (
        b'{"metadata":{"name":"probe"},"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"probed"}],'
        b'"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"probe"}}'
    )
    user = User("probed", ("system:authenticated",))
    if (await prober.ask("GET", "/api/v1/pods", user=user)).status != 403:
        return False
    await prober.ask("POST", f"{group}/clusterroles", body=role)
    await prober.ask("POST", f"{group}/clusterrolebindings", body=binding)
    return await _becomes(prober, "/api/v1/pods", user)


async def _becomes(prober: Prober, path: str, user: User) -> bool:
    """Whether a path is answered, soon: controllers may have to act first."""
    for _ in range(150):
        if (await prober.ask("GET", path, user=user)).status == 200:
            return True
        await asyncio.sleep(0.02)
    return False


async def _impersonates(prober: Prober) -> bool:
    response = await prober.ask("GET", "/api/v1/pods", impersonate_user="nobody")
    return response.status == 403


@attrs.frozen
class Asked:
    """What several parts of the page want to know."""

    there: set[str]
    """Controllers, admission plugins and scheduler plugins."""
    custom_resources: bool
    rbac: bool


def missing_for(descriptor: ResourceDescriptor, asked: Asked) -> list[str]:
    """What a resource lacks, in words."""
    name = _resource_name(descriptor)
    found = [f"no {needed}" for needed in ACTED_ON_BY.get(name, ()) if needed not in asked.there]
    if name in GAPS:
        found.append(GAPS[name])
    if descriptor.type.group == "rbac.authorization.k8s.io" and not asked.rbac:
        found.append("stored; not asked when a request is authorised")
    if descriptor.type.group == "apiextensions.k8s.io" and not asked.custom_resources:
        found.append("stored; the resources that they define are not served")
    return found


async def resource_rows(prober: Prober, asked: Asked) -> dict[str, list[str]]:
    """Table rows by group."""
    rows: dict[str, list[str]] = {}
    for descriptor in builtin_descriptors():
        resource = descriptor.type
        verbs = [(verb, await prober.answers(verb, resource)) for verb in descriptor.verbs]
        subresources = []
        for subresource in descriptor.subresources:
            answered = subresource.name != "proxy" or await _proxies(prober, resource)
            answered = answered and await prober.answers(subresource.verbs[0], resource, subresource.name)
            subresources.append((subresource.name, answered))
        lacks = missing_for(descriptor, asked)
        lacks += [f"{verb} is not answered" for verb, answered in verbs if not answered]
        lacks += [f"no {name} subresource" for name, answered in subresources if not answered]
        state = DONE if not lacks else PARTIAL
        if not any(answered for _, answered in verbs):
            state = ABSENT
        cells = (
            f"{resource.plural} ({resource.version})",
            _verbs([verb for verb, answered in verbs if answered]),
            ", ".join(name for name, answered in subresources if answered),
            state,
            "; ".join(lacks),
        )
        rows.setdefault(resource.group, []).append(_row(cells))
    return rows


async def _proxies(prober: Prober, resource: ResourceType) -> bool:
    """Whether `proxy` is the way to a server, and not to the object itself."""
    if resource.plural == "services":
        # It has no such port: who says so has looked where to go.
        response = await prober.ask("GET", resource.path("default", "kubernetes:99", "proxy"))
        return response.status == 503 and "no service port 99" in (response.decoded() or {}).get("message", "")
    # There is neither a pod nor a node here to ask for: they go the way of services.
    return await _proxies(prober, _SERVICES)


async def page() -> str:
    """The whole page."""
    # Ours alone: what else is installed on a machine is none of this page's business.
    ours = [point for point in entry_points(group=GROUP) if point.dist is not None and point.dist.name == "kube-core"]
    host = PluginHost.from_entry_points(ours)
    controllers = {spec.name for spec in host.controllers()}
    admission = [spec.name for spec in host.admission()]
    scheduler = [spec.name for spec in host.scheduler_plugins()]
    async with Cluster(nodes=0, listen=False, host=host) as cluster:
        # The server is ready once its default roles are there, which nobody's start waits for.
        await cluster.settled()
        prober = Prober(cluster)
        asked = Asked(
            {*controllers, *admission, *scheduler}, await _serves_custom_resources(prober), await _obeys_roles(prober)
        )
        rows = await resource_rows(prober, asked)
        features = await probe_api(prober, asked)
    lines = [
        "# Compatibility",
        "",
        "<!-- Generated by scripts/generate_compatibility.py: do not edit. -->",
        "",
        "What is there of Kubernetes v1.37, by what a running server answers and what is installed. **done**: as",
        "upstream documents it, as far as our tests know. **partial**: something is missing, and the last column says",
        "what. **absent**: not there.",
        "",
        "## The API",
        "",
        *_table(features),
        "",
        "## Resources",
        "",
        "Every resource is validated, defaulted, stored and watched, and has upstream's columns. A controller that is",
        "missing means that nothing acts on it. *All verbs* are create, delete, deletecollection, get, list, patch,",
        "update and watch.",
        "",
    ]
    for group in builtin_groups():
        lines += [f"### {group.name or 'core'}", "", _row(_HEADS), _row(["---"] * len(_HEADS)), *rows[group.name], ""]
    for title, found in BY_HAND.items():
        lines += [f"## {title}", "", *_table(Found(*each) for each in found), ""]
    lines += [
        "## Controllers",
        "",
        *_table(
            Found(
                name,
                DONE if name in controllers or name in CONTROLLERS_BUILT_IN else ABSENT,
                CONTROLLERS.get(name, "not upstream's") + (" (here the server does)" * (name in CONTROLLERS_BUILT_IN)),
            )
            for name in _with(CONTROLLERS, sorted(controllers))
        ),
        "",
        "## Admission plugins",
        "",
        *_table(Found(name, DONE if name in admission else ABSENT) for name in _with(ADMISSION_PLUGINS, admission)),
        "",
        "## Scheduler plugins",
        "",
        *_table(
            Found(
                name,
                DONE if name in scheduler or name in SCHEDULER_BUILT_IN else ABSENT,
                SCHEDULER_BUILT_IN.get(name, ""),
            )
            for name in _with(SCHEDULER_PLUGINS, scheduler)
        ),
        "",
        *conformance(json.loads(CONFORMANCE.read_text())),
    ]
    return "\n".join(lines) + "\n"


def conformance(tests: Sequence[Mapping[str, str]]) -> list[str]:
    """The community's tests: how many pass, by the group that owns them, and each of the others."""
    total = Counter(test["state"] for test in tests)
    owners: dict[str, Counter[str]] = {}
    for test in tests:
        owner = re.match(r"\[(sig-[a-z-]+)\]", test["name"])
        owners.setdefault(owner[1] if owner else "other", Counter())[test["state"]] += 1
    heads = ("owner", "tests", *_OUTCOMES)
    counted = [*sorted(owners.items()), ("all", total)]
    others = [test for test in tests if test["state"] != "passed"]
    return [
        "## Conformance tests",
        "",
        f"Of the {len(tests)} tests that the community's suite marks `[Conformance]`, {total['passed']} passed when",
        "they last ran, against clusters of two nodes with real containers. They did not all run at once, nor at one",
        "revision of this program: what counts for each test is its last run. This is no certificate.",
        "",
        _row(heads),
        _row(["---"] * len(heads)),
        *(
            _row((name, str(states.total()), *(str(states[outcome]) for outcome in _OUTCOMES)))
            for name, states in counted
        ),
        "",
        *(["Those that did not pass:", "", _row(_WHYS), _row(["---"] * len(_WHYS))] if others else []),
        *(
            _row(
                (
                    _unmarked(test["name"]),
                    test["state"],
                    test.get("kind", ""),
                    test.get("reason") or _UNEXPLAINED[test["state"]],
                )
            )
            for test in others
        ),
    ]


def _unmarked(name: str) -> str:
    """A test's name without the marks behind it, and with no link in Markdown's eyes."""
    return "`" + re.sub(r"(?: \[(?!sig-)[^]]*\])+$", "", name) + "`"


_OUTCOMES = ("passed", "failed", "not run")
_WHYS = ("test", "state", "kind", "why")
_UNEXPLAINED = {"failed": "not yet known", "not run": ""}
_SERVICES = ResourceType("", "v1", "Service", "services", True)
_HEADS = ("resource", "verbs", "subresources", "state", "what is missing")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def _with(upstream: Iterable[str], installed: Iterable[str]) -> list[str]:
    """Upstream's names, and after them those that only we have."""
    return list(dict.fromkeys((*upstream, *installed)))


def _verbs(verbs: Sequence[str]) -> str:
    return "all" if set(verbs) == set(_ALL) else ", ".join(sorted(verbs))


def _resource_name(descriptor: ResourceDescriptor) -> str:
    return f"{descriptor.type.plural}.{descriptor.type.group}" if descriptor.type.group else descriptor.type.plural


def _table(found: Iterable[Found]) -> list[str]:
    return [_row(("", "state", "")), _row(["---"] * 3), *(_row((each.what, each.state, each.note)) for each in found)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    text = asyncio.run(page())
    if "--check" in sys.argv:
        if PAGE.exists() and PAGE.read_text() == text:
            return 0
        print("docs/compatibility.md is stale: run scripts/generate_compatibility.py", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
