"""The plugin: refuses pods that the `enforce` level of their namespace forbids, warns by its `warn` level.

Mirrors upstream's plugin of this name, documented under "Pod Security Admission". Workloads are only warned about:
their pods will be refused. A namespace that raises its `enforce` level is told which of its pods would be refused now.
Updates of a pod that change nothing of what is checked are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kube_core.admission.chain import AdmissionPlugin
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import forbidden, invalid
from kube_core.registry.context import Attributes
from kube_plugins.admission.pod_security.checks import Violation, violations
from kube_plugins.admission.pod_security.policy import LEVELS, Policy, label_errors, policy_of

__all__ = ["PodSecurity"]

_NAMESPACES = ResourceType("", "v1", "Namespace", "namespaces", False)
_PODS = ResourceType("", "v1", "Pod", "pods", True)
#: Where the pod of a workload is described.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "cronjobs": ("spec", "jobTemplate", "spec", "template"),
    "daemonsets": ("spec", "template"),
    "deployments": ("spec", "template"),
    "jobs": ("spec", "template"),
    "podtemplates": ("template",),
    "replicasets": ("spec", "template"),
    "replicationcontrollers": ("spec", "template"),
    "statefulsets": ("spec", "template"),
}


class PodSecurity(AdmissionPlugin):
    name: ClassVar[str] = "PodSecurity"
    resources: ClassVar[frozenset[str]] = frozenset(("pods", "namespaces", *_TEMPLATES))

    async def validate(self, attributes: Attributes) -> None:
        if attributes.object is None or attributes.subresource not in ("", "ephemeralcontainers"):
            return
        if attributes.resource.plural == "namespaces":
            self._namespace(attributes, attributes.object)
        elif attributes.resource.plural == "pods":
            self._pod(attributes, attributes.object)
        else:
            self._workload(attributes, attributes.object)

    def _pod(self, attributes: Attributes, pod: Document) -> None:
        old = attributes.old
        if old is not None and _checked(pod) == _checked(old):
            return
        labels = self._labels(attributes.key.namespace)
        policy = policy_of(labels, "enforce")
        found = _violations(policy, pod)
        if found:
            why = f'violates PodSecurity "{policy}": {_shown(found)}'
            raise forbidden(attributes.resource.group_resource, attributes.key.name, why)
        self._warn(attributes, policy_of(labels, "warn"), pod)

    def _workload(self, attributes: Attributes, document: Document) -> None:
        template: Any = document
        for name in _TEMPLATES[attributes.resource.plural]:
            template = (template or {}).get(name)
        if template and template.get("spec"):
            self._warn(attributes, policy_of(self._labels(attributes.key.namespace), "warn"), template)

    @staticmethod
    def _warn(attributes: Attributes, policy: Policy, pod: Document) -> None:
        found = _violations(policy, pod)
        if found:
            attributes.warnings.append(f'would violate PodSecurity "{policy}": {_shown(found)}')

    def _namespace(self, attributes: Attributes, namespace: Document) -> None:
        labels = namespace["metadata"].get("labels") or {}
        old = attributes.old
        before = (old["metadata"].get("labels") or {}) if old is not None else {}
        if old is not None and labels == before:
            return
        # What was wrong already is not this write's fault.
        known = set(map(str, label_errors(before)))
        errors = [error for error in label_errors(labels) if str(error) not in known]
        if errors:
            raise invalid(attributes.resource.group_kind, attributes.key.name, errors)
        policy, previous = policy_of(labels, "enforce"), policy_of(before, "enforce")
        if old is not None and (policy.version != previous.version or _is_stricter(policy, previous)):
            self._warn_of_pods(attributes, policy)

    def _warn_of_pods(self, attributes: Attributes, policy: Policy) -> None:
        by_reason: dict[str, list[str]] = {}
        name = attributes.key.name
        for pod in self.context.reader.list(_PODS, name):
            found = _violations(policy, pod)
            if found:
                by_reason.setdefault(", ".join(each.reason for each in found), []).append(pod["metadata"]["name"])
        if not by_reason:
            return
        attributes.warnings.append(
            f'existing pods in namespace "{name}" violate the new PodSecurity enforce level "{policy}"'
        )
        attributes.warnings += sorted(_of_pods(names, reason) for reason, names in by_reason.items())

    def _labels(self, namespace: str) -> Mapping[str, str]:
        found = self.context.reader.get(_NAMESPACES, Key("", namespace))
        labels: Mapping[str, str] = (found["metadata"].get("labels") or {}) if found is not None else {}
        return labels


def _violations(policy: Policy, pod: Document) -> list[Violation]:
    return violations(policy.level, pod["spec"], (pod.get("metadata") or {}).get("annotations") or {})


def _checked(pod: Document) -> tuple[Any, ...]:
    """The part of a pod that checks look at: images, deadlines and tolerations may change freely."""
    spec = {name: value for name, value in pod["spec"].items() if name not in ("tolerations", "activeDeadlineSeconds")}
    for field in ("containers", "initContainers", "ephemeralContainers"):
        spec[field] = [
            {name: value for name, value in each.items() if name != "image"} for each in spec.get(field) or ()
        ]
    return spec, pod["metadata"].get("annotations") or {}


def _is_stricter(policy: Policy, previous: Policy) -> bool:
    return LEVELS.index(policy.level) > LEVELS.index(previous.level)


def _shown(found: list[Violation]) -> str:
    return ", ".join(map(str, found))


def _of_pods(names: list[str], reason: str) -> str:
    others = len(names) - 1
    if not others:
        return f"{names[0]}: {reason}"
    return f"{names[0]} (and {others} other pod{'s' if others > 1 else ''}): {reason}"
