"""ValidatingAdmissionPolicies and MutatingAdmissionPolicies, in a whole server."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakes.server import Caller, running
from kube_core.abc.transport import Response, User
from kube_core.admission import conditions
from kube_core.auth.options import SecurityOptions
from kube_core.cel.budgets import Budget
from kube_plugins.admission.policies import mutations as mutating_policies
from kube_plugins.admission.policies import validations as validating_policies

pytestmark = pytest.mark.anyio

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WRITES = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running() as caller:
        yield caller


async def validating(
    api: Caller, *validations: dict[str, Any], binding: dict[str, Any] | None = None, name: str = "p", **spec: Any
) -> None:
    match = {"resourceRules": [WRITES]}
    body = {"metadata": {"name": name}, "spec": {"matchConstraints": match, "validations": list(validations), **spec}}
    await api.post(f"{GROUP}/validatingadmissionpolicies", body)
    bound = {"policyName": name, "validationActions": ["Deny"], **(binding or {})}
    await api.post(f"{GROUP}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": bound})


async def mutating(api: Caller, *mutations: str, name: str = "m", rule: dict[str, Any] = WRITES, **spec: Any) -> None:
    body = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "reinvocationPolicy": "Never",
            "mutations": [_mutation(each) for each in mutations],
            **spec,
        },
    }
    await api.post(f"{GROUP}/mutatingadmissionpolicies", body)
    await api.post(
        f"{GROUP}/mutatingadmissionpolicybindings", {"metadata": {"name": name}, "spec": {"policyName": name}}
    )


def _mutation(expression: str) -> dict[str, Any]:
    if expression.startswith("["):
        return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


async def create(api: Caller, name: str = "a", **body: Any) -> Response:
    return await api.ask("POST", MAPS, {"metadata": {"name": name}, **body})


async def refusal(api: Caller, name: str = "a", **body: Any) -> tuple[int, str, str]:
    response = await create(api, name, **body)
    said = response.decoded()
    assert response.status >= 400, said
    denied = f"configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
    assert said["details"]["causes"] == [{"message": said["message"].partition("forbidden: ")[2]}]
    return response.status, said["reason"], said["message"].removeprefix(denied)


# -- what may be spent ------------------------------------------------------------------------------------------------

PAIRS = "object.data.x.split('').all(x, object.data.x.split('').all(y, x == y))"
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


async def test_an_expression_of_a_policy_may_cost_a_million(api: Caller) -> None:
    await validating(api, {"expression": PAIRS})
    assert (await create(api, "b", data={"x": "a" * 100})).status == 201
    said = f"expression '{PAIRS}' resulted in error: operation cancelled: actual cost limit exceeded"
    assert (await refusal(api, data={"x": "a" * 900}))[2] == said


async def test_three_checks_are_more_than_an_expression_may_make(api: Caller) -> None:
    check = "!authorizer.group('').resource('pods').namespace('{}').check('get').allowed()"
    two, three = (" || ".join(check.format(f"n{each}") for each in range(count)) for count in (2, 3))
    await validating(api, {"expression": f"object.metadata.name == 'a' ? ({three}) : ({two}) || true"})
    assert (await create(api, "b")).status == 201
    assert (await refusal(api))[2].endswith("operation cancelled: actual cost limit exceeded")


async def test_the_expressions_of_a_policy_share_a_budget(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validating_policies, "Budget", functools.partial(Budget, 50_000))
    variables = [{"name": "once", "expression": PAIRS}]
    rules = [{"expression": "variables.once"}, {"expression": "variables.once"}, {"expression": PAIRS}]
    await validating(api, *rules, variables=variables)
    assert (await create(api, "b", data={"x": "a" * 20})).status == 201
    assert (await refusal(api, data={"x": "a" * 80}))[2] == OUT_OF_BUDGET


async def test_a_message_may_run_out_too(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validating_policies, "Budget", functools.partial(Budget, 50_000))
    await validating(api, {"expression": "false", "messageExpression": f"{PAIRS} ? 'a' : 'b'"})
    assert (await refusal(api, data={"x": "a" * 20}))[2] == "a"
    assert (await refusal(api, data={"x": "a" * 100}))[2] == f"failed messageExpression: {OUT_OF_BUDGET}"


async def test_conditions_have_a_budget_of_their_own(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "CONDITIONS_BUDGET", 50_000)
    conditional = [{"name": "c", "expression": PAIRS}, {"name": "never", "expression": "false"}]
    await validating(api, {"expression": "false"}, matchConditions=conditional)
    assert (await create(api, "b", data={"x": "a" * 20})).status == 201
    assert (await refusal(api, data={"x": "a" * 100}))[2] == OUT_OF_BUDGET


async def test_a_mutation_has_a_budget(api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutating_policies, "Budget", functools.partial(Budget, 50_000))
    await mutating(api, f"Object{{data: {{'y': {PAIRS} ? 'a' : 'b'}}}}")
    assert (await create(api, "b", data={"x": "a" * 20})).decoded()["data"]["y"] == "a"
    said = (await create(api, data={"x": "a" * 100})).decoded()["message"]
    assert said.endswith(f"denied request: {OUT_OF_BUDGET}")


# -- validation ------------------------------------------------------------------------------------------------------


async def test_a_policy_counts_from_the_answer_to_its_creation(api: Caller) -> None:
    await validating(api, {"expression": "object.metadata.name != 'a'"})
    assert await refusal(api) == (422, "Invalid", "failed expression: object.metadata.name != 'a'")
    assert (await create(api, "b")).status == 201


@pytest.mark.parametrize(("reason", "code"), [("Forbidden", 403), ("Invalid", 422), ("RequestEntityTooLarge", 413)])
async def test_reasons_have_their_codes(api: Caller, reason: str, code: int) -> None:
    await validating(api, {"expression": "false", "message": "no", "reason": reason})
    assert await refusal(api) == (code, reason, "no")


async def test_a_message_may_be_an_expression(api: Caller) -> None:
    await validating(api, {"expression": "false", "messageExpression": "'not ' + object.metadata.name", "message": "m"})
    assert (await refusal(api))[2] == "not a"


@pytest.mark.parametrize("expression", ["'a\\nb'", "object.metadata.missing + ''"])
async def test_a_message_that_says_nothing_gives_way(api: Caller, expression: str) -> None:
    await validating(api, {"expression": "false", "messageExpression": f"string({expression})", "message": "plain"})
    assert (await refusal(api))[2] == "plain"


async def test_an_error_refuses_with_the_expression(api: Caller) -> None:
    await validating(api, {"expression": "object.data.x == '1'"})
    assert (await refusal(api))[2] == "expression 'object.data.x == '1'' resulted in error: no such key: data"


async def test_an_error_passes_where_failures_are_ignored(api: Caller) -> None:
    await validating(api, {"expression": "object.data.x == '1'"}, failurePolicy="Ignore")
    assert (await create(api)).status == 201


async def test_variables_see_those_before_them_and_are_evaluated_only_when_named(api: Caller) -> None:
    variables = [
        {"name": "a", "expression": "object.metadata.name"},
        {"name": "b", "expression": "variables.a + '!'"},
        {"name": "broken", "expression": "object.data.missing"},
    ]
    await validating(api, {"expression": "variables.b == 'b!' || variables.a == 'c'"}, variables=variables)
    assert (await create(api, "b")).status == 201
    assert (await refusal(api))[0] == 422


async def test_a_variable_without_a_value_says_so(api: Caller) -> None:
    variables = [{"name": "x", "expression": "object.data.missing"}]
    await validating(api, {"expression": "variables.x == 'b!'"}, variables=variables)
    message = (await refusal(api))[2]
    assert message.endswith('resulted in error: composited variable "x" fails to evaluate: no such key: data')


async def test_conditions_choose_and_do_not_see_errors_beside_one_that_does_not_hold(api: Caller) -> None:
    conditions = [
        {"name": "broken", "expression": "object.data.x == '1'"},
        {"name": "named", "expression": "object.metadata.name == 'a'"},
    ]
    await validating(api, {"expression": "false"}, matchConditions=conditions)
    assert (await create(api, "b")).status == 201
    assert (await refusal(api))[2] == "expression 'object.data.x == '1'' resulted in error: no such key: data"


async def test_actions_warn_and_note(api: Caller) -> None:
    await validating(api, {"expression": "false", "message": "no"}, binding={"validationActions": ["Warn", "Audit"]})
    response = await create(api)
    assert response.status == 201
    said = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"
    assert any(said in warning for warning in response.warnings)


async def test_the_audit_log_has_what_policies_note(tmp_path: Path) -> None:
    audit = tmp_path / "policy.yaml"
    audit.write_text("kind: Policy\napiVersion: audit.k8s.io/v1\nrules:\n- {level: Metadata}\n")
    security = SecurityOptions(audit_policy_file=audit, audit_log_path=str(tmp_path / "audit.log"))
    notes = [
        {"key": "size", "valueExpression": "' ' + string(object.data.size()) + ' '"},
        {"key": "none", "valueExpression": "null"},
    ]
    async with running(security=security) as api:
        binding = {"validationActions": ["Audit"]}
        rule = {"expression": "false", "message": "no"}
        await validating(api, rule, binding=binding, auditAnnotations=notes)
        assert (await create(api, data={"a": "1"})).status == 201
    events = [orjson.loads(line) for line in (tmp_path / "audit.log").read_bytes().splitlines()]
    [noted] = [each["annotations"] for each in events if each["requestURI"] == MAPS and "annotations" in each][-1:]
    assert noted["p/size"] == "1"
    assert "p/none" not in noted
    [failure] = orjson.loads(noted["validation.policy.admission.k8s.io/validation_failure"])
    assert failure == {
        "message": "no",
        "policy": "p",
        "binding": "b",
        "expressionIndex": 0,
        "validationActions": ["Audit"],
    }


async def test_the_authorizer_answers_for_the_writer(api: Caller) -> None:
    check = "authorizer.group('').resource('secrets').namespace('default').check('get')"
    await validating(api, {"expression": f"{check}.allowed()", "messageExpression": f"'no: ' + {check}.reason()"})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    await api.post(f"{rbac}/clusterroles", {"metadata": {"name": "maps"}, "rules": rules})
    subject = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "maps", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "maps"}, "subjects": [subject], "roleRef": role}
    await api.post(f"{rbac}/clusterrolebindings", binding)
    assert (await create(api)).status == 201
    response = await api.ask("POST", MAPS, {"metadata": {"name": "b"}}, user=User("ann"), token="")
    assert response.status == 422
    assert response.decoded()["message"].endswith("denied request: no:")


async def test_parameters_are_chosen_by_labels_and_each_is_asked(api: Caller) -> None:
    for name, most in (("one", "1"), ("two", "2")):
        await create(api, name, data={"max": most})
        await api.ask(
            "PATCH",
            f"{MAPS}/{name}",
            {"metadata": {"labels": {"limit": "yes"}}},
            content_type="application/merge-patch+json",
        )
    reference = {"selector": {"matchLabels": {"limit": "yes"}}, "parameterNotFoundAction": "Allow"}
    await validating(
        api,
        {"expression": "object.data.size() <= int(params.data.max)", "messageExpression": "'most: ' + params.data.max"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": reference},
    )
    assert (await refusal(api, data={"a": "", "b": ""}))[2] == "most: 1"
    assert (await create(api, data={"a": ""})).status == 201


async def test_a_kind_of_parameters_that_is_not_served_refuses(api: Caller) -> None:
    await validating(api, {"expression": "true"}, paramKind={"apiVersion": "example.org/v1", "kind": "Limit"})
    assert (await refusal(api))[2] == (
        "failed to configure policy: failed to find resource referenced by paramKind: 'example.org/v1, Kind=Limit'"
    )


async def test_policies_are_not_held_to_policies(api: Caller) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await validating(api, {"expression": "false"}, matchConstraints={"resourceRules": [everything]})
    assert (await create(api)).status == 422
    assert (await api.ask("DELETE", f"{GROUP}/validatingadmissionpolicies/p")).status == 200
    assert (await create(api)).status == 201


async def test_rules_match_equivalent_resources_unless_they_are_exact(api: Caller) -> None:
    scalers = {"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
               "resources": ["horizontalpodautoscalers"]}  # fmt: skip
    await validating(
        api, {"expression": "object.spec.targetCPUUtilizationPercentage < 80"},
        matchConstraints={"resourceRules": [scalers]},
    )  # fmt: skip
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}},
    }
    spec = {
        "maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
        "metrics": [metric],
    }
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    response = await api.ask("POST", path, {"metadata": {"name": "a"}, "spec": spec})
    assert response.status == 422
    await api.ask(
        "PATCH", f"{GROUP}/validatingadmissionpolicies/p", {"spec": {"matchConstraints": {"matchPolicy": "Exact"}}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert (await api.ask("POST", path, {"metadata": {"name": "a"}, "spec": spec})).status == 201


# -- mutation --------------------------------------------------------------------------------------------------------


async def test_a_configuration_is_merged_as_server_side_apply_does(api: Caller) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    await mutating(
        api,
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: "
        "[Object.spec.template.spec.containers.item{name: 'side', image: 'side:' + object.metadata.name}]}}}}",
        rule=rule,
    )
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await api.post(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    containers = made["spec"]["template"]["spec"]["containers"]
    assert sorted((each["name"], each["image"]) for each in containers) == [("main", "x"), ("side", "side:d")]
    assert all(each["imagePullPolicy"] for each in containers)


async def test_a_json_patch_is_applied_and_each_mutation_sees_the_one_before(api: Caller) -> None:
    await mutating(
        api,
        "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'n': '1'}}]",
        "[JSONPatch{op: 'test', path: '/metadata/labels/n', value: '1'}, "
        "JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), "
        "value: object.metadata.labels.n + '2'}]",
    )
    made = await api.post(MAPS, {"metadata": {"name": "a"}})
    assert made["metadata"]["labels"] == {"n": "1", "a/b": "12"}


async def test_a_policy_is_asked_again_when_one_after_it_changes_something(api: Caller) -> None:
    count = "[JSONPatch{op: 'add', path: '/data/n', value: string(int(object.data.n) + 1)}]"
    await mutating(api, count, name="a", reinvocationPolicy="IfNeeded")
    await mutating(api, "Object{data: Object.data{other: 'set'}}", name="b")
    made = await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"n": "0"}})
    assert made["data"] == {"n": "2", "other": "set"}


async def test_what_is_mutated_is_validated_afterwards(api: Caller) -> None:
    await mutating(api, "Object{metadata: Object.metadata{labels: {'team': 'x'}}}")
    await validating(api, {"expression": "object.metadata.labels['team'] == 'x'"})
    assert (await create(api)).status == 201


async def test_a_mutation_that_fails_refuses_the_write_or_is_passed_over(api: Caller) -> None:
    await mutating(api, "[JSONPatch{op: 'remove', path: '/data/x'}]")
    response = await create(api)
    assert response.status == 403
    assert response.decoded()["message"].startswith("policy 'm' with binding 'm' denied request: JSON Patch: ")
    await api.ask(
        "PATCH", f"{GROUP}/mutatingadmissionpolicies/m", {"spec": {"failurePolicy": "Ignore"}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert (await create(api)).status == 201


async def test_a_configuration_may_not_touch_what_is_atomic(api: Caller) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    await mutating(api, "Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}", rule=rule)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    response = await api.ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
    assert "may not mutate atomic arrays, maps or structs: .spec.selector" in response.decoded()["message"]


# -- writing policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        ("[JSONPatch{oops: 'add'}]", "undefined field 'oops'"),
        ("['a']", "must evaluate to list(JSONPatch) but got list(string)"),
        ("{'a': 1}", "must evaluate to Object but got map(string, int)"),
    ],
)
async def test_mutations_are_judged_when_they_are_written(api: Caller, mutation: str, said: str) -> None:
    spec = {
        "matchConstraints": {"resourceRules": [WRITES]},
        "reinvocationPolicy": "Never",
        "mutations": [_mutation(mutation)],
    }
    response = await api.ask("POST", f"{GROUP}/mutatingadmissionpolicies", {"metadata": {"name": "m"}, "spec": spec})
    assert response.status == 422
    (cause,) = response.decoded()["details"]["causes"]
    assert said in cause["message"]


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"validations": [{"expression": "object.foo"}]}, "validations[0].expression", "bool but got dyn"),
        ({"validations": [{"expression": "request.nope"}]}, "validations[0].expression", "undefined field 'nope'"),
        ({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]}, "auditAnnotations[0].valueExpression",
         "must evaluate to one of [string null_type] but got int"),
        ({"validations": [{"expression": "true"}], "variables": [{"name": "x", "expression": "nope"}]},
         "variables[0].expression", "undeclared reference to 'nope'"),
        ({"validations": [{"expression": "true"}], "matchConditions": [{"name": "c", "expression": "variables.x"}]},
         "matchConditions[0].expression", "undeclared reference to 'variables'"),
    ],
)  # fmt: skip
async def test_expressions_are_judged_when_they_are_written(
    api: Caller, spec: dict[str, Any], field: str, said: str
) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [WRITES]}, **spec}}
    response = await api.ask("POST", f"{GROUP}/validatingadmissionpolicies", body)
    assert response.status == 422
    (cause,) = response.decoded()["details"]["causes"]
    assert cause["field"] == f"spec.{field}"
    assert said in cause["message"]


# -- what is counted -------------------------------------------------------------------------------------------------


async def test_checks_of_policies_are_counted_by_what_came_of_them(api: Caller) -> None:
    await validating(api, {"expression": "object.metadata.name != 'a'"})
    await refusal(api)
    await create(api, "b")
    found = (await api.ask("GET", "/metrics")).encoded().decode().splitlines()
    for action in ("allow", "deny"):
        labels = f'enforcement_action="{action}",error_type="no_error",policy="p",policy_binding="b"'
        assert f"apiserver_validating_admission_policy_check_total{{{labels}}} 1" in found
