"""Which empty values upstream's types keep: what its OpenAPI does not say, and clients see.

A built-in object is written as its type in the source language dictates: an empty text, `0`, `false`, an empty list
or map is left out of most fields, but kept where the field distinguishes it from nothing (`hostUsers: false`), and
some fields are always written (`status.replicas: 0`, a condition's `lastTransitionTime: null`).

The published schemas tell part of it: a `default` of `{}`, `""` or `0` marks a field that is always written. This
module holds the rest, as rules by field name with exceptions by `Type.field`. It is data; `decoding.py` applies it.
"""

from __future__ import annotations

from typing import Final

__all__ = ["always_null", "always_zero", "is_written", "keeps_empty_list", "keeps_zero", "owner_of"]


def owner_of(schema: str) -> str:
    """How this module names the type of a schema (`io.k8s.api.core.v1.PodSpec`): by its last part."""
    name = schema.rpartition(".")[2]
    return f"discovery.{name}" if name == "EndpointPort" and ".discovery." in schema else name


def keeps_zero(owner: str, field: str, kind: str) -> bool:
    """Whether an optional scalar of type `owner` (`PodSpec`) is kept when it is `false`, `0` or empty.

    `kind` is the schema's type: `boolean`, `integer`, `number` or `string`.
    """
    place = f"{owner}.{field}"
    match kind:
        case "boolean":
            return field not in _PLAIN_FLAGS or place in _KEPT_FLAGS
        case "integer" | "number":
            return field not in _PLAIN_NUMBERS or place in _KEPT_NUMBERS
    return place in _KEPT_TEXT_PLACES or (field in _KEPT_TEXTS and place not in _PLAIN_TEXTS)


def keeps_empty_list(owner: str, field: str) -> bool:
    """Whether a list with nothing in it is something else than no list."""
    return f"{owner}.{field}" in _KEPT_LISTS


def always_null(owner: str, field: str, *, required: bool, kind: str, ref: str) -> bool:
    """Whether a field is written as `null` when there is nothing: some times, lists and references."""
    if ref in ("Time", "MicroTime"):
        return field in _NULL_TIMES and f"{owner}.{field}" not in _ABSENT_TIMES
    if kind == "array":
        return required or f"{owner}.{field}" in _NULL_LISTS
    return f"{owner}.{field}" in _NULL_REFERENCES


def always_zero(owner: str, field: str) -> str | None:
    """The quantity that an optional field of this type shows when there is none, or None."""
    return "0" if f"{owner}.{field}" in _ZERO_QUANTITIES else None


def is_written(owner: str, field: str) -> bool:
    """Whether the schema's default of a field is written where there is no value (nearly always)."""
    return field not in _UNWRITTEN or owner not in _UNWRITTEN[field]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLAIN_FLAGS: Final = frozenset(
    [
        "authenticated",
        "chapAuthDiscovery",
        "chapAuthSession",
        "clusterScope",
        "denied",
        "deprecated",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "globalDefault",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "insecureSkipTLSVerify",
        "nullable",
        "paused",
        "publishNotReadyAddresses",
        "readOnly",
        "sslEnabled",
        "stdin",
        "stdinOnce",
        "tty",
        "uniqueItems",
        "unschedulable",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "preserveUnknownFields",
    ]
)
_ZERO_QUANTITIES: Final = frozenset(("ResourceFieldSelector.divisor", "DeviceCapacity.value", "Counter.value"))
_KEPT_LISTS: Final = frozenset(
    # Rules are stored as none where there are none, by their strategy: whoever sent an empty list owns it all the same.
    ("HPAScalingRules.policies", "CustomResourceDefinitionSpec.versions", "ClusterRole.rules", "Role.rules")
)
_KEPT_FLAGS: Final = frozenset({"CSIVolumeSource.readOnly"})

_PLAIN_NUMBERS: Final = frozenset(
    [
        "active",
        "availableReplicas",
        "code",
        "count",
        "currentReplicas",
        "deprecatedCount",
        "failed",
        "failureThreshold",
        "fullyLabeledReplicas",
        "generation",
        "healthCheckNodePort",
        "hostPort",
        "initialDelaySeconds",
        "minReadySeconds",
        "nodePort",
        "number",
        "numberAvailable",
        "numberUnavailable",
        "observedGeneration",
        "partition",
        "periodSeconds",
        "readyReplicas",
        "replicas",
        "retryAfterSeconds",
        "signal",
        "sizeBytes",
        "succeeded",
        "successThreshold",
        "timeoutSeconds",
        "unavailableReplicas",
        "updatedNumberScheduled",
        "updatedReplicas",
        "priority",
    ]
)
_KEPT_NUMBERS: Final = frozenset(
    {
        "ClientIPConfig.timeoutSeconds",
        "DeploymentSpec.replicas",
        "HorizontalPodAutoscalerStatus.observedGeneration",
        "MutatingWebhook.timeoutSeconds",
        "PodSpec.priority",
        "ReplicaSetSpec.replicas",
        "ReplicationControllerSpec.replicas",
        "RollingUpdateStatefulSetStrategy.partition",
        "StatefulSetSpec.replicas",
        "ValidatingWebhook.timeoutSeconds",
        "VolumeNodeResources.count",
    }
)

