"""The built-in admission plugins, one module each; `admission_specs` lists them in upstream's order."""

from __future__ import annotations

from collections.abc import Iterable

from kube_core.admission.chain import AdmissionSpec
from kube_core.hookspecs import hookimpl
from kube_plugins.admission.certificate_signers import (
    CertificateApproval,
    CertificateSigning,
    ClusterTrustBundleAttest,
)
from kube_plugins.admission.certificate_subject import CertificateSubjectRestriction
from kube_plugins.admission.claim_resize import PersistentVolumeClaimResize
from kube_plugins.admission.default_ingress_class import DefaultIngressClass
from kube_plugins.admission.default_storage_class import DefaultStorageClass
from kube_plugins.admission.default_tolerations import DefaultTolerationSeconds
from kube_plugins.admission.limit_ranger import LimitRanger
from kube_plugins.admission.namespace_lifecycle import NamespaceLifecycle
from kube_plugins.admission.node_restriction import NodeRestriction
from kube_plugins.admission.pod_security import PodSecurity
from kube_plugins.admission.policies.mutating import MutatingAdmissionPolicy
from kube_plugins.admission.policies.validating import ValidatingAdmissionPolicy
from kube_plugins.admission.priority import Priority
from kube_plugins.admission.resource_quota import ResourceQuota
from kube_plugins.admission.runtime_class import RuntimeClass
from kube_plugins.admission.service_account import ServiceAccount
from kube_plugins.admission.storage_protection import StorageObjectInUseProtection
from kube_plugins.admission.taint_nodes import TaintNodesByCondition
from kube_plugins.admission.webhooks.mutating import MutatingAdmissionWebhook
from kube_plugins.admission.webhooks.validating import ValidatingAdmissionWebhook

__all__ = ["kube_core_admission"]

_PLUGINS = (
    NamespaceLifecycle,
    LimitRanger,
    ServiceAccount,
    NodeRestriction,
    TaintNodesByCondition,
    PodSecurity,
    Priority,
    DefaultTolerationSeconds,
    DefaultStorageClass,
    StorageObjectInUseProtection,
    PersistentVolumeClaimResize,
    RuntimeClass,
    CertificateApproval,
    CertificateSigning,
    ClusterTrustBundleAttest,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
    ResourceQuota,
)


@hookimpl
def kube_core_admission() -> Iterable[AdmissionSpec]:
    return [AdmissionSpec(plugin.name, plugin) for plugin in _PLUGINS]
