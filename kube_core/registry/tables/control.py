"""What governs a cluster: access, admission, certificates, flow control, scheduling classes, leases, API services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.documents import Document, name_of
from kube_core.registry.tables.cells import NONE, UNSET, age_of, duration, selector_text, spec_of, status_of
from kube_core.registry.tables.columns import AGE, NAME, Printer, column, wide

__all__ = ["PRINTERS"]

_NOTHING: Mapping[str, Any] = {}


def _role_binding(document: Document, now: float) -> list[Any]:
    role = document.get("roleRef") or _NOTHING
    names: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in document.get("subjects") or ():
        name, kind = subject.get("name", ""), subject.get("kind")
        if kind == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        if kind in names:
            names[kind].append(name)
    return [
        name_of(document),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age_of(document, now),
        *(", ".join(found) for found in names.values()),
    ]


def _webhooks(document: Document, now: float) -> list[Any]:
    return [name_of(document), len(document.get("webhooks") or ()), age_of(document, now)]


def _admission_policy(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    parameter = spec.get("paramKind")
    kind = f"{parameter.get('apiVersion', '')}/{parameter.get('kind', '')}" if parameter else UNSET
    steps = len(spec.get("validations") or spec.get("mutations") or ())
    return [name_of(document), steps, kind, age_of(document, now)]


def _admission_policy_binding(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    reference = spec.get("paramRef")
    text = UNSET
    if reference and reference.get("name"):
        text = "/".join(part for part in (reference.get("namespace"), reference["name"]) if part)
    elif reference and reference.get("selector") is not None:
        text = selector_text(reference["selector"])
    return [name_of(document), spec.get("policyName", ""), text, age_of(document, now)]


def _signing_request(document: Document, now: float) -> list[Any]:
    spec, status = spec_of(document), status_of(document)
    kinds = {condition.get("type") for condition in status.get("conditions") or ()}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    lifetime = spec.get("expirationSeconds")
    return [
        name_of(document),
        age_of(document, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if lifetime is None else duration(lifetime),
        state,
    ]


def _trust_bundle(document: Document, _now: float) -> list[Any]:
    return [name_of(document), spec_of(document).get("signerName", "")]


def _flow_schema(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    dangling = next(
        (item.get("status", "") for item in status_of(document).get("conditions") or () if item["type"] == "Dangling"),
        "?",
    )
    return [
        name_of(document),
        (spec.get("priorityLevelConfiguration") or _NOTHING).get("name", ""),
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or _NOTHING).get("type") or NONE,
        age_of(document, now),
        dangling,
    ]


def _priority_level(document: Document, now: float) -> list[Any]:
    spec = spec_of(document)
    limits = spec.get("limited")
    shares: Any = NONE
    queuing: Mapping[str, Any] = _NOTHING
    if limits:
        shares = limits.get("nominalConcurrencyShares") or 0
        queuing = (limits.get("limitResponse") or _NOTHING).get("queuing") or _NOTHING
    return [
        name_of(document),
        spec.get("type", ""),
        shares,
        *(queuing.get(field, 0) if queuing else NONE for field in ("queues", "handSize", "queueLengthLimit")),
        age_of(document, now),
    ]


def _priority_class(document: Document, now: float) -> list[Any]:
    return [
        name_of(document),
        document.get("value") or 0,
        bool(document.get("globalDefault")),
        age_of(document, now),
        document.get("preemptionPolicy") or "",
    ]


def _runtime_class(document: Document, now: float) -> list[Any]:
    return [name_of(document), document.get("handler", ""), age_of(document, now)]


def _lease(document: Document, now: float) -> list[Any]:
    return [name_of(document), spec_of(document).get("holderIdentity") or "", age_of(document, now)]


def _api_service(document: Document, now: float) -> list[Any]:
    service = spec_of(document).get("service")
    conditions = status_of(document).get("conditions") or ()
    available = next((item for item in conditions if item.get("type") == "Available"), None)
    state = "Unknown"
    if available is not None:
        state = available.get("status", "")
        if state != "True" and available.get("reason"):
            state += f" ({available['reason']})"
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    return [name_of(document), where, state, age_of(document, now)]


_RBAC, _ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
_BINDING = Printer((NAME, column("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")), _role_binding)
_WEBHOOKS = Printer((NAME, column("Webhooks", "integer"), AGE), _webhooks)
_POLICY_BINDING = Printer((NAME, column("PolicyName"), column("ParamRef"), AGE), _admission_policy_binding)


def _version_migration(document: Document, _now: float) -> list[Any]:
    resource = spec_of(document).get("resource") or _NOTHING
    return [name_of(document), ".".join(part for part in (resource.get("resource"), resource.get("group")) if part)]


PRINTERS = {
    ("storagemigration.k8s.io", "StorageVersionMigration"): Printer(
        (column("Name"), column("Resource")), _version_migration
    ),
    (_RBAC, "RoleBinding"): _BINDING,
    (_RBAC, "ClusterRoleBinding"): _BINDING,
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): Printer(
        (NAME, column("Validations", "integer"), column("ParamKind"), AGE), _admission_policy
    ),
    (_ADMISSION, "MutatingAdmissionPolicy"): Printer(
        (NAME, column("Mutations", "integer"), column("ParamKind"), AGE), _admission_policy
    ),
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): _POLICY_BINDING,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): _POLICY_BINDING,
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer(
        (NAME, AGE, column("SignerName"), column("Requestor"), column("RequestedDuration"), column("Condition")),
        _signing_request,
    ),
    ("certificates.k8s.io", "ClusterTrustBundle"): Printer((NAME, column("SignerName")), _trust_bundle),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Printer(
        (NAME, column("PriorityLevel"), column("MatchingPrecedence"), column("DistinguisherMethod"), AGE,
         column("MissingPL")),
        _flow_schema,
    ),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Printer(
        (NAME, column("Type"), column("NominalConcurrencyShares"), column("Queues"), column("HandSize"),
         column("QueueLengthLimit"), AGE),
        _priority_level,
    ),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        (NAME, column("Value", "integer"), column("Global-Default", "boolean"), AGE, column("PreemptionPolicy")),
        _priority_class,
    ),
    ("node.k8s.io", "RuntimeClass"): Printer((NAME, column("Handler"), AGE), _runtime_class),
    ("coordination.k8s.io", "Lease"): Printer((NAME, column("Holder"), AGE), _lease),
    ("apiregistration.k8s.io", "APIService"): Printer(
        (NAME, column("Service"), column("Available"), AGE), _api_service
    ),
}  # fmt: skip
