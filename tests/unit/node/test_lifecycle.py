"""A pod's life on a node, from its real worker and the fake runtime, in time that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.pods import FakeNode, pod
from kube_core.abc.runtime import RuntimeFailure
from kube_core.api.kubelet import KubeletSettings
from kube_core.meta.documents import Document
from kube_core.node.pods.worker import Eviction
from kube_drivers.runtime.fake import FakeBehaviour

pytestmark = pytest.mark.anyio


def container(name: str = "c", image: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **more}


def deleted(document: dict[str, Any], grace: int) -> dict[str, Any]:
    metadata = {
        **document["metadata"],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": grace,
    }
    return {**document, "metadata": metadata}


async def test_init_containers_sidecars_and_apps_start_in_their_order() -> None:
    behaviours = {"init": FakeBehaviour(runs_for=5), "side": FakeBehaviour(ready_after=3)}
    startup = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 9}
    document = pod(
        "p", container("app"), initContainers=[
            container("first", "init"),
            container("side", "side", restartPolicy="Always", startupProbe=startup),
            container("second", "init"),
        ],
    )  # fmt: skip
    async with FakeNode(behaviours=behaviours) as node:
        node.run(document)
        await node.settle()
        assert not node.runs("side")
        assert node.container("app")["state"]["waiting"]["reason"] == "PodInitializing"
        await node.clock.advance(5)
        assert (len(node.runs("side")), len(node.runs("second"))) == (1, 0)
        await node.clock.advance(4)
        assert (len(node.runs("second")), len(node.runs("app"))) == (1, 0)
        assert node.status()["phase"] == "Pending"
        await node.clock.advance(5)
        assert node.status()["phase"] == "Running"
        assert node.container("side", field="initContainerStatuses")["ready"]
        assert node.condition("Ready")["status"] == "True"  # type: ignore[index]


async def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    async with FakeNode(behaviours={"fails": FakeBehaviour(runs_for=1, exit_code=2)}) as node:
        node.run(pod("p", initContainers=[container("init", "fails")], restartPolicy="Never"))
        await node.clock.advance(1)
        assert node.status()["phase"] == "Failed"
        assert not node.runs("c")


async def test_sidecars_end_after_the_apps_the_last_one_first() -> None:
    behaviours = {"app": FakeBehaviour(stop_latency=2), "side": FakeBehaviour(stop_latency=1)}
    sides = [container(name, "side", restartPolicy="Always") for name in ("one", "two")]
    document = pod("p", container("app", "app"), initContainers=sides)
    async with FakeNode(behaviours=behaviours) as node:
        node.run(document)
        await node.settle()
        began = node.clock.now()
        node.run(deleted(document, 30))
        await node.clock.advance(10)
        ended = {name: node.runs(name)[-1].finished_at - began for name in ("app", "one", "two")}
        assert ended == {"app": 2, "two": 3, "one": 4}
        assert node.reports.deleted == ["uid-p"]


async def test_sidecars_of_a_pod_whose_apps_are_done_are_ended_too() -> None:
    async with FakeNode(behaviours={"job": FakeBehaviour(runs_for=1)}) as node:
        side = container("side", restartPolicy="Always")
        node.run(pod("p", container("job", "job"), initContainers=[side], restartPolicy="Never"))
        await node.clock.advance(1)
        assert node.status()["phase"] == "Succeeded"
        assert node.runs("side")[-1].state == "exited"


async def test_a_crashing_container_waits_longer_each_time_and_at_most_as_long_as_is_set() -> None:
    settings = KubeletSettings(max_container_restart_period=30)
    async with FakeNode(behaviours={"fails": FakeBehaviour(runs_for=0.5, exit_code=1)}, settings=settings) as node:
        node.run(pod("p", container(image="fails")))
        await node.clock.advance(1)
        # The first restart waits for nothing.
        assert node.container()["restartCount"] == 1
        waiting = node.container()["state"]["waiting"]
        text = "back-off 10s restarting failed container=c pod=p_default(uid-p)"
        assert waiting == {"reason": "CrashLoopBackOff", "message": text}
        assert node.container()["lastState"]["terminated"]["exitCode"] == 1
        assert "Back-off restarting failed container c in pod p_default(uid-p)" in node.events.messages("BackOff")
        await node.clock.advance(200)
        assert "back-off 30s" in node.container()["state"]["waiting"]["message"]


RULES = [
    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
    {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}},
]


@pytest.mark.parametrize(("code", "again"), [(42, True), (1, False), (0, False)])
async def test_a_containers_own_rules_say_by_its_exit_code_whether_it_runs_again(code: int, again: bool) -> None:
    fails = container(image="fails", restartPolicy="Never", restartPolicyRules=RULES)
    async with FakeNode(behaviours={"fails": FakeBehaviour(runs_for=1, exit_code=code)}) as node:
        node.run(pod("p", fails, restartPolicy="Always"))
        await node.clock.advance(1.5)
        assert (node.container()["restartCount"] == 1) is again
        assert node.status()["phase"] == ("Running" if again else "Succeeded" if code == 0 else "Failed")


async def test_a_container_may_have_all_of_its_pod_start_anew() -> None:
    behaviours = {"init": FakeBehaviour(runs_for=1), "fails": FakeBehaviour(runs_for=5, exit_code=88)}
    fails = container("fails", "fails", restartPolicy="Never", restartPolicyRules=RULES)
    document = pod("p", container("other"), fails, initContainers=[container("init", "init")])
    async with FakeNode(behaviours=behaviours) as node:
        node.run(document)
        await node.clock.advance(3)
        sandbox = node.runs("other")[0].sandbox_id
        await node.clock.advance(6)
        assert [node.runs(name)[-1].config.attempt for name in ("init", "other", "fails")] == [1, 1, 1]
        assert node.runs("other")[0].sandbox_id == sandbox
        assert node.status()["phase"] == "Running"
        states = [each["conditions"] for each in node.reports.history["uid-p"]]
        restarting = [c["status"] for each in states for c in each if c["type"] == "AllContainersRestarting"]
        assert "True" in restarting
        assert restarting[-1] == "False"
        # The next time it waits for a while.
        await node.clock.advance(6)
        assert node.runs("fails")[-1].state == "exited"
        await node.clock.advance(10)
        assert node.runs("fails")[-1].config.attempt == 2


async def test_an_ephemeral_container_runs_once_beside_the_others() -> None:
    async with FakeNode(behaviours={"debug": FakeBehaviour(runs_for=2, exit_code=1)}) as node:
        document = pod("p")
        node.run(document)
        await node.settle()
        debugger = container("debug", "debug", targetContainerName="c")
        node.run({**document, "spec": {**document["spec"], "ephemeralContainers": [debugger]}})
        await node.settle()
        assert node.runs("debug")[0].config.target_id == node.runs("c")[0].id
        assert "running" in node.container("debug", field="ephemeralContainerStatuses")["state"]
        await node.clock.advance(60)
        assert len(node.runs("debug")) == 1
        ended = node.container("debug", field="ephemeralContainerStatuses")["state"]["terminated"]
        assert (ended["exitCode"], node.status()["phase"]) == (1, "Running")


async def test_an_ephemeral_container_needs_the_container_that_it_looks_at() -> None:
    async with FakeNode() as node:
        node.run(pod("p", ephemeralContainers=[container("debug", targetContainerName="gone")]))
        await node.settle()
        waiting = node.container("debug", field="ephemeralContainerStatuses")["state"]["waiting"]
        message = 'unable to find target container "gone"'
        assert waiting == {"reason": "CreateContainerConfigError", "message": message}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (FakeBehaviour(start_error="no such program"), "RunContainerError"),
        (FakeBehaviour(exec_exit_code=1), "PostStartHookError"),
    ],
)
async def test_what_keeps_a_container_from_starting_is_its_reason(behaviour: FakeBehaviour, reason: str) -> None:
    hook = {"postStart": {"exec": {"command": ["setup"]}}}
    async with FakeNode(behaviours={"x": behaviour}) as node:
        node.run(pod("p", container(lifecycle=hook)))
        await node.settle()
        reasons = {
            each["containerStatuses"][0]["state"].get("waiting", {}).get("reason")
            for each in node.reports.history["uid-p"]
        }
        assert reason in reasons or node.container()["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        if reason == "PostStartHookError":
            assert node.events.messages("FailedPostStartHook") == ["PostStartHook failed"] * 2
            assert "FailedPostStartHook" in node.events.messages("Killing")


async def test_a_post_start_hook_is_over_before_the_next_container_starts() -> None:
    slow = container("slow", lifecycle={"postStart": {"sleep": {"seconds": 5}}})
    async with FakeNode() as node:
        node.run(pod("p", slow, container("next")))
        await node.clock.advance(4)
        assert (len(node.runs("slow")), len(node.runs("next"))) == (1, 0)
        assert node.status()["phase"] == "Pending"
        await node.clock.advance(1)
        assert node.status()["phase"] == "Running"


@pytest.mark.parametrize(("seconds", "grace", "ended"), [(5, 30, 5), (60, 10, 12), (0, 30, 0)])
async def test_a_pre_stop_hook_uses_the_grace_and_leaves_two_seconds(seconds: int, grace: int, ended: float) -> None:
    behaviour = FakeBehaviour(stop_latency=0 if seconds < grace else 1000)
    document = pod("p", container(lifecycle={"preStop": {"sleep": {"seconds": seconds}}}))
    async with FakeNode(behaviours={"x": behaviour}) as node:
        node.run(document)
        await node.settle()
        began = node.clock.now()
        node.run(deleted(document, grace))
        await node.clock.advance(100)
        assert node.runs("c")[0].finished_at - began == ended


async def test_a_failing_pre_stop_hook_is_told_and_stops_nothing() -> None:
    document = pod("p", container(lifecycle={"preStop": {"exec": {"command": ["drain"]}}}))
    async with FakeNode(behaviours={"x": FakeBehaviour(exec_exit_code=3)}) as node:
        node.run(document)
        await node.settle()
        node.run(deleted(document, 30))
        await node.settle()
        assert node.events.messages("FailedPreStopHook") == ["PreStopHook failed"]
        assert node.reports.deleted == ["uid-p"]


async def test_a_shorter_grace_holds_and_force_ends_at_once() -> None:
    document = pod("p")
    async with FakeNode(behaviours={"x": FakeBehaviour(stop_latency=1000)}) as node:
        node.run(document)
        await node.settle()
        node.run(deleted(document, 100))
        await node.clock.advance(5)
        node.run(deleted(document, 3))
        await node.clock.advance(3)
        assert node.runs("c")[0].exit_code == 137
        assert node.reports.deleted == ["uid-p"]


async def test_a_runtime_that_cannot_end_a_container_is_told_of_and_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuses(*_: object) -> None:
        raise RuntimeFailure("connection refused")

    document = pod("p")
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        with monkeypatch.context() as away:
            away.setattr(node.runtime, "stop_container", refuses)
            node.run(deleted(document, 30))
            await node.settle()
            assert node.events.messages("FailedKillPod") == ["error killing pod: connection refused"]
            assert node.reports.deleted == []
        await node.clock.advance(1)
        assert node.reports.deleted == ["uid-p"]


async def test_a_pod_past_its_deadline_fails() -> None:
    async with FakeNode() as node:
        node.run(pod("p", activeDeadlineSeconds=60))
        await node.clock.advance(59)
        assert node.status()["phase"] == "Running"
        await node.clock.advance(1)
        message = "Pod was active on the node longer than the specified deadline"
        assert (node.status()["phase"], node.status()["reason"]) == ("Failed", "DeadlineExceeded")
        assert (node.status()["message"], node.events.messages("DeadlineExceeded")) == (message, [message])
        assert node.runs("c")[0].state == "exited"


async def test_an_evicted_pod_fails_with_the_reason_and_its_disruption() -> None:
    async with FakeNode(behaviours={"x": FakeBehaviour(stop_latency=1000)}) as node:
        worker = node.run(pod("p"))
        await node.settle()
        condition: Document = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        worker.evict(Eviction("Evicted", "The node was low on resource: memory. ", 1.0, condition))
        await node.clock.advance(1)
        assert (node.status()["phase"], node.status()["reason"]) == ("Failed", "Evicted")
        assert node.condition("DisruptionTarget")["reason"] == "TerminationByKubelet"  # type: ignore[index]
        assert worker.over


async def test_a_lost_container_is_one_of_which_nothing_is_known() -> None:
    running = {
        "name": "c", "restartCount": 3, "containerID": "fake://before", "image": "x", "imageID": "", "ready": True,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "lastState": {},
    }  # fmt: skip
    document = pod("p") | {"status": {"containerStatuses": [running], "startTime": "2026-01-01T00:00:00Z"}}
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        assert node.container()["restartCount"] == 4
        over = deleted(document, 0)
        async with FakeNode() as other:
            other.run(over)
            await other.settle()
            ended = other.container()["state"]["terminated"]
            assert (ended["reason"], ended["exitCode"]) == ("ContainerStatusUnknown", 137)


LIVENESS = {"exec": {"command": ["alive"]}, "periodSeconds": 5, "failureThreshold": 2}


async def test_a_container_that_fails_its_liveness_probe_is_restarted_within_the_probes_grace() -> None:
    probe = {**LIVENESS, "terminationGracePeriodSeconds": 4}
    behaviours = {"x": FakeBehaviour(exec_exit_code=1, exec_output="dead", stop_latency=1000)}
    async with FakeNode(behaviours=behaviours) as node:
        node.run(pod("p", container(livenessProbe=probe)))
        await node.clock.advance(5)
        assert node.events.messages("Unhealthy") == ["Liveness probe failed: dead"] * 2
        await node.clock.advance(4)
        assert node.events.messages("Killing") == ["Container c failed liveness probe, will be restarted"]
        # That it was this node which ended it is not held against it.
        assert (node.container()["restartCount"], "running" in node.container()["state"]) == (1, True)


async def test_a_container_that_is_never_restarted_ends_for_its_probe() -> None:
    async with FakeNode(behaviours={"x": FakeBehaviour(exec_exit_code=1)}) as node:
        node.run(pod("p", container(livenessProbe=LIVENESS), restartPolicy="Never"))
        await node.clock.advance(6)
        assert node.events.messages("Killing") == ["Container c failed liveness probe"]
        # It ended well when it was asked to.
        assert (node.container()["restartCount"], node.status()["phase"]) == (0, "Succeeded")


async def test_liveness_and_readiness_wait_for_the_startup_probe() -> None:
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    each = container(
        startupProbe={**probe, "failureThreshold": 30},
        livenessProbe=probe,
        readinessProbe={**probe, "successThreshold": 3},
    )
    async with FakeNode(behaviours={"x": FakeBehaviour(ready_after=10)}) as node:
        node.run(pod("p", each))
        await node.clock.advance(9)
        assert (node.container()["started"], node.container()["ready"]) == (False, False)
        assert not node.events.messages("Killing")
        await node.clock.advance(2)
        assert (node.container()["started"], node.container()["ready"]) == (True, False)
        await node.clock.advance(3)
        assert node.container()["ready"]


async def test_a_readiness_gate_holds_a_pod_back_until_its_condition_is_true() -> None:
    document = pod("p", readinessGates=[{"conditionType": "example.com/ok"}])
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        ready: Any = node.condition("Ready")
        assert (ready["reason"], node.condition("ContainersReady")["status"]) == ("ReadinessGatesNotReady", "True")  # type: ignore[index]
        assert ready["message"] == 'corresponding condition of pod readiness gate "example.com/ok" does not exist.'
        condition = {"type": "example.com/ok", "status": "True"}
        node.run({**document, "status": {**node.status(), "conditions": [*node.status()["conditions"], condition]}})
        await node.settle()
        assert node.condition("Ready")["status"] == "True"  # type: ignore[index]


async def test_a_changed_image_restarts_its_container() -> None:
    document = pod("p")
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        node.run({**document, "spec": {**document["spec"], "containers": [container(image="y")]}})
        await node.settle()
        assert node.events.messages("Killing") == ["Container c definition changed, will be restarted"]
        assert (node.container()["image"], node.container()["restartCount"]) == ("y", 1)


async def test_variables_that_cannot_be_made_keep_a_container_waiting_until_they_can() -> None:
    variable = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}
    async with FakeNode() as node:
        node.run(pod("p", container(env=[variable])))
        await node.settle()
        waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "later" not found'}
        assert node.container()["state"]["waiting"] == waiting
        node.objects.known["config_map", "later"] = {"kind": "ConfigMap", "data": {"a": "1"}}
        await node.clock.advance(10)
        assert node.runs("c")[0].config.env == {"A": "1"}
