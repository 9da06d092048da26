"""`kube-core cri` as kubelets see it: gRPC over a unix socket, of simulated containers, and as root of real ones."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

from fakes.containers import image_store, needs_containers
from fakes.criserver import POD_CIDR, ended, serving
from fakes.waiting import eventually
from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import ContainerNotFound
from kube_drivers.network.fake import FakeNetwork
from kube_drivers.runtime.fake import FakeBehaviour, FakeRuntime

pytest.importorskip("grpc")

from kube_drivers.runtime.cri.endpoint import Endpoint, EndpointFailure, target_of
from kube_drivers.runtime.criserver.process import CriOptions, serve_drivers

pytestmark = pytest.mark.anyio

BEHAVIOURS = {
    "fails": FakeBehaviour(runs_for=0.0, exit_code=3),
    "says": FakeBehaviour(exec_output="hello\n", exec_exit_code=2),
    "missing": FakeBehaviour(pull_error="manifest unknown"),
}


@attrs.frozen
class Client:
    """Whoever asks."""

    endpoint: Endpoint

    async def __call__(self, call: str, /, **fields: Any) -> Any:
        return await self.endpoint.call(call, deadline=20.0, **fields)

    async def refused(self, call: str, /, **fields: Any) -> str:
        """The status code with which a call fails."""
        with pytest.raises((EndpointFailure, ContainerNotFound)) as failed:
            await self(call, **fields)
        return failed.value.code if isinstance(failed.value, EndpointFailure) else "NOT_FOUND"

    async def sandbox(self, name: str = "web", **fields: Any) -> str:
        config = {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"}, **fields}
        answer = await self("RunPodSandbox", config=config)
        return str(answer.pod_sandbox_id)

    async def container(self, pod: str, image: str = "says", name: str = "main", **fields: Any) -> str:
        await self("PullImage", image={"image": image})
        config = {"metadata": {"name": name}, "image": {"image": image}, **fields}
        answer = await self("CreateContainer", pod_sandbox_id=pod, config=config)
        return str(answer.container_id)

    async def running(self, pod: str, image: str = "says", **fields: Any) -> str:
        identity = await self.container(pod, image, **fields)
        await self("StartContainer", container_id=identity)
        return identity

    async def status(self, identity: str) -> Any:
        return (await self("ContainerStatus", container_id=identity)).status

    async def exited(self, identity: str) -> Any:
        async def look() -> Any:
            status = await self.status(identity)
            return status if status.state == 2 else None

        return await eventually(look)


@contextlib.asynccontextmanager
async def client_of(path: Path) -> AsyncIterator[Client]:
    endpoint = Endpoint(target_of(f"cri:unix://{path}"), SystemClock())
    endpoint.connect()
    try:
        yield Client(endpoint)
    finally:
        await endpoint.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Of a server of simulated containers."""
    clock = SystemClock()
    runtime = FakeRuntime(clock=clock, node_name="node", behaviours=BEHAVIOURS)
    network = FakeNetwork(clock=clock, node_name="node", pod_cidr="10.5.0.0/24")
    options = CriOptions(
        runtime="fake", network="fake", state=tmp_path, listen=[tmp_path / "cri.sock"], pod_cidr="10.5.0.0/24"
    )
    await runtime.start()
    try:
        async with serve_drivers(runtime, network, options, clock), client_of(tmp_path / "cri.sock") as found:
            yield found
    finally:
        await runtime.end()


async def test_a_runtime_says_who_and_how_it_is(client: Client) -> None:
    version = await client("Version")
    assert (version.runtime_name, version.runtime_api_version) == ("kube-core", "v1")
    status = await client("Status", verbose=True)
    assert {each.type: each.status for each in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert "10.5.0.0/24" in status.info["config"]
    assert (await client("RuntimeConfig")).linux.cgroup_driver == 1
    await client("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.9.0.0/24"}})


async def test_a_pods_sandbox_is_run_listed_stopped_and_removed(client: Client) -> None:
    one = await client.sandbox("one", labels={"app": "a"})
    two = await client.sandbox("two", labels={"app": "b"})
    status = (await client("PodSandboxStatus", pod_sandbox_id=one)).status
    assert (status.state, status.metadata.name, status.network.ip) == (0, "one", "10.5.0.2")

    async def listed(**wanted: Any) -> list[str]:
        return [each.id for each in (await client("ListPodSandbox", filter=wanted)).items]

    assert await listed() == [one, two]
    assert await listed(label_selector={"app": "b"}) == [two]
    await client("StopPodSandbox", pod_sandbox_id=one)
    assert await listed(state={"state": "SANDBOX_READY"}) == [two]
    assert await listed(id=one) == [one]
    await client("RemovePodSandbox", pod_sandbox_id=one)
    assert await listed() == [two]
    # Again, and of what never was.
    for call in ("StopPodSandbox", "RemovePodSandbox"):
        await client(call, pod_sandbox_id=one)
    assert await client.refused("PodSandboxStatus", pod_sandbox_id=one) == "NOT_FOUND"
    # Its address can be had by another.
    three = await client.sandbox("three")
    assert (await client("PodSandboxStatus", pod_sandbox_id=three)).status.network.ip


