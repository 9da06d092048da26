"""Pods with users of their own have ids of the host that no other pod has."""

from __future__ import annotations

from kube_core.abc.runtime import SandboxConfig, SandboxStatus
from kube_core.abc.security import IdMapping
from kube_core.node.pods.userids import UserIds


def sandbox(uid: str, ids: IdMapping | None) -> SandboxStatus:
    return SandboxStatus(f"s-{uid}", SandboxConfig("default", uid, uid, user_namespace=ids), True, 0.0)


def test_blocks_differ_and_are_a_pods_until_it_is_over() -> None:
    ids = UserIds()
    first, second = ids.take("a", [], "/state"), ids.take("b", [], "/state")
    assert first.host_id % 65_536 == 0
    assert first.length == 65_536
    assert first.host_id != second.host_id
    assert ids.take("a", [], "/state") == first
    ids.release("a")
    assert ids.take("c", [], "/state") == first


def test_what_sandboxes_have_is_not_given_again_by_a_node_that_starts_anew() -> None:
    first = UserIds().take("a", [], "/state")
    known = [sandbox("a", first), sandbox("x", None)]
    again = UserIds()
    assert again.take("a", known, "/state") == first
    assert again.take("b", known, "/state") != first


def test_nodes_of_one_machine_begin_at_different_blocks_none_at_the_machines_own() -> None:
    starts = {UserIds().take("a", [], f"/state/{number}").host_id for number in range(20)}
    assert len(starts) > 10
    assert all(0 < start < 1 << 32 for start in starts)
