"""Which volumes are attached to a node, and when they are let go."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.objects import metadata, node, pod
from kube_plugins.controllers.attachdetach.plan import (
    UNMOUNT_SECONDS,
    WantedVolume,
    attachment,
    may_detach,
    plan_node,
    unique_name,
    wanted_volumes,
)

DRIVER = "csi.example.dev"


def volume(name: str = "pv", driver: str = DRIVER, *modes: str) -> dict[str, Any]:
    spec = {"csi": {"driver": driver, "volumeHandle": f"h-{name}"}, "accessModes": list(modes or ("ReadWriteOnce",))}
    return {"metadata": metadata(name), "spec": spec}


def attached(to: str, name: str = "pv", *, status: dict[str, Any] | None = None, going: bool = False) -> dict[str, Any]:
    made = attachment(volume(name), to)
    made["metadata"] = {**metadata(made["metadata"]["name"]), **({"deletionTimestamp": "now"} if going else {})}
    return {**made, "status": {"attached": True} if status is None else status}


def driver_object(*, attach: bool | None) -> dict[str, Any]:
    return {"metadata": metadata(DRIVER), "spec": {} if attach is None else {"attachRequired": attach}}


@pytest.mark.parametrize(
    ("drivers", "unattached", "phase", "names"),
    [
        ({}, "", "Running", ["pv"]),
        ({DRIVER: driver_object(attach=None)}, "", "Running", ["pv"]),
        ({DRIVER: driver_object(attach=True)}, "", "Pending", ["pv"]),
        ({DRIVER: driver_object(attach=False)}, "", "Running", []),
        ({}, DRIVER, "Running", []),
        ({}, "", "Succeeded", []),
    ],
)
def test_volumes_are_attached_where_their_driver_wants_it(
    drivers: dict[str, Any], unattached: str, phase: str, names: list[str]
) -> None:
    users = [pod("p", node="n", phase=phase)]
    wanted = wanted_volumes(
        users, lambda _: [volume(), {"metadata": metadata("nfs"), "spec": {}}], drivers, unattached=unattached
    )
    assert [each.volume["metadata"]["name"] for each in wanted] == names


def plan(
    wanted: list[dict[str, Any]],
    own: list[dict[str, Any]],
    *,
    others: list[dict[str, Any]] | None = None,
    let_go: bool = True,
) -> Any:
    everything = own + (others or [])
    return plan_node(
        node("n"),
        [WantedVolume(each, ()) for each in wanted],
        own,
        lambda name: [each for each in everything if each["spec"]["source"]["persistentVolumeName"] == name],
        {name: volume(name) for name in ("pv", "other")},
        may_detach=lambda _: let_go,
    )


def names(volumes: Any) -> list[str]:
    return [each.volume["metadata"]["name"] for each in volumes]


def test_a_wanted_volume_is_attached_and_reported_once_it_is() -> None:
    assert names(plan([volume()], []).attach) == ["pv"]
    waiting = plan([volume()], [attached("n", status={})])
    assert (waiting.attach, waiting.attached, waiting.reported) == ((), (), ())
    done = plan([volume()], [attached("n")])
    assert names(done.attached) == ["pv"]
    assert done.reported == ({"name": f"kubernetes.io/csi/{DRIVER}^h-pv", "devicePath": ""},)


def test_what_the_driver_says_of_a_failure_is_told() -> None:
    [(wanted, why)] = plan([volume()], [attached("n", status={"attachError": {"message": "no room"}})]).failed
    assert (wanted.volume["metadata"]["name"], why) == ("pv", "no room")


def test_a_volume_for_one_node_is_not_attached_to_two() -> None:
    [(wanted, holders)] = plan([volume()], [], others=[attached("m")]).blocked
    assert (wanted.volume["metadata"]["name"], holders) == ("pv", ("m",))
    assert names(plan([volume("pv", DRIVER, "ReadWriteMany")], [], others=[attached("m")]).attach) == ["pv"]


def test_a_volume_that_is_being_detached_is_attached_again_only_afterwards() -> None:
    writes = plan([volume()], [attached("n", going=True)])
    assert (writes.attach, writes.blocked, writes.detach, writes.reported) == ((), (), (), ())


def test_what_nobody_needs_is_detached_once_the_node_lets_go() -> None:
    kept = plan([], [attached("n")], let_go=False)
    assert (kept.detach, len(kept.waiting), len(kept.reported)) == ((), 1, 1)
    gone = plan([], [attached("n")])
    assert (len(gone.detach), gone.waiting, gone.reported) == (1, (), ())


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "taints", "waited", "let_go"),
    [
        ({}, [], 0, True),
        ({"volumesInUse": [unique_name(volume())]}, [], 0, False),
        ({"volumesInUse": [unique_name(volume())]}, [], UNMOUNT_SECONDS, True),
        ({"volumesInUse": [unique_name(volume())], **READY}, [], UNMOUNT_SECONDS * 10, False),
        ({"volumesInUse": [unique_name(volume())], **READY}, [{"key": "node.kubernetes.io/out-of-service"}], 0, True),
        ({"volumesInUse": [unique_name(volume("other"))], **READY}, [], 0, True),
    ],
)
def test_a_node_keeps_what_it_says_to_use_unless_it_is_lost(
    status: dict[str, Any], taints: list[Any], waited: float, let_go: bool
) -> None:
    found = node("n", taints=taints)
    found["status"] = status
    assert may_detach(found, volume(), waited=waited) is let_go


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["want", "leave", "sync"])), max_size=40))
def test_under_any_order_of_events_a_volume_is_on_one_node_at_a_time(events: list[tuple[str, str]]) -> None:
    wanting: set[str] = set()
    attachments: dict[str, dict[str, Any]] = {}
    for name, event in itertools.chain(events, (("a", "leave"), ("b", "leave"), ("a", "sync"), ("b", "sync"))):
        if event == "want":
            wanting.add(name)
        elif event == "leave":
            wanting.discard(name)
        else:
            own = [attachments[name]] if name in attachments else []
            writes = plan_node(
                node(name),
                [WantedVolume(volume(), ())] if name in wanting else [],
                own,
                lambda _: list(attachments.values()),
                {"pv": volume()},
                may_detach=lambda _: True,
            )
            if writes.attach:
                attachments[name] = attached(name)
            if writes.detach:
                del attachments[name]
        assert len(attachments) <= 1
    assert not attachments