async def test_no_two_sandboxes_and_no_two_containers_have_one_name_and_attempt(client: Client) -> None:
    pod = await client.sandbox()
    config = {"metadata": {"name": "web", "namespace": "default", "uid": "uid-web"}}
    assert await client.refused("RunPodSandbox", config=config) == "ALREADY_EXISTS"
    await client.container(pod)
    config = {"metadata": {"name": "main"}, "image": {"image": "says"}}
    assert await client.refused("CreateContainer", pod_sandbox_id=pod, config=config) == "ALREADY_EXISTS"


async def test_a_container_is_created_started_stopped_and_removed(client: Client) -> None:
    pod = await client.sandbox()
    identity = await client.container(pod, labels={"a": "b"}, annotations={"c": "d"})
    status = await client.status(identity)
    assert (status.state, dict(status.labels), dict(status.annotations)) == (0, {"a": "b"}, {"c": "d"})
    await client("StartContainer", container_id=identity)
    assert (await client.status(identity)).state == 1
    # A beginning of the id will do.
    assert (await client.status(identity[:4])).id == identity
    await client("StopContainer", container_id=identity, timeout=5)
    status = await client.status(identity)
    assert (status.state, status.exit_code, status.reason) == (2, 0, "Completed")
    for call in ("StopContainer", "RemoveContainer", "RemoveContainer", "StopContainer"):
        await client(call, container_id=identity)
    assert await client.refused("ContainerStatus", container_id=identity) == "NOT_FOUND"
    assert await client.refused("StartContainer", container_id=identity) == "NOT_FOUND"


async def test_a_container_that_fails_has_its_exit_code(client: Client) -> None:
    status = await client.exited(await client.running(await client.sandbox(), "fails"))
    assert (status.exit_code, status.reason) == (3, "Error")


async def test_containers_are_listed_by_what_is_wanted(client: Client) -> None:
    one, two = await client.sandbox("one"), await client.sandbox("two")
    first = await client.running(one, labels={"a": "1"})
    second = await client.container(two, labels={"a": "2"})

    async def listed(call: str = "ListContainers", **wanted: Any) -> list[str]:
        return [each.id for each in (await client(call, filter=wanted)).containers]

    assert await listed() == [first, second]
    assert await listed(pod_sandbox_id=two) == [second]
    assert await listed(label_selector={"a": "1"}) == [first]
    assert await listed(state={"state": "CONTAINER_CREATED"}) == [second]
    streamed = [each async for each in client.endpoint.stream("StreamContainers", filter={"pod_sandbox_id": one})]
    assert [each.id for piece in streamed for each in piece.containers] == [first]


async def test_a_command_is_run_and_its_end_is_told(client: Client) -> None:
    identity = await client.running(await client.sandbox())
    answer = await client("ExecSync", container_id=identity, cmd=["anything"])
    assert (answer.stdout, answer.exit_code) == (b"hello\n", 2)
    assert await client.refused("ExecSync", container_id=identity) == "INVALID_ARGUMENT"


async def test_a_stream_is_had_once_by_its_url(client: Client) -> None:
    identity = await client.running(await client.sandbox())
    url = (await client("Exec", container_id=identity, cmd=["x"], stdout=True)).url
    assert url.startswith("http://127.0.0.1:")
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
            messages = [message.data async for message in socket]
        assert messages[0] == b"\x01hello\n"
        assert b'"reason":"NonZeroExitCode"' in messages[1]
        async with session.get(url) as again:
            assert again.status == 404
    both = {"container_id": identity, "cmd": ["x"], "stdout": True, "stderr": True, "tty": True}
    assert await client.refused("Exec", **both) == "INVALID_ARGUMENT"
    assert await client.refused("Exec", container_id=identity, cmd=["x"]) == "INVALID_ARGUMENT"
    assert await client.refused("Attach", container_id=identity) == "INVALID_ARGUMENT"


async def test_images_are_pulled_and_known(client: Client) -> None:
    pulled = (await client("PullImage", image={"image": "says"})).image_ref
    image = (await client("ImageStatus", image={"image": "says"})).image
    assert image.id == pulled
    assert not (await client("ImageStatus", image={"image": "never-pulled"})).HasField("image")
    assert await client.refused("PullImage", image={"image": "missing"}) == "UNKNOWN"
    assert await client.refused("PullImage", image={}) == "INVALID_ARGUMENT"
    auth = {"auth": "no base64"}
    assert await client.refused("PullImage", image={"image": "says"}, auth=auth) == "INVALID_ARGUMENT"


