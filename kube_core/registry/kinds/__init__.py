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
        "namespaces": "namespaces:NamespaceStrategy",
        "nodes": "nodes:NodeStrategy",
        "persistentvolumeclaims": "storage.claims:ClaimStrategy",
        "persistentvolumes": "storage.volumes:VolumeStrategy",
        "pods": "pods.strategy:PodStrategy",
        "podtemplates": "workloads.pod_templates:PodTemplateStrategy",
        "replicationcontrollers": "workloads.replicas:ReplicationControllerStrategy",
        "secrets": "config:SecretStrategy",
        "serviceaccounts": "accounts:ServiceAccountStrategy",
        "services": "services.strategy:ServiceStrategy",
    },
    "apps": {
        "controllerrevisions": "workloads.pod_templates:ControllerRevisionStrategy",
        "daemonsets": "workloads.daemonsets:DaemonSetStrategy",
        "deployments": "workloads.deployments:DeploymentStrategy",
        "replicasets": "workloads.replicas:ReplicaSetStrategy",
        "statefulsets": "workloads.statefulsets:StatefulSetStrategy",
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
    "storage.k8s.io": {
        "storageclasses": "storage.classes:StorageClassStrategy",
        "volumeattributesclasses": "storage.classes:VolumeAttributesClassStrategy",
    },
}


def strategy_for(descriptor: ResourceDescriptor, context: ValidationContext = UPSTREAM) -> Strategy:
    """The strategy of a built-in resource."""
    found = _STRATEGIES.get(descriptor.type.group, {}).get(descriptor.type.plural, "builtin:BuiltinStrategy")
    module, _, name = found.partition(":")
    strategy: Strategy = getattr(importlib.import_module(f"{__name__}.{module}"), name)(descriptor, context)
    return strategy
