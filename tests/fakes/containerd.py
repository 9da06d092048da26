"""A containerd of the tests' own: its folders, its socket, its network, and a registry on loopback for its images.

    with running() as containerd:
        containerd.endpoint        unix:///tmp/…/containerd.sock
        containerd.kill()          as a crash would; containers go on
        containerd.start()         again, on the same folders

Pods are on point-to-point links in a range that no other test has. Afterwards everything is gone: containers, mounts,
network namespaces, the folders.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from fakes.containers import missing
from fakes.images import FakeRegistry, busybox_layer, make_image, serving
from kube_core._kit import mounts
from kube_drivers.runtime.cri.services import method

__all__ = ["Containerd", "missing_containerd", "needs_containerd", "running"]

#: Where Debian puts CNI's plugins.
_PLUGINS = Path("/usr/lib/cni")
_NEEDED = ("ptp", "host-local", "loopback")
_PATIENCE = 90.0

_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
oom_score = 0

[grpc]
  address = "{folder}/containerd.sock"

[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"

[debug]
  level = "warn"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example/pause:1"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  stats_collect_period = 1

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/registries"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "{program}"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{program}]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{program}.options]
        BinaryName = "{binary}"
"""


@functools.cache
def missing_containerd(program: str = "runc") -> str:
    """What a containerd of our own needs and this machine does not have; "" for nothing."""
    if reason := missing("containerd", "ctr", program):
        return reason
    gone = [name for name in _NEEDED if not (_PLUGINS / name).exists()]
    return f"{', '.join(gone)} of {_PLUGINS} are missing (Debian's containernetworking-plugins)" if gone else ""


def needs_containerd() -> pytest.MarkDecorator:
    reason = missing_containerd()
    return pytest.mark.skipif(bool(reason), reason=reason or "-")


@attrs.define(eq=False)
class Containerd:
    """One, with its registry: what is put there can be pulled, whatever registry a name says."""

    folder: Path
    registry: FakeRegistry
    program: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Return once it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                ["containerd", "--config", str(self.folder / "config.toml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would: what runs goes on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ctr(self, *words: str) -> str:
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *words]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=_PATIENCE).stdout

    def held(self) -> list[str]:
        """The sandboxes and containers that it has for CRI: kind, pod, and state."""
        import grpc

        with grpc.insecure_channel(self.endpoint, options=[("grpc.default_authority", "localhost")]) as channel:

            def ask(name: str) -> Any:
                asked = method(name)
                call = channel.unary_unary(asked.path, asked.request.SerializeToString, asked.response.FromString)
                return call(asked.request(), timeout=_PATIENCE)

            sandboxes, containers = ask("ListPodSandbox").items, ask("ListContainers").containers
        return [f"sandbox {each.metadata.name} {each.state}" for each in sandboxes] + [
            f"container {each.labels['io.kubernetes.pod.name']} {each.metadata.attempt} {each.state}"
            for each in containers
        ]

    def _answers(self) -> bool:
        with suppress(subprocess.SubprocessError):
            return "cri" in self.ctr("plugins", "ls", "-d", "id==cri")
        return False

    def clear(self) -> None:
        """End what runs, then itself, and leave nothing."""
        if self.process is None:
            self.start()
        with suppress(subprocess.SubprocessError):
            for task in self.ctr("tasks", "ls", "-q").split():
                with suppress(subprocess.SubprocessError):
                    self.ctr("tasks", "rm", "--force", task)
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        for pid in _processes_with(str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in mounts.mounts_below(self.folder):
            mounts.unmount(path)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(program: str = "runc", snapshotter: str = "overlayfs") -> Iterator[Containerd]:
    """One that answers. `program`: the OCI runtime. Its registry has `pause`, and busybox by the suite's names."""
    with ExitStack() as stack:
        registry = stack.enter_context(_registry())
        number = stack.enter_context(_number())
        folder = Path(tempfile.mkdtemp(prefix="kube-core-containerd-"))
        made = Containerd(folder, registry, program)
        stack.callback(made.clear)
        for name in ("root", "state", "opt", "cni", "registries/_default", "addresses"):
            (folder / name).mkdir(parents=True)
        binary = shutil.which(program) or program
        (folder / "config.toml").write_text(
            _CONFIG.format(folder=folder, plugins=_PLUGINS, program=program, binary=binary, snapshotter=snapshotter)
        )
        (folder / "registries/_default/hosts.toml").write_text(
            f'server = "{registry.url}"\n[host."{registry.url}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        (folder / "cni/10-kube-core-tests.conflist").write_text(json.dumps(_network(folder, number)))
        made.start()
        yield made


def _network(folder: Path, number: int) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": f"10.253.{number}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "kube-core-tests",
        "plugins": [{"type": "ptp", "ipam": addresses}],
    }


@contextmanager
def _number() -> Iterator[int]:
    """A range of addresses that no other test on this machine has: the name of a socket says whose it is."""
    for number in range(256):
        with socket.socket(socket.AF_UNIX) as held:
            try:
                held.bind(f"\0kube-core-tests-range-{number}")
            except OSError:
                continue
            yield number
            return
    raise RuntimeError("every range of addresses for tests is taken")


@contextmanager
def _registry() -> Iterator[FakeRegistry]:
    """A registry in a thread: a containerd is started where no loop runs."""
    started, registries = threading.Event(), []
    loop = asyncio.new_event_loop()

    async def serve(ended: asyncio.Event) -> None:
        async with serving() as registry:
            shell = make_image(busybox_layer(), Cmd=["sh"], Env=["PATH=/bin"])
            pause = make_image(busybox_layer(), Entrypoint=["/bin/sleep", "2000000000"])
            for name in ("library/sleeps", "library/fails"):
                registry.put(name, "latest", shell)
            registry.put("library/busybox", "1", shell)
            registry.put("pause", "1", pause)
            registries.append(registry)
            started.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(ended)), name="registry", daemon=True)
    thread.start()
    started.wait()
    try:
        yield registries[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def _processes_with(word: str) -> list[int]:
    """Those whose command line names our folder: shims that outlived their containerd."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if word.encode() in Path("/proc", name, "cmdline").read_bytes() and int(name) != os.getpid():
                found.append(int(name))
    return found