_KEPT_TEXTS: Final = frozenset(
    [
        "apiGroup",
        "appProtocol",
        "completionMode",
        "currentVolumeAttributesClassName",
        "distinctAttribute",
        "externalMetricName",
        "failedIndexes",
        "failurePolicy",
        "fsGroupChangePolicy",
        "fsGroupPolicy",
        "gmsaCredentialSpec",
        "gmsaCredentialSpecName",
        "holderIdentity",
        "hostnameOverride",
        "ingressClassName",
        "initiatorName",
        "internalTrafficPolicy",
        "ipFamilyPolicy",
        "ipMode",
        "loadBalancerClass",
        "localhostProfile",
        "managedBy",
        "matchAttribute",
        "matchPolicy",
        "mountPropagation",
        "nodeAffinityPolicy",
        "nodeTaintsPolicy",
        "parameterNotFoundAction",
        "pathType",
        "persistentVolumeName",
        "podGroupName",
        "podReplacementPolicy",
        "preemptionPolicy",
        "preferredHolder",
        "procMount",
        "propagationPolicy",
        "reclaimPolicy",
        "recursiveReadOnly",
        "reinvocationPolicy",
        "resourceClaimName",
        "resourceClaimTemplateName",
        "runAsUserName",
        "runtimeClassName",
        "scope",
        "seLinuxChangePolicy",
        "secretNamespace",
        "selectPolicy",
        "shareID",
        "sideEffects",
        "stopSignal",
        "succeededIndexes",
        "supplementalGroupsPolicy",
        "timeZone",
        "trafficDistribution",
        "unhealthyPodEvictionPolicy",
        "url",
        "volumeAttributesClassName",
        "volumeBindingMode",
        "volumeMode",
    ]
)
_KEPT_TEXT_PLACES: Final = frozenset(
    {
        "CSIVolumeSource.fsType",
        "ClusterTrustBundleProjection.name",
        "ClusterTrustBundleProjection.signerName",
        "Container.restartPolicy",
        "CustomResourceDefinitionVersion.deprecationWarning",
        "Device.nodeName",
        "DeviceAttribute.string",
        "DeviceAttribute.version",
        "DeviceClassSpec.extendedResourceName",
        "DeviceTaintSelector.device",
        "DeviceTaintSelector.driver",
        "DeviceTaintSelector.pool",
        "Endpoint.hostname",
        "Endpoint.nodeName",
        "Endpoint.zone",
        "EndpointAddress.nodeName",
        "discovery.EndpointPort.name",
        "discovery.EndpointPort.protocol",
        "EphemeralContainer.restartPolicy",
        "GlusterfsPersistentVolumeSource.endpointsNamespace",
        "HostPathVolumeSource.type",
        "IngressClassParametersReference.namespace",
        "IngressPortStatus.error",
        "LeaseSpec.strategy",
        "LocalVolumeSource.fsType",
        "NetworkPolicyPort.protocol",
        "PersistentVolumeClaimSpec.storageClassName",
        "PodDNSConfigOption.value",
        "PodFailurePolicyOnExitCodesRequirement.containerName",
        "PortStatus.error",
        "Preconditions.resourceVersion",
        "Preconditions.uid",
        "ResourceSliceSpec.nodeName",
        "ServiceReference.path",
        "TypedObjectReference.namespace",
        "Validation.reason",
    }
)
#: Named like fields that keep an empty text elsewhere.
_PLAIN_TEXTS: Final = frozenset(
    {
        "JobStatus.completedIndexes",
        "MutatingAdmissionPolicySpec.reinvocationPolicy",
        "ResourceClaimConsumerReference.apiGroup",
        "Subject.apiGroup",
    }
)

#: By field, the types that leave it out when it has its default.
_UNWRITTEN: Final = {
    "minReadySeconds": frozenset({"ReplicationControllerSpec"}),
    # A reference by name, in its own type or within another.
    "name": _words(
        "LocalObjectReference ConfigMapEnvSource ConfigMapKeySelector ConfigMapProjection ConfigMapVolumeSource "
        "SecretEnvSource SecretKeySelector SecretProjection"
    ),
}

_NULL_TIMES: Final = frozenset(
    [
        "deprecatedFirstTimestamp",
        "deprecatedLastTimestamp",
        "eventTime",
        "expirationTimestamp",
        "finishedAt",
        "firstTimestamp",
        "lastHeartbeatTime",
        "lastObservedTime",
        "lastProbeTime",
        "lastTimestamp",
        "lastTransitionTime",
        "lastUpdateTime",
        "startedAt",
        "time",
    ]
)
_ABSENT_TIMES: Final = frozenset({"ManagedFieldsEntry.time"})
_NULL_LISTS: Final = frozenset(
    {
        "CSINodeDriver.topologyKeys",
        "ClusterRole.rules",
        "DeviceClaim.requests",
        "EndpointSlice.endpoints",
        "EndpointSlice.ports",
        "HorizontalPodAutoscalerStatus.currentMetrics",
        "ResourcePolicyRule.namespaces",
        "Role.rules",
    }
)
_NULL_REFERENCES: Final = frozenset(
    {
        "TokenRequestSpec.boundObjectRef",
        "TypedLocalObjectReference.apiGroup",
        "TypedObjectReference.apiGroup",
    }
)
