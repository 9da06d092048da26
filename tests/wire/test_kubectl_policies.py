"""kubectl and rules in CEL: policies with all sorts of parameters, and definitions' own rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.kubectl import Kubectl

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.rules.example.org}
spec:
  group: rules.example.org
  scope: SCOPE
  names: {plural: PLURAL, kind: KIND}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              min: {type: integer}
              max: {type: integer}
              names: {type: array, ITEMS items: {type: string, maxLength: 20}}
            x-kubernetes-validations:
            - {rule: 'self.min <= self.max', messageExpression: 'self.min > 4 ? "far over max" : "over max"'}
            - {rule: 'self.max >= oldSelf.max', message: max only grows, reason: FieldValueForbidden, fieldPath: .max}
            - {rule: 'RULE'}
"""
LIMIT = """
apiVersion: rules.example.org/v1
kind: KIND
metadata: {name: limit, labels: {limit: 'yes'}}
spec: {min: 1, max: MAX}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  paramKind: {apiVersion: rules.example.org/v1, kind: KIND}
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  variables:
  - {name: size, expression: 'has(object.data) ? object.data.size() : 0'}
  validations:
  - expression: variables.size <= params.spec.max
    messageExpression: '"at most " + string(params.spec.max) + " entries, not " + string(variables.size)'
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec:
  policyName: NAME
  validationActions: [ACTION]
  paramRef: {REFERENCE, parameterNotFoundAction: Deny}
"""
MUTATION = """
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAMESPACE-labels}
spec:
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: 'Object{metadata: Object.metadata{labels: {"size": string(object.data.size())}}}'
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "add", path: "/data/added", value: object.metadata.labels["size"]}]'
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAMESPACE-labels}
spec: {policyName: NAMESPACE-labels}
"""


def define(kubectl: Kubectl, kind: str, *, scope: str, items: str = "maxItems: 10,", rule: str = "true") -> str:
    plural = f"{kind.lower()}s"
    text = DEFINITION.replace("PLURAL", plural).replace("SCOPE", scope).replace("KIND", kind)
    kubectl("apply", "-f", "-", stdin=text.replace("ITEMS", items).replace("RULE", rule))
    kubectl("wait", "--for=condition=Established", f"crd/{plural}.rules.example.org", "--timeout=20s")
    return plural


def drop(kubectl: Kubectl, *names: str) -> None:
    kubectl("delete", "--ignore-not-found", *names)


@pytest.fixture
def bounds(kubectl: Kubectl) -> Iterator[str]:
    plural = define(kubectl, "Bound", scope="Namespaced")
    yield plural
    drop(kubectl, f"crd/{plural}.rules.example.org")


def policy(kubectl: Kubectl, kind: str, reference: str, action: str) -> str:
    """The name of a policy on ConfigMaps of this namespace, with its binding of the same name."""
    namespace = kubectl.namespace
    name = f"{namespace}-{kind.lower()}"
    text = POLICY.replace("NAMESPACE", namespace).replace("NAME", name).replace("KIND", kind)
    kubectl("apply", "-f", "-", stdin=text.replace("REFERENCE", reference).replace("ACTION", action))
    return name


def test_rules_of_a_definition_are_told_by_apply(kubectl: Kubectl, bounds: str) -> None:
    def bound(low: int, high: int) -> str:
        return LIMIT.replace("KIND", "Bound").replace("MAX", str(high)).replace("min: 1", f"min: {low}")

    refused = kubectl.fails("apply", "-f", "-", stdin=bound(5, 3))
    assert 'The Bound "limit" is invalid: spec: Invalid value: far over max' in refused.replace('"object": ', "")
    kubectl("apply", "-f", "-", stdin=bound(1, 3))
    assert "spec.max: Forbidden: max only grows" in kubectl.fails("apply", "-f", "-", stdin=bound(1, 2))
    assert kubectl("apply", "-f", "-", stdin=bound(1, 4)).strip() == "bound.rules.example.org/limit configured"


def test_a_rule_that_may_cost_too_much_is_no_part_of_a_definition(kubectl: Kubectl) -> None:
    rule = "self.names.all(x, self.names.all(y, x == y))"
    text = DEFINITION.replace("PLURAL", "dears").replace("SCOPE", "Cluster").replace("KIND", "Dear")
    refused = kubectl.fails("apply", "-f", "-", stdin=text.replace("ITEMS", "").replace("RULE", rule))
    assert "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying" in refused
    assert "x-kubernetes-validations[2].rule" in refused


def test_a_policy_takes_its_parameters_from_a_custom_resource(kubectl: Kubectl, bounds: str) -> None:
    kubectl("apply", "-f", "-", stdin=LIMIT.replace("KIND", "Bound").replace("MAX", "1"))
    name = policy(kubectl, "Bound", "name: limit", "Deny")
    try:
        kubectl("create", "configmap", "small", "--from-literal=a=1")
        refused = kubectl.fails("create", "configmap", "large", "--from-literal=a=1", "--from-literal=b=2")
        denied = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request"
        assert f"{denied}: at most 1 entries, not 2" in refused
        kubectl("delete", bounds, "limit")
        missing = "no params found for policy binding with `Deny` parameterNotFoundAction"
        assert missing in kubectl.fails("create", "configmap", "other")
    finally:
        drop(kubectl, f"validatingadmissionpolicybinding/{name}", f"validatingadmissionpolicy/{name}")


def test_a_policy_takes_its_parameters_from_what_has_no_namespace(kubectl: Kubectl) -> None:
    plural = define(kubectl, "Ceiling", scope="Cluster")
    kubectl("apply", "-f", "-", stdin=LIMIT.replace("KIND", "Ceiling").replace("MAX", "1"))
    name = policy(kubectl, "Ceiling", "selector: {matchLabels: {limit: 'yes'}}", "Warn")
    try:
        told = kubectl.run("create", "configmap", "large", "--from-literal=a=1", "--from-literal=b=2")
        said = f"Warning: Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}'"
        assert f"{said}: at most 1 entries, not 2" in told.stderr
        assert kubectl.value("configmap", "large", ".data.b") == "2"
    finally:
        drop(kubectl, f"validatingadmissionpolicybinding/{name}", f"validatingadmissionpolicy/{name}")
        drop(kubectl, f"crd/{plural}.rules.example.org")


def test_a_policy_changes_what_is_created(kubectl: Kubectl) -> None:
    namespace = kubectl.namespace
    kubectl("apply", "-f", "-", stdin=MUTATION.replace("NAMESPACE", namespace))
    try:
        kubectl("create", "configmap", "settings", "--from-literal=a=1", "--from-literal=b=2")
        assert kubectl.value("configmap", "settings", ".metadata.labels.size") == "2"
        assert kubectl.value("configmap", "settings", ".data.added") == "2"
    finally:
        name = f"{namespace}-labels"
        drop(kubectl, f"mutatingadmissionpolicybinding/{name}", f"mutatingadmissionpolicy/{name}")
