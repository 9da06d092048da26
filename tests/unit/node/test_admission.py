"""What a node has room for: whether it runs a pod at all, and whether it gives a running one more."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fakes.pods import FakeNode, pod
from kube_core.abc.runtime import Resources, RuntimeFailure
from kube_core.api.kubelet import KubeletSettings
from kube_core.node.pods.admission import STATIC_SOURCE
from kube_drivers.runtime.fake import FakeBehaviour

pytestmark = pytest.mark.anyio

NODE = {
    "metadata": {"name": "n", "labels": {"disk": "ssd", "kubernetes.io/os": "linux"}},
    "spec": {"taints": [{"key": "old", "effect": "NoSchedule"}, {"key": "gone", "effect": "NoExecute"}]},
    "status": {"allocatable": {"cpu": "4", "memory": "1Gi", "pods": "3"}},
}
TOLERATED = {"tolerations": [{"operator": "Exists"}]}


def container(name: str = "c", cpu: str = "", **more: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}} if cpu else {}
    return {"name": name, "image": "x", "resources": resources, **more}


def sysctl(name: str) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}


@pytest.mark.parametrize(
    ("spec", "each", "reason", "message"),
    [
        (TOLERATED, container(cpu="5"), "OutOfcpu",
         "Node didn't have enough resource: cpu, requested: 5000, used: 1000, capacity: 4000"),
        (TOLERATED, container(resources={"requests": {"memory": "2Gi"}}), "OutOfmemory",
         "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"),
        (TOLERATED, container(ports=[{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]), "NodePorts",
         "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"),
        ({**TOLERATED, "nodeSelector": {"disk": "hdd"}}, container(), "NodeAffinity",
         "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"),
        ({}, container(), "TaintToleration",
         "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"),
        ({**TOLERATED, "nodeSelector": {"kubernetes.io/os": "windows"}}, container(),
         "PodOSSelectorNodeLabelDoesNotMatch",
         "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"),
        ({**TOLERATED, "os": {"name": "windows"}}, container(), "PodOSNotSupported",
         "Failed to admit pod as the OS field doesn't match node OS"),
        ({**TOLERATED, **sysctl("kernel.sem")}, container(), "SysctlForbidden",
         'forbidden sysctl: "kernel.sem" not allowlisted'),
        ({**TOLERATED, "hostNetwork": True, **sysctl("net.ipv4.tcp_syncookies")}, container(), "SysctlForbidden",
         'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled'),
    ],
)  # fmt: skip
async def test_a_node_says_why_it_does_not_run_a_pod(
    spec: dict[str, Any], each: dict[str, Any], reason: str, message: str
) -> None:
    async with FakeNode(node=NODE) as node:
        first = container(cpu="1", ports=[{"containerPort": 8080, "hostPort": 80}])
        node.run(pod("first", first, **TOLERATED))
        node.run(pod("p", each, **spec))
        await node.settle()
        status = node.status()
        assert (status["phase"], status["reason"]) == ("Failed", reason)
        assert status["message"] == f"Pod was rejected: {message}"
        assert node.events.messages(reason) == [message]
        assert not node.runs("c")
        assert node.status("first")["phase"] == "Running"


async def test_a_full_node_takes_the_next_pod_once_one_has_ended() -> None:
    behaviours = {"x": FakeBehaviour(), "short": FakeBehaviour(runs_for=5)}
    async with FakeNode(node=NODE, behaviours=behaviours) as node:
        short = {"name": "c", "image": "short"}
        node.run(pod("short", short, restartPolicy="Never", **TOLERATED))
        for name in ("a", "b", "c"):
            node.run(pod(name, **TOLERATED))
        await node.clock.advance(6)
        assert node.status("c")["reason"] == "OutOfpods"
        assert node.status("short")["phase"] == "Succeeded"
        node.run(pod("d", **TOLERATED))
        await node.settle()
        assert node.status("d")["phase"] == "Running"


@pytest.mark.parametrize("name", ["kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "kernel.msgmax", "net.x"])
async def test_system_controls_that_are_safe_or_allowed_are_taken(name: str) -> None:
    settings = KubeletSettings(allowed_unsafe_sysctls=("kernel.msg*", "net.x"))
    async with FakeNode(settings=settings) as node:
        node.run(pod("p", **sysctl(name)))
        await node.settle()
        assert node.status()["phase"] == "Running"
        assert node.runtime.list_sandboxes()[0].config.sysctls == {name: "1"}


@pytest.mark.parametrize(
    ("pressures", "more", "taken"),
    [
        (("DiskPressure",), {}, False),
        (("MemoryPressure",), {}, False),
        (("MemoryPressure",), {"status": {"qosClass": "Burstable"}}, True),
        (("MemoryPressure", "PIDPressure"), {"status": {"qosClass": "Burstable"}}, False),
    ],
)
async def test_a_node_under_pressure_takes_fewer_pods(
    pressures: tuple[str, ...], more: dict[str, Any], taken: bool
) -> None:
    async with FakeNode() as node:
        node.pressures = pressures
        node.run(pod("p") | more)
        critical = pod("critical", priority=2_000_001_000)
        static = pod("static")
        static["metadata"]["annotations"] = {STATIC_SOURCE: "file"}
        node.run(critical)
        node.run(static)
        await node.settle()
        assert node.status()["phase"] == ("Running" if taken else "Failed")
        assert (node.status("critical")["phase"], node.status("static")["phase"]) == ("Running", "Running")
        if not taken:
            told = f"Pod was rejected: The node had condition: [{' '.join(pressures)}]. "
            assert (node.status()["reason"], node.status()["message"]) == ("Evicted", told)


def with_cpu(document: dict[str, Any], cpu: str, generation: int, **more: Any) -> dict[str, Any]:
    changed = {**document["spec"]["containers"][0], **container(cpu=cpu), **more}
    metadata = {**document["metadata"], "generation": generation}
    return {**document, "metadata": metadata, "spec": {**document["spec"], "containers": [changed]}}


async def test_a_running_pod_gets_more_where_there_is_room() -> None:
    document = pod("p", container(cpu="1"))
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        node.run(with_cpu(document, "3", 2))
        await node.settle()
        assert node.container()["allocatedResources"] == {"cpu": "3"}
        assert node.container()["resources"] == {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}
        assert (node.container()["restartCount"], node.condition("PodResizeInProgress")) == (0, None)
        reasons = [reason for _, reason, _ in node.events.seen if reason.startswith("Resize")]
        assert reasons == ["ResizeStarted", "ResizeCompleted"]
        assert node.events.messages("ResizeStarted")[0].startswith('Pod resize started: {"containers":[{"name":"c"')


async def test_a_resize_without_room_waits_until_there_is_some() -> None:
    document = pod("p", container(cpu="1"))
    async with FakeNode() as node:
        node.run(document)
        other = pod("other", container(cpu="2"))
        node.run(other)
        await node.settle()
        node.run(with_cpu(document, "3", 2))
        await node.settle()
        pending: Any = node.condition("PodResizePending")
        message = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000"
        assert (pending["reason"], pending["message"]) == ("Deferred", message)
        assert node.container()["allocatedResources"] == {"cpu": "1"}
        assert len(node.events.messages("ResizeDeferred")) == 1
        metadata = {**other["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
        node.run({**other, "metadata": metadata})
        await node.clock.advance(60)
        assert node.container()["allocatedResources"] == {"cpu": "3"}
        assert node.condition("PodResizePending") is None


async def test_a_pod_grows_before_its_containers_and_shrinks_after_them() -> None:
    document, told = pod("p", container(cpu="1")), []
    async with FakeNode() as node:
        vars(node.runtime)["capabilities"] = attrs.evolve(node.runtime.capabilities, resize=True, processes=True)

        async def update_container(container_id: str, resources: Resources) -> None:
            if failing:
                raise RuntimeFailure(failing.pop())
            told.append(("container", resources.cpu_quota))

        async def update_sandbox(sandbox_id: str, resources: Resources) -> None:
            told.append(("pod", resources.cpu_quota))

        failing: list[str] = []
        node.runtime.update_container = update_container  # type: ignore[method-assign]
        node.runtime.update_sandbox = update_sandbox  # type: ignore[method-assign]
        node.run(document)
        await node.settle()
        node.run(with_cpu(document, "2", 2))
        await node.settle()
        assert told[-2:] == [("pod", 200_000), ("container", 200_000)]
        node.run(with_cpu(document, "1", 3))
        await node.settle()
        assert told[-2:] == [("container", 100_000), ("pod", 100_000)]
        failing.append("the cgroup is busy")
        node.run(with_cpu(document, "3", 4))
        await node.settle()
        condition: Any = node.condition("PodResizeInProgress")
        assert (condition["reason"], condition["message"]) == ("Error", "the cgroup is busy")
        await node.clock.advance(10)
        assert (told[-1], node.condition("PodResizeInProgress")) == (("container", 300_000), None)


async def test_a_container_that_says_so_is_restarted_for_its_new_resources() -> None:
    policy: dict[str, Any] = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
    document = pod("p", container(cpu="1", **policy))
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        node.run(with_cpu(document, "2", 2))
        await node.settle()
        assert node.events.messages("Killing") == ["Container c resize requires restart"]
        assert node.container()["restartCount"] == 1
        assert node.runs("c")[-1].config.resources.cpu_quota == 200_000
        assert node.events.messages("ResizeCompleted")


async def test_a_new_agent_goes_on_with_what_was_granted() -> None:
    document = pod("p", container(cpu="3"))
    had = {
        "containerID": "fake://x",
        "name": "c",
        "allocatedResources": {"cpu": "1"},
        "resources": {"limits": {"cpu": "1"}},
    }
    async with FakeNode(node={"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2"}}}) as node:
        node.run(document | {"status": {"containerStatuses": [had]}})
        await node.settle()
        assert node.status()["phase"] == "Running"
        assert node.condition("PodResizePending")["reason"] == "Deferred"  # type: ignore[index]
        assert node.runs("c")[0].config.resources.cpu_quota == 100_000


async def test_a_node_that_is_another_one_by_now_is_looked_at_again() -> None:
    async with FakeNode(node=NODE) as node:
        now = {**NODE, "metadata": {"name": "n", "labels": {"disk": "hdd"}}}

        async def see() -> None:
            node.node = now

        node.host = attrs.evolve(node.host, see_node=see)
        node.run(pod("p", nodeSelector={"disk": "hdd"}, **TOLERATED))
        await node.settle()
        assert node.status()["phase"] == "Running"


async def test_a_pod_that_was_refused_goes_as_it_is() -> None:
    document = pod("p", container(cpu="50"))
    async with FakeNode() as node:
        node.run(document)
        await node.settle()
        refused = node.status()
        metadata = {
            **document["metadata"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 0,
        }
        node.run({**document, "metadata": metadata})
        await node.settle()
        assert (node.reports.deleted, node.status()) == (["uid-p"], refused)
