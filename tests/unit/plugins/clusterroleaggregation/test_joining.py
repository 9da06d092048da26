"""What an aggregated ClusterRole allows: what the roles that it selects allow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import metadata
from kube_plugins.controllers.clusterroleaggregation.controller import joined_rules

READS, WRITES, WATCHES = (
    {"verbs": [verb], "apiGroups": [""], "resources": ["pods"]} for verb in ("get", "update", "*")
)


def role(name: str, *rules: Any, **labels: str) -> dict[str, Any]:
    return {"metadata": metadata(name, namespace="", labels=labels), "rules": list(rules)}


def aggregated(*selectors: dict[str, Any], name: str = "all", **labels: str) -> dict[str, Any]:
    return {**role(name, READS, **labels), "aggregationRule": {"clusterRoleSelectors": list(selectors)}}


TO_ALL = {"matchLabels": {"to": "all"}}


@pytest.mark.parametrize(
    ("whole", "parts", "rules"),
    [
        (aggregated(TO_ALL), [role("a", READS), role("b", WRITES, to="all")], [WRITES]),
        (aggregated(TO_ALL), [role("b", WRITES, to="all"), role("a", READS, to="all")], [READS, WRITES]),
        (aggregated(TO_ALL), [role("a", READS, WRITES, to="all"), role("b", WRITES, WATCHES, to="all")],
         [READS, WRITES, WATCHES]),
        (aggregated(TO_ALL, {"matchLabels": {"of": "me"}}), [role("a", READS, of="me"), role("b", WRITES, to="all")],
         [READS, WRITES]),
        (aggregated({"matchExpressions": [{"key": "to", "operator": "Exists"}]}), [role("a", READS, to="")], [READS]),
        (aggregated(TO_ALL), [role("a")], []),
        (aggregated(TO_ALL), [role("a", READS, READS, to="all")], [READS]),
        (aggregated(), [role("a", READS, to="all")], []),
        (aggregated(TO_ALL), [{**role("a", to="all"), "rules": None}], []),
    ],
)  # fmt: skip
def test_the_rules_of_the_parts_are_taken_in_the_order_of_their_names(
    whole: dict[str, Any], parts: list[dict[str, Any]], rules: list[dict[str, Any]]
) -> None:
    assert joined_rules(whole, [whole, *parts]) == rules


def test_a_role_is_no_part_of_itself() -> None:
    whole = aggregated(TO_ALL, to="all")
    assert joined_rules(whole, [whole]) == []


@given(
    parts=st.lists(
        st.builds(
            lambda name, rules, chosen: role(name, *rules, **({"to": "all"} if chosen else {})),
            st.text("abc", min_size=1, max_size=3),
            st.lists(st.sampled_from([READS, WRITES, WATCHES]), max_size=4),
            st.booleans(),
        ),
        max_size=8,
        unique_by=lambda each: each["metadata"]["name"],
    ),
    chance=st.randoms(),
)
def test_whatever_the_order_each_rule_of_a_part_is_there_once_and_no_other(
    parts: list[dict[str, Any]], chance: Any
) -> None:
    whole = aggregated(TO_ALL)
    rules = joined_rules(whole, parts)
    chosen = [rule for part in parts if part["metadata"]["labels"] for rule in part["rules"]]
    assert all(rule in chosen for rule in rules)
    assert all(rules.count(rule) == 1 for rule in chosen)
    chance.shuffle(parts)
    assert joined_rules(whole, parts) == rules
    assert joined_rules({**whole, "rules": rules}, parts) == rules
