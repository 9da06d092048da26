"""The strategies of the built-in kinds: one short module a kind or family.

`strategy_for` is all that the rest of the server needs. A kind's module is imported when its strategy is first asked
for, since a server that starts needs few of them at once.

What does not belong here: anything that reads or writes the store; whatever is the same for all kinds.
"""

from __future__ import annotations

import importlib

from kube_core.api.types import ResourceDescriptor
from kube_core.registry.kinds.rules import UPSTREAM, ValidationContext
from kube_core.registry.strategy import Strategy

__all__ = ["ValidationContext", "strategy_for"]

#: By group, then plural name: module and class within this package.
_STRATEGIES: dict[str, dict[str, str]] = {
    "": {
        "configmaps": "config:ConfigMapStrategy",
        "endpoints": "endpoints:EndpointsStrategy",
        "events": "events:EventStrategy",
        "limitranges": "quotas:LimitRangeStrategy",
        "namespaces": "namespaces:NamespaceStrategy",
        "nodes": "nodes:NodeStrategy",
        "persistentvolumeclaims": "storage.claims:ClaimStrategy",
        "persistentvolumes": "storage.volumes:VolumeStrategy",
        "pods": "pods.strategy:PodStrategy",
        "podtemplates": "workloads.pod_templates:PodTemplateStrategy",
        "replicationcontrollers": "workloads.replicas:ReplicationControllerStrategy",
        "resourcequotas": "quotas:ResourceQuotaStrategy",
        "secrets": "config:SecretStrategy",
        "serviceaccounts": "accounts:ServiceAccountStrategy",
        "services": "services.strategy:ServiceStrategy",
    },
    "admissionregistration.k8s.io": {
        "mutatingadmissionpolicies": "admission.policies:MutatingPolicyStrategy",
        "mutatingadmissionpolicybindings": "admission.policies:MutatingBindingStrategy",
        "mutatingwebhookconfigurations": "admission.webhooks:MutatingWebhookStrategy",
        "validatingadmissionpolicies": "admission.policies:ValidatingPolicyStrategy",
        "validatingadmissionpolicybindings": "admission.policies:ValidatingBindingStrategy",
        "validatingwebhookconfigurations": "admission.webhooks:ValidatingWebhookStrategy",
    },
    "apiextensions.k8s.io": {
        "customresourcedefinitions": "definitions.strategy:DefinitionStrategy",
    },
    "apiregistration.k8s.io": {
        "apiservices": "api_services:APIServiceStrategy",
    },
    "apps": {
        "controllerrevisions": "workloads.pod_templates:ControllerRevisionStrategy",
        "daemonsets": "workloads.daemonsets:DaemonSetStrategy",
        "deployments": "workloads.deployments:DeploymentStrategy",
        "replicasets": "workloads.replicas:ReplicaSetStrategy",
        "statefulsets": "workloads.statefulsets:StatefulSetStrategy",
    },
    "autoscaling": {
        "horizontalpodautoscalers": "autoscaling:AutoscalerStrategy",
    },
    "batch": {
        "cronjobs": "batch.cronjobs:CronJobStrategy",
        "jobs": "batch.jobs:JobStrategy",
    },
    "certificates.k8s.io": {
        "certificatesigningrequests": "certificates:SigningRequestStrategy",
        "clustertrustbundles": "certificates:ClusterTrustBundleStrategy",
        "podcertificaterequests": "pod_certificates:PodCertificateStrategy",
    },
    "coordination.k8s.io": {
        "leases": "accounts:LeaseStrategy",
    },
    "discovery.k8s.io": {
        "endpointslices": "endpoints:EndpointSliceStrategy",
    },
    "events.k8s.io": {
        "events": "events:NewEventStrategy",
    },
    "flowcontrol.apiserver.k8s.io": {
        "flowschemas": "flow_control:FlowSchemaStrategy",
        "prioritylevelconfigurations": "flow_control:PriorityLevelStrategy",
    },
    "networking.k8s.io": {
        "ingressclasses": "networking.ingresses:IngressClassStrategy",
        "ingresses": "networking.ingresses:IngressStrategy",
        "ipaddresses": "networking.addresses:IPAddressStrategy",
        "networkpolicies": "networking.policies:NetworkPolicyStrategy",
        "servicecidrs": "networking.addresses:ServiceCIDRStrategy",
    },
    "node.k8s.io": {
        "runtimeclasses": "runtime_classes:RuntimeClassStrategy",
    },
    "policy": {
        "poddisruptionbudgets": "policy:DisruptionBudgetStrategy",
    },
    "rbac.authorization.k8s.io": {
        "clusterrolebindings": "rbac:ClusterRoleBindingStrategy",
        "clusterroles": "rbac:ClusterRoleStrategy",
        "rolebindings": "rbac:RoleBindingStrategy",
        "roles": "rbac:RoleStrategy",
    },
    "resource.k8s.io": {
        "deviceclasses": "devices.claims:DeviceClassStrategy",
        "devicetaintrules": "devices.slices:TaintRuleStrategy",
        "resourceclaims": "devices.claims:ClaimStrategy",
        "resourceclaimtemplates": "devices.claims:ClaimTemplateStrategy",
        "resourceslices": "devices.slices:SliceStrategy",
    },
    "scheduling.k8s.io": {
        "priorityclasses": "policy:PriorityClassStrategy",
    },
    "storagemigration.k8s.io": {
        "storageversionmigrations": "storage_versions:MigrationStrategy",
    },
    "storage.k8s.io": {
        "csidrivers": "storage.drivers:DriverStrategy",
        "csinodes": "storage.drivers:NodeStrategy",
        "csistoragecapacities": "storage.drivers:CapacityStrategy",
        "storageclasses": "storage.classes:StorageClassStrategy",
        "volumeattachments": "storage.drivers:AttachmentStrategy",
        "volumeattributesclasses": "storage.classes:VolumeAttributesClassStrategy",
    },
}
#: Where an older version of a kind has a form of its own: by group, version and plural name.
_OLD_FORMS: dict[tuple[str, str, str], str] = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): "autoscaling:OldAutoscalerStrategy",
}


def strategy_for(descriptor: ResourceDescriptor, context: ValidationContext = UPSTREAM) -> Strategy:
    """The strategy of a built-in resource."""
    kind = descriptor.type
    found = _OLD_FORMS.get((kind.group, kind.version, kind.plural))
    found = found or _STRATEGIES.get(kind.group, {}).get(kind.plural, "builtin:BuiltinStrategy")
    module, _, name = found.partition(":")
    strategy: Strategy = getattr(importlib.import_module(f"{__name__}.{module}"), name)(descriptor, context)
    return strategy