async def test_what_happens_is_told_to_who_listens(client: Client) -> None:
    seen: list[tuple[str, int]] = []

    async def listen() -> None:
        async for event in client.endpoint.stream("GetContainerEvents"):
            seen.append((event.container_id, event.container_event_type))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        pods: list[str] = []

        async def listened() -> bool:
            pods.append(await client.sandbox(f"web-{len(pods)}"))
            return bool(seen)

        await eventually(listened)
        pod = pods[-1]
        identity = await client.running(pod)
        await client("StopContainer", container_id=identity, timeout=0)
        await client.exited(identity)
        await client("RemovePodSandbox", pod_sandbox_id=pod)

        async def removed() -> bool:
            return (pod, 3) in seen

        await eventually(removed)
        tasks.cancel_scope.cancel()
    assert {kind for each, kind in seen if each == identity} <= {0, 1, 2, 3}
    assert (identity, 3) in seen
    assert [kind for each, kind in seen if each == pod][-2:] == [2, 3]


async def test_statistics_are_those_of_what_runs(client: Client) -> None:
    pod = await client.sandbox(labels={"app": "a"})
    identity = await client.running(pod, labels={"a": "b"})
    await client.container(pod, name="idle")
    stats = (await client("ListContainerStats", filter={"label_selector": {"a": "b"}})).stats
    assert [each.attributes.id for each in stats] == [identity]
    assert (await client("ContainerStats", container_id=identity)).stats.attributes.metadata.name == "main"
    assert (await client("PodSandboxStats", pod_sandbox_id=pod)).stats.attributes.id == pod
    assert len((await client("ListPodSandboxStats", filter={"label_selector": {"app": "b"}})).stats) == 0


async def test_the_place_of_another_server_is_not_taken(client: Client, tmp_path: Path) -> None:
    clock = SystemClock()
    runtime = FakeRuntime(clock=clock, node_name="other")
    network = FakeNetwork(clock=clock, node_name="other", pod_cidr="10.5.1.0/24")
    options = CriOptions(
        runtime="fake", network="fake", state=tmp_path, listen=[tmp_path / "cri.sock"], pod_cidr="10.5.1.0/24"
    )
    with pytest.raises(OSError, match="Address already in use"):
        async with serve_drivers(runtime, network, options, clock):
            pass
    assert (await client("Version")).runtime_name == "kube-core"


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ("CheckpointContainer", {"container_id": "c"}),
        ("ListMetricDescriptors", {}),
        ("ListPodSandboxMetrics", {}),
    ],
)
async def test_what_nothing_answers_is_unimplemented(client: Client, call: str, fields: dict[str, Any]) -> None:
    assert await client.refused(call, **fields) == "UNIMPLEMENTED"


@needs_containers()
async def test_real_containers_outlive_a_killed_server(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, log = image_store(tmp_path_factory, "busybox"), tmp_path / "logs"
    fields = {
        "command": ["sh", "-c", "echo begun; trap 'exit 7' TERM; while :; do sleep 0.1; done"],
        "log_path": "main.log",
        "linux": {"resources": {"memory_limit_in_bytes": 64 << 20}},
    }
    with ended(tmp_path):
        with serving(tmp_path, store) as process:
            async with client_of(tmp_path / "cri.sock") as client:
                pod = await client.sandbox(log_directory=str(log), dns_config={"servers": ["10.96.0.10"]})
                identity = await client.running(pod, "busybox", **fields)
                address = (await client("PodSandboxStatus", pod_sandbox_id=pod)).status.network.ip
                assert ipaddress.ip_address(address) in ipaddress.ip_network(POD_CIDR)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        with serving(tmp_path, store):
            async with client_of(tmp_path / "cri.sock") as client:
                listed = await client("ListContainers", filter={"state": {"state": "CONTAINER_RUNNING"}})
                assert [each.id for each in listed.containers] == [identity]
                status = (await client("PodSandboxStatus", pod_sandbox_id=pod)).status
                assert (status.state, status.network.ip) == (0, address)
                said = await client("ExecSync", container_id=identity, cmd=["cat", "/etc/resolv.conf"])
                assert said.stdout == b"nameserver 10.96.0.10\n"
                slow = {"container_id": identity, "cmd": ["sleep", "100"], "timeout": 1}
                assert await client.refused("ExecSync", **slow) == "DEADLINE_EXCEEDED"
                stats = (await client("ContainerStats", container_id=identity)).stats
                assert stats.memory.working_set_bytes.value > 0
                pod_stats = (await client("PodSandboxStats", pod_sandbox_id=pod)).stats.linux
                assert pod_stats.network.default_interface.name == "eth0"
                assert pod_stats.memory.working_set_bytes.value > 0
                await client("StopContainer", container_id=identity, timeout=20)
                assert (await client.status(identity)).exit_code == 7
                await client("RemovePodSandbox", pod_sandbox_id=pod)
                assert len((await client("ListPodSandbox")).items) == 0
                # The log's path was the client's to choose, so the log is the client's to remove.
                assert (log / "main.log").read_text().endswith("stdout F begun\n")
