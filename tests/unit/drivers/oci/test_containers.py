"""What a container sees and may do: looked at from within."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from fakes.containers import REGISTRIES, image_store, needs_containers
from fakes.images import busybox_layer, entry, make_image, make_layer
from fakes.waiting import eventually
from kube_core._kit import mounts
from kube_core._kit.clock import SystemClock
from kube_core.abc.runtime import (
    ContainerConfig,
    ContainerStatus,
    DnsConfig,
    ExecRequest,
    ImageFailure,
    LogOptions,
    Mount,
    Resources,
    RuntimeFailure,
    SandboxConfig,
)
from kube_core.abc.security import IdMapping, SeccompProfile, SecurityContext
from kube_core.abc.transport import ByteStream
from kube_core.abc.usage import RuntimeUsage
from kube_core.testing.runtime import until
from kube_drivers import kernel, usernamespaces
from kube_drivers.runtime.oci import OciRuntime
from kube_drivers.runtime.oci.images.archives import load_archive
from kube_drivers.runtime.oci.images.store import ImageStore

pytestmark = [pytest.mark.anyio, needs_containers("crun")]

POD = SandboxConfig("default", "pod", "uid-1", hostname="my-pod")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_store(tmp_path_factory, "busybox")


@attrs.define
class Site:
    """A runtime, and what it keeps where."""

    runtime: OciRuntime
    state: Path

    async def run(self, script: str, pod: SandboxConfig = POD, **fields: Any) -> ContainerStatus:
        """A container of this script in a sandbox of its own, once it has ended."""
        sandbox = await self.runtime.run_sandbox(pod)
        return await self.ended(await self.begin(sandbox.id, script, **fields))

    async def begin(self, sandbox_id: str, script: str, name: str = "main", **fields: Any) -> str:
        config = ContainerConfig(name, fields.pop("image", "busybox"), command=("sh", "-c", script), **fields)
        identity = await self.runtime.create_container(sandbox_id, config)
        await self.runtime.start_container(identity)
        return identity

    def status(self, identity: str) -> ContainerStatus:
        return next(each for each in self.runtime.list_containers() if each.id == identity)

    async def ended(self, identity: str) -> ContainerStatus:
        await until(lambda: self.status(identity).state == "exited")
        return self.status(identity)

    async def said(self, identity: str) -> list[str]:
        return [line.content.decode() async for line in self.runtime.logs(identity, LogOptions())]

    async def says(self, script: str, pod: SandboxConfig = POD, **fields: Any) -> list[str]:
        """What it wrote, having ended well."""
        status = await self.run(script, pod, **fields)
        lines = await self.said(status.id)
        assert status.exit_code == 0, lines
        return lines


@asynccontextmanager
async def started(state: Path, store: Path) -> AsyncIterator[Site]:
    runtime = make(state, store)
    await runtime.start()
    try:
        yield Site(runtime, state)
    finally:
        await runtime.end()


def make(state: Path, store: Path, **fields: Any) -> OciRuntime:
    options = {"registries": REGISTRIES, **fields}
    return OciRuntime(clock=SystemClock(), node_name="node", state_directory=str(state), images=store, **options)


async def test_a_container_has_names_processes_and_files_of_its_own(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        pod = attrs.evolve(POD, dns=DnsConfig(("10.0.0.10",), ("svc", "local"), ("ndots:5",)))
        script = "hostname; cat /etc/hostname /etc/resolv.conf; echo $$ $HOSTNAME $HOME"
        assert await site.says(script, pod) == [
            "my-pod", "my-pod", "nameserver 10.0.0.10", "search svc local", "options ndots:5", "1 my-pod /root",
        ]  # fmt: skip


async def test_containers_of_a_pod_share_memory_and_hostname_but_not_processes(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        first = await site.begin(sandbox.id, "echo there > /dev/shm/note; readlink /proc/self/ns/ipc; sleep 1000", "a")
        await until(lambda: Path(site.status(first).log_path).stat().st_size > 0)
        script = "cat /dev/shm/note; readlink /proc/self/ns/ipc; ps | grep -c '[s]leep 1000'"
        second = await site.begin(sandbox.id, script, "b")
        await site.ended(second)
        (ipc,) = await site.said(first)
        assert await site.said(second) == ["there", ipc, "0"]


async def test_a_pod_that_shares_its_processes_has_one_first_process_of_its_own(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(attrs.evolve(POD, shared_processes=True))
        sleeper = await site.begin(sandbox.id, "(sleep 1234567 &); echo ready; sleep 1000", "a")
        await until(lambda: Path(site.status(sleeper).log_path).stat().st_size > 0)
        script = "tr -d '\\0' </proc/1/cmdline; echo; ls /proc/1/root/ 2>&- | wc -l; ps | grep -c '[s]leep 1234567$'"
        looks = await site.ended(await site.begin(sandbox.id, script, "b"))
        assert await site.said(looks.id) == ["/pause", "0", "1"]
        # The end of one container is not that of the pod's processes; but all of its own end.
        await site.runtime.stop_container(sleeper, 0)
        script = "ps | grep -q '[s]leep 1234567' || echo gone"
        assert await site.said((await site.ended(await site.begin(sandbox.id, script, "c"))).id) == ["gone"]
        await site.runtime.remove_sandbox(sandbox.id)
        assert site.runtime._holders == {}


USERS = attrs.evolve(POD, user_namespace=IdMapping(65_536 * 7))

needs_users = pytest.mark.skipif(
    not usernamespaces.available(), reason="this machine has no user namespaces, or maps no mounts"
)


@needs_users
async def test_a_pod_may_have_users_of_its_own_who_are_nobody_to_the_host(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        volume = tmp_path / "volume"
        volume.mkdir()
        (volume / "old").write_text("old\n")
        (volume / "old").chmod(0o600)
        script = "; ".join(
            (
                "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '",
                "id -u",
                "stat -c %u /bin/sh /v/old /dev/shm /etc/hostname",
                "cat /v/old",
                "echo new > /v/new",
                "echo x > /file",
                "stat -c %u /v/new /file",
                "hostname",
            )
        )
        volumes = (Mount("v", "/v", str(volume)),)
        said = await site.says(script, USERS, mounts=volumes)
        assert said == [" 0 458752 65536"] * 2 + ["0"] * 5 + ["old", "0", "0", "my-pod"]
        # On the disk the host's root has it.
        assert (volume / "new").stat().st_uid == 0
        await site.runtime.end()
        assert mounts.mounts_below(tmp_path) == []


@needs_users
async def test_a_volume_that_cannot_be_given_to_a_pods_users_is_told(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        why = "/proc/sys is on a file system that cannot give its files to a pod's own users"
        with pytest.raises(RuntimeFailure, match=why):
            await site.run("true", USERS, mounts=(Mount("v", "/v", "/proc/sys"),))
        assert not list((tmp_path / "oci" / "containers").iterdir())


@needs_users
async def test_all_that_a_pod_with_users_of_its_own_has_belongs_to_them(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        pod = attrs.evolve(USERS, shared_processes=True, sysctls={"kernel.shm_rmid_forced": "1"})
        sandbox = await site.runtime.run_sandbox(pod)
        sleeper = await site.begin(sandbox.id, "echo ready; sleep 1000", "a", security=SecurityContext(user=1000))
        await until(lambda: Path(site.status(sleeper).log_path).stat().st_size > 0)
        pid = site.runtime._pids[sleeper]
        assert f"Uid:\t{65_536 * 7 + 1000}\t" in await anyio.Path(f"/proc/{pid}/status").read_text()
        script = (
            "cat /proc/sys/kernel/shm_rmid_forced; tr -d '\\0' </proc/1/cmdline; echo; ps | grep -c '[s]leep 1000$'"
        )
        looks = await site.ended(await site.begin(sandbox.id, script, "b"))
        assert await site.said(looks.id) == ["1", "/pause", "1"]


async def test_an_ephemeral_container_sees_the_processes_of_its_target(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        target = await site.begin(sandbox.id, "sleep 7654321", "target")
        script = "ps | grep -q '[s]leep 7654321' && echo seen"
        debugger = await site.begin(sandbox.id, script, "debugger", target_id=target)
        assert await site.said((await site.ended(debugger)).id) == ["seen"]


async def test_the_user_is_who_was_asked_for_with_the_groups_of_the_image(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        security = SecurityContext(user=1000, supplemental_groups=(77,))
        assert await site.says("id -u; id -g; id -G; echo $HOME", security=security) == [
            "1000", "1001", "1001 50 77", "/home",
        ]  # fmt: skip
        (status,) = site.runtime.list_containers()
        assert status.user is not None
        assert (status.user.user, status.user.group, status.user.supplemental_groups) == (1000, 1001, (50, 77, 1001))


async def test_the_root_is_read_only_where_that_is_said_and_the_working_directory_is_made(
    tmp_path: Path, store: Path
) -> None:
    async with started(tmp_path, store) as site:
        security = SecurityContext(read_only_root=True)
        script = "pwd; touch file 2>/dev/null || echo refused; touch /dev/shm/file && echo done"
        assert await site.says(script, security=security, working_dir="/deep/er") == ["/deep/er", "refused", "done"]


async def test_who_is_not_root_may_read_what_everybody_may_whatever_our_umask(tmp_path: Path, store: Path) -> None:
    before = os.umask(0o077)
    try:
        layer = make_layer(entry("opt/app/file", b"content\n", mode=0o644))
        root = make_image(busybox_layer(), layer).save_docker(tmp_path / "i.tar", "masked")
        load_archive(ImageStore(store), root)
        async with started(tmp_path / "state", store) as site:
            script = "ls -d / >&- && cat /opt/app/file /etc/hostname && pwd && stat -c %a / /etc/resolv.conf"
            security = SecurityContext(user=1000)
            lines = await site.says(script, image="masked", security=security, working_dir="/some/where")
            assert lines == ["content", "my-pod", "/some/where", "755", "644"]
    finally:
        os.umask(before)


async def test_mounts_stand_where_they_are_told_with_what_they_are_told(tmp_path: Path, store: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/file").write_text("content\n")
    async with started(tmp_path / "state", store) as site:
        mounts = (
            Mount("v", "/data", str(tmp_path / "volume")),
            Mount("v", "/fixed", str(tmp_path / "volume"), read_only=True),
            Mount("v", "/one", str(tmp_path / "volume/file")),
        )
        script = "cat /data/file /one; touch /fixed/no 2>/dev/null || echo refused; echo back > /data/new"
        assert await site.says(script, mounts=mounts) == ["content", "content", "refused"]
    assert (tmp_path / "volume/new").read_text() == "back\n"


async def test_an_image_may_be_a_volume(tmp_path: Path, store: Path) -> None:
    layer = make_layer(entry("data"), entry("data/file", b"from an image\n"))
    load_archive(ImageStore(store), make_image(layer).save_docker(tmp_path / "v.tar", "volume"))
    async with started(tmp_path / "state", store) as site:
        mounts = (
            Mount("v", "/whole", "", image="volume"),
            Mount("v", "/part", "", image="volume", image_path="data"),
        )
        script = "cat /whole/data/file /part/file; touch /part/no 2>/dev/null || echo refused"
        assert await site.says(script, mounts=mounts) == ["from an image", "from an image", "refused"]
        volume = await site.runtime.image_status("volume")
        assert volume is not None
        with pytest.raises(ImageFailure, match="in use"):
            await site.runtime.remove_image(volume.id)
        with pytest.raises(ImageFailure, match="not present"):
            await site.run("true", mounts=(Mount("v", "/whole", "", image="none"),))
        with pytest.raises(RuntimeFailure, match='"volume" has no "nothing"'):
            await site.run("true", mounts=(Mount("v", "/part", "", image="volume", image_path="nothing"),))


async def test_seccomp_and_capabilities_hold(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        script = "grep -E '^(Seccomp|NoNewPrivs|CapBnd):' /proc/self/status; mount -t tmpfs x /tmp 2>&1 || true"
        security = SecurityContext(
            seccomp=SeccompProfile("RuntimeDefault"), no_new_privileges=True, drop_capabilities=("ALL",)
        )
        lines = await site.says(script, security=security)
        assert [line.split() for line in lines[:3]] == [
            ["CapBnd:", "0000000000000000"], ["NoNewPrivs:", "1"], ["Seccomp:", "2"],
        ]  # fmt: skip
        assert "denied" in lines[3] or "not permitted" in lines[3]
        script = "mount -t tmpfs x /tmp && ls -l /dev/null | cut -c1"
        assert (await site.says(script, name="other", security=SecurityContext(privileged=True))) == ["c"]


async def test_sysctls_of_namespaces_are_set_and_others_refused(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        pod = attrs.evolve(POD, sysctls={"kernel.shm_rmid_forced": "1"})
        assert await site.says("cat /proc/sys/kernel/shm_rmid_forced", pod) == ["1"]
        with pytest.raises(RuntimeFailure, match="not in a separate kernel namespace"):
            await site.runtime.run_sandbox(attrs.evolve(POD, sysctls={"vm.swappiness": "1"}))
        assert [each.ready for each in site.runtime.list_sandboxes()] == [True]


async def test_limits_are_set_measured_and_changed(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        resources = Resources(cpu_shares=512, memory_bytes=64 << 20, pids=50)
        sandbox = await site.runtime.run_sandbox(attrs.evolve(POD, resources=Resources(memory_bytes=128 << 20)))
        identity = await site.begin(sandbox.id, "while true; do :; done", resources=resources)
        cgroup = f"/kube-core/{sandbox.id}/{identity}"

        def limit_of(path: str) -> int:
            memory = site.runtime._cgroups.trees.get("memory")
            if memory is not None:
                return int((memory / path.strip("/") / "memory.limit_in_bytes").read_text())
            unified = site.runtime._cgroups.unified
            assert unified is not None
            return int((unified / path.strip("/") / "memory.max").read_text())

        assert limit_of(cgroup) == 64 << 20
        assert limit_of(f"/kube-core/{sandbox.id}") == 128 << 20
        await site.runtime.update_container(identity, attrs.evolve(resources, memory_bytes=32 << 20))
        assert limit_of(cgroup) == 32 << 20
        shown = site.status(identity).resources
        assert shown is not None
        assert shown.memory_bytes == 32 << 20
        before = await site.runtime.usage()
        assert before is not None

        async def more() -> RuntimeUsage | None:
            found = await site.runtime.usage()
            assert found is not None
            used = found.containers[identity].cpu_nanoseconds
            return found if used > before.containers[identity].cpu_nanoseconds else None

        after = await eventually(more)
        assert 0 < after.containers[identity].memory_bytes < 32 << 20


async def test_a_container_that_wants_too_much_memory_is_out_of_it(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        script = "dd if=/dev/zero of=/dev/null bs=200M count=1"
        status = await site.run(script, resources=Resources(memory_bytes=16 << 20))
        assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_the_signal_of_the_image_asks_it_to_end(tmp_path: Path, store: Path) -> None:
    layers = ImageStore(store)
    busybox = layers.find("busybox")
    assert busybox is not None
    image = make_image(make_layer(entry("x")), StopSignal="SIGUSR2")
    load_archive(layers, image.save_docker(tmp_path / "i.tar", "signalled"))
    async with started(tmp_path / "state", store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        identity = await site.runtime.create_container(sandbox.id, ContainerConfig("c", "signalled", command=("x",)))
        assert site.status(identity).stop_signal == "SIGUSR2"


async def test_what_cannot_be_started_leaves_nothing(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        image = make_image(make_layer(entry("x")), User="nobody-knows")
        load_archive(ImageStore(store), image.save_docker(tmp_path / "broken.tar", "broken"))
        with pytest.raises(RuntimeFailure, match="unable to find user"):
            await site.runtime.create_container(sandbox.id, ContainerConfig("c", "broken", command=("x",)))
        assert site.runtime.list_containers() == []
        assert list((tmp_path / "oci/containers").iterdir()) == []
        assert [path for path in mounts.mounts_below(tmp_path) if "containers" in str(path)] == []


async def test_removing_everything_leaves_nothing_of_it(tmp_path: Path, store: Path) -> None:
    state = tmp_path / "state"
    async with started(state, store) as site:
        status = await site.run("true")
        await site.runtime.remove_sandbox(status.sandbox_id)
        assert mounts.mounts_below(state) == []
        assert [list((state / "oci" / name).iterdir()) for name in ("containers", "sandboxes")] == [[], []]
        assert list((store / "holds").iterdir()) == []
        assert not any(
            (tree / "kube-core" / status.sandbox_id).exists() for tree in site.runtime._cgroups.trees.values()
        )
    assert not (state / "oci").exists()


async def test_what_a_killed_agent_left_half_done_is_cleared_away(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        kept = await site.runtime.run_sandbox(POD)
        identity = await site.begin(kept.id, "sleep 1000")
        # As if it had been killed between the mount and the supervisor's word of it.
        image = ImageStore(store).find("busybox")
        assert image is not None
        half = site.runtime._files_of("half")
        await anyio.to_thread.run_sync(site.runtime._prepare, "half", kept, ContainerConfig("c", "busybox"), image, {})
        assert mounts.is_mount(half / "merged")
        await site.runtime.stop()
        again = make(tmp_path, store)
        await again.start()
        assert not half.exists()
        assert [each.state for each in again.list_containers() if each.id == identity] == ["running"]
        assert [each.ready for each in again.list_sandboxes()] == [True]
        await again.stop()


async def test_after_the_machine_was_started_anew_sandboxes_are_over(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        await site.runtime.stop()
        for path in mounts.mounts_below(tmp_path):
            mounts.unmount(path)
        again = make(tmp_path, store)
        await again.start()
        assert [(each.id, each.ready) for each in again.list_sandboxes()] == [(sandbox.id, False)]
        await again.end()


async def test_images_are_listed_counted_and_removed_unless_in_use(tmp_path: Path, store: Path) -> None:
    image = make_image(make_layer(entry("x")))
    archive = image.save_docker(tmp_path / "x.tar", "removable:1", "removable:2")
    runtime = make(tmp_path / "state", store, image_folders=[archive])
    await runtime.start()
    try:
        found = await runtime.image_status("removable:1")
        assert found is not None
        assert found.references == ("docker.io/library/removable:1", "docker.io/library/removable:2")
        usage = await runtime.image_usage()
        assert usage is not None
        assert 0 < usage.used < usage.capacity
        site = Site(runtime, tmp_path)
        sandbox = await runtime.run_sandbox(POD)
        await site.begin(sandbox.id, "sleep 1000")
        busybox = await runtime.image_status("busybox")
        assert busybox is not None
        with pytest.raises(ImageFailure, match="in use"):
            await runtime.remove_image(busybox.id)
        await runtime.remove_image(found.id)
        await runtime.remove_image(found.id)
        assert found.id not in [each.id for each in await runtime.list_images()]
    finally:
        await runtime.end()


async def test_a_command_runs_as_the_container_does(tmp_path: Path, store: Path) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(POD)
        identity = await site.begin(
            sandbox.id, "sleep 1000", env={"A": "1"}, security=SecurityContext(user=1000), working_dir="/tmp"
        )
        result = await site.runtime.exec_sync(identity, ["sh", "-c", "id -u; pwd; echo $A; readlink /proc/1/ns/pid"])
        again = await site.runtime.exec_sync(identity, ["readlink", "/proc/self/ns/pid"])
        assert result.stdout.split() == [b"1000", b"/tmp", b"1", again.stdout.strip()]
        with pytest.raises(RuntimeFailure, match="not found"):
            await site.runtime.exec(identity, ExecRequest(("no-such-program",)))
        files = site.runtime._files_of(identity)
        assert [name for name in os.listdir(files) if name.startswith("exec-")] == []


@pytest.fixture
def network_namespace(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "namespaces"
    folder.mkdir()
    kernel.pin_namespaces(("net",), folder, lambda: None)
    yield str(folder / "net")
    mounts.unmount(folder / "net")


async def test_the_ports_of_a_pod_are_reached_inside_it(tmp_path: Path, store: Path, network_namespace: str) -> None:
    async with started(tmp_path, store) as site:
        sandbox = await site.runtime.run_sandbox(attrs.evolve(POD, namespace_path=network_namespace))
        security = SecurityContext(add_capabilities=("NET_ADMIN",))
        await site.begin(sandbox.id, "ip link set lo up; nc -l -p 8080 -e cat", security=security)

        async def reached() -> ByteStream | None:
            try:
                return await site.runtime.port_forward(sandbox.id, 8080)
            except RuntimeFailure:
                return None

        stream = await eventually(reached)
        await stream.send(b"echo")
        assert await stream.receive() == b"echo"
        await stream.close()
        with pytest.raises(RuntimeFailure, match="failed to connect to localhost:9 inside the pod: Connection refused"):
            await site.runtime.port_forward(sandbox.id, 9)
