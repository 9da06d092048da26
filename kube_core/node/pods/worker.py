"""One pod's worker: from what the pod wants and what runs to what is to be done, over and over, one thing at a time.

Level-based: `poke` says that something may have changed, and `_sync` looks at all of it: the pod as the informer has
it, the containers as the runtime has them, the probes' results. So nothing is lost by an agent that is started again,
and nothing runs twice. A worker has a task only while it has work, and at most one timer.

Two things interrupt a sync: deletion, and a shorter grace. The worker of a pod that is gone from the API ends what is
left of it. Called by the agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import attrs

from kube_core._kit.clock import Timer
from kube_core.abc.network import NetworkError, SandboxRequest
from kube_core.abc.runtime import ContainerStatus, RuntimeFailure, SandboxConfig, SandboxStatus
from kube_core.api.pods import is_terminal
from kube_core.meta.documents import (
    Document,
    annotations_of,
    is_deleting,
    metadata_of,
    name_of,
    namespace_of,
    uid_of,
)
from kube_core.meta.times import format_time, parse_time
from kube_core.node.pods import containers
from kube_core.node.pods.backoff import duration_text
from kube_core.node.pods.host import Host
from kube_core.node.pods.plan import History, history, make_plan
from kube_core.node.pods.status import Observed, Waiting, pod_status
from kube_core.node.probes import Probed
from kube_core.node.volumes.mounting import needs_refreshing
from kube_core.node.volumes.payload import VolumeFailure

__all__ = ["PodWorker"]

_REFRESH_SECONDS = 60.0
_FIRST_RETRY = 0.5
_LAST_RETRY = 122.0
_DEFAULT_GRACE = 30.0


class _NoSandbox(Exception):
    """Why the pod's sandbox could not be made, for the event."""


@attrs.define(eq=False)
class PodWorker:
    """`gone`: the pod is no longer in the API. `ended` is told once nothing of such a pod is left."""

    host: Host
    pod: Document
    ended: Callable[[PodWorker], None]
    gone: bool = False
    _dirty: bool = False
    _interrupted: bool = False
    #: The task has begun. One that has not would be cancelled for good, and has nothing to be left.
    _begun: bool = False
    _task: asyncio.Task[None] | None = None
    _timer: Timer | None = None
    _next_look: float | None = None
    _failures: int = 0
    _places: dict[str, str] | None = None
    _refresh_at: float = 0.0
    _sandbox: SandboxStatus | None = None
    _ips: tuple[str, ...] = ()
    _waiting: dict[str, Waiting] = attrs.field(factory=dict)
    _hooked: set[str] = attrs.field(factory=set)
    _status: Document = attrs.field(factory=dict)
    _start_time: str = ""
    _grace_ends: float | None = None
    _cleaned: bool = False
    _deleted: bool = False
    _over: bool = False
    _reason: str = ""
    _message: str = ""
    done: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self._status = self.pod.get("status") or {}
        self._start_time = str(self._status.get("startTime") or "")
        self._ips = tuple(str(each["ip"]) for each in self._status.get("podIPs") or ())

    @property
    def uid(self) -> str:
        return uid_of(self.pod)

    @property
    def busy(self) -> bool:
        return self._task is not None

    def update(self, pod: Document) -> None:
        """The pod changed."""
        before, self.pod = self.pod, pod
        if metadata_of(before).get("labels") != metadata_of(pod).get("labels") or (
            annotations_of(before) != annotations_of(pod)
        ):
            self._refresh_at = 0.0
        less = _grace_of(pod) < _grace_of(before)
        if is_deleting(pod) and (not is_deleting(before) or less):
            self.interrupt()
        elif _worth_a_look(before) != _worth_a_look(pod):
            self.poke()

    def vanish(self) -> None:
        """The pod is gone from the API: end what is left of it at once."""
        self.gone = True
        self.interrupt()

    def poke(self) -> None:
        """Look again, soon."""
        self._dirty = True
        if self._task is None and not self.done.is_set():
            self._task = self.host.spawn(self._run(), f"pod {namespace_of(self.pod)}/{name_of(self.pod)}")

    def interrupt(self) -> None:
        """Look again, now, leaving what is being done."""
        if self._task is not None and self._begun:
            self._interrupted = True
            self._task.cancel()
        self.poke()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._begun = True
        try:
            while self._dirty and not self.done.is_set():
                self._dirty = False
                try:
                    await self._look()
                except asyncio.CancelledError:
                    if not self._interrupted:
                        raise
                    self._interrupted = False
                    task.uncancel()
        finally:
            self._task = None
            self._begun = False
            if not self.done.is_set():
                self._set_timer()

    async def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next_look = None
        try:
            if self.gone or is_deleting(self.pod):
                await self._terminate()
            elif not self._cleaned:
                await self._sync()
        except VolumeFailure as error:
            self.host.events.warning(self.pod, "FailedMount", str(error))
            self._try_again()
        except (NetworkError, _NoSandbox) as error:
            self.host.events.warning(self.pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            self._try_again()
        except Exception as error:
            self.host.log.warning("pod not synced", pod=name_of(self.pod), error=str(error), exc_info=True)
            self._try_again()
        else:
            self._failures = 0

    # -- running ---------------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        now = self.host.clock.now()
        if not self._start_time:
            self._start_time = format_time(now)
        runs = self._runs()
        if is_terminal(self.pod):
            # It ended before: nothing of it runs again, whatever became of its containers.
            await self._stop_all(runs, grace=0.0, why="")
            await self._clean_up()
            return
        if self._deadline_passed(now):
            await self._fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            return
        try:
            if self._places is None or now >= self._refresh_at:
                self._places = await self.host.volumes.set_up(self.pod)
                self._refresh_at = now + _REFRESH_SECONDS
            await self._ensure_sandbox()
            await self._carry_out()
        finally:
            self._watch_probes()
            self._report()
        if needs_refreshing(self.pod):
            self._later(self._refresh_at - now)

    async def _carry_out(self) -> None:
        """Do what the plan says, until it says nothing new."""
        probes = self.host.probes
        while True:
            runs = self._runs()
            plan = make_plan(self.pod, runs, started=probes.started, failed=probes.failed)
            if plan.over:
                await self._stop_all(runs, grace=_grace_of(self.pod), why="")
                self._over = True
                self._report()
                await self._clean_up()
                return
            for run, why in plan.stop:
                await self._stop(run, grace=_grace_of(self.pod), why=why)
                probes.forget(run.id)
            begun = False
            for container in plan.start:
                begun = await self._start(container, runs) or begun
            self._watch_probes()
            if not plan.stop and not begun:
                return

    async def _start(self, container: Document, runs: History) -> bool:
        """Start a container unless it has to wait; whether it was started."""
        host, name = self.host, str(container["name"])
        earlier = list(runs.get(name) or ())
        if earlier and earlier[-1].state == "created":
            # Made by an agent that ended before it could start it.
            await host.runtime.remove_container(earlier.pop().id)
        key = f"{self.uid}/{name}"
        now = host.clock.now()
        if self._must_wait(container, earlier, key, now):
            return False
        assert self._sandbox is not None
        if earlier:
            host.backoffs.next(key, now)
        attempt = earlier[-1].config.attempt + 1 if earlier else 0
        starting = containers.Starting(self._with_addresses(), container, self._sandbox.id, attempt, self._places or {})
        try:
            await containers.start_container(host, starting)
        except containers.NotStarted as error:
            self._waiting[name] = Waiting(error.reason, error.message)
            self._later(error.retry_after)
            if error.reason == "RunContainerError":
                self._later(0.0)
            return False
        self._waiting.pop(name, None)
        for old in earlier[:-1]:
            host.probes.forget(old.id)
            await host.runtime.remove_container(old.id)
        return True

    def _must_wait(self, container: Document, earlier: Sequence[ContainerStatus], key: str, now: float) -> bool:
        host, name = self.host, str(container["name"])
        path = containers.field_path_of(self.pod, name)
        text = containers.pod_text(self.pod)
        if earlier:
            remaining = host.backoffs.remaining(key, earlier[-1].finished_at, now)
            if remaining > 0:
                message = f"Back-off restarting failed container {name} in pod {text}"
                host.events.warning(self.pod, "BackOff", message, field_path=path)
                delay = duration_text(host.backoffs.delay(key))
                self._waiting[name] = Waiting(
                    "CrashLoopBackOff", f"back-off {delay} restarting failed container={name} pod={text}"
                )
                self._later(remaining)
                return True
        image_key = f"{self.uid}/{container['image']}"
        remaining = host.image_backoffs.remaining(image_key, host.image_backoffs.updated(image_key), now)
        if remaining > 0:
            before = self._waiting.get(name)
            message = f'Back-off pulling image "{container["image"]}"'
            if before is None or before.reason != "ImagePullBackOff":
                host.events.normal(self.pod, "BackOff", message, field_path=path)
                host.events.warning(self.pod, "Failed", "Error: ImagePullBackOff", field_path=path)
                why = f": {before.reason}: {before.message}" if before is not None else ""
                self._waiting[name] = Waiting("ImagePullBackOff", message + why)
            self._later(remaining)
            return True
        return False

    async def _ensure_sandbox(self) -> None:
        host, pod = self.host, self.pod
        known = host.runtime.list_sandboxes(self.uid)
        ready = [each for each in known if each.ready]
        if ready and self._sandbox is not None and ready[-1].id == self._sandbox.id:
            return
        handler = "" if ready else await self._handler()
        host_network = bool(pod["spec"].get("hostNetwork"))
        namespace_path = ""
        if host_network:
            ips: tuple[str, ...] = tuple(host.node_ips)
        elif host.runtime.capabilities.networked:
            ips = ready[-1].ips if ready else ()
        else:
            request = SandboxRequest(self.uid, namespace_of(pod), name_of(pod), self.uid, annotations_of(pod))
            attachment = await host.network.attach(request)
            ips, namespace_path = attachment.ips, attachment.namespace_path
        if ready:
            self._sandbox = ready[-1]
        else:
            config = SandboxConfig(
                namespace=namespace_of(pod),
                name=name_of(pod),
                uid=self.uid,
                attempt=len(known),
                hostname=str(pod["spec"].get("hostname") or name_of(pod)),
                annotations=dict(annotations_of(pod)),
                ips=ips,
                namespace_path=namespace_path,
                host_network=host_network,
                log_directory=self._log_directory(),
                handler=handler,
            )
            try:
                self._sandbox = await host.runtime.run_sandbox(config)
            except RuntimeFailure as error:
                raise _NoSandbox(str(error)) from error
        self._ips = self._sandbox.ips or ips

    async def _handler(self) -> str:
        """The runtime's handler that the pod's RuntimeClass names. A pod without a class leaves it to the runtime."""
        name = self.pod["spec"].get("runtimeClassName")
        if not name:
            return ""
        found = await self.host.sources.runtime_class(str(name))
        if found is None:
            raise _NoSandbox(f'runtimeclass.node.k8s.io "{name}" not found')
        return str(found["handler"])

    # -- ending ----------------------------------------------------------------------------------------------------

    async def _terminate(self) -> None:
        """The pod is being deleted, or is gone: stop everything within its grace, and let it go."""
        clock = self.host.clock
        wanted = clock.monotonic() + (0.0 if self.gone else _grace_of(self.pod))
        self._grace_ends = wanted if self._grace_ends is None else min(self._grace_ends, wanted)
        grace = max(self._grace_ends - clock.monotonic(), 0.0)
        await self._stop_all(self._runs(), grace=grace, why="")
        self._over = True
        await self._clean_up()
        if self.gone:
            for sandbox in self.host.runtime.list_sandboxes(self.uid):
                await self.host.runtime.remove_sandbox(sandbox.id)
            self.host.reports.forget(self.uid)
            for run in self.host.runtime.list_containers(self.uid):
                await self.host.runtime.remove_container(run.id)
            for container in self.pod["spec"]["containers"]:
                self.host.backoffs.forget(f"{self.uid}/{container['name']}")
            self.done.set()
            self.ended(self)
        elif not self._deleted:
            self._deleted = True
            self._report(delete=True)

    async def _fail(self, reason: str, message: str) -> None:
        self._reason, self._message = reason, message
        self.host.events.normal(self.pod, reason, message)
        await self._stop_all(self._runs(), grace=_grace_of(self.pod), why="")
        self._over = True
        self._report(failed=True)
        await self._clean_up()

    async def _stop_all(self, runs: History, *, grace: float, why: str) -> None:
        running = [run for each in runs.values() for run in each if run.state != "exited"]
        if running:
            await asyncio.gather(*(self._stop(run, grace=grace, why=why) for run in running))

    async def _stop(self, run: ContainerStatus, *, grace: float, why: str) -> None:
        hook = run.id not in self._hooked
        self._hooked.add(run.id)
        container = next((each for each in _containers(self.pod) if each["name"] == run.config.name), None)
        await containers.stop_container(self.host, self.pod, container, run, grace=grace, why=why, hook=hook)

    async def _clean_up(self) -> None:
        """Give back what a pod holds whose containers all ended; its logs stay."""
        if self._cleaned:
            return
        host = self.host
        for run in host.runtime.list_containers(self.uid):
            host.probes.forget(run.id)
        for sandbox in host.runtime.list_sandboxes(self.uid):
            await host.runtime.stop_sandbox(sandbox.id)
        if not self.pod["spec"].get("hostNetwork"):
            await host.network.detach(self.uid)
        await host.volumes.tear_down(self.uid)
        self._cleaned = True

    # -- what is seen of it ------------------------------------------------------------------------------------------

    def _runs(self) -> History:
        return history(self.host.runtime.list_containers(self.uid))

    def _watch_probes(self) -> None:
        running = {run.config.name: run for each in self._runs().values() for run in each if run.state == "running"}
        ended = [run.id for each in self._runs().values() for run in each if run.state == "exited"]
        for container_id in ended:
            self.host.probes.forget(container_id)
        for container in _containers(self.pod):
            run = running.get(container["name"])
            if run is not None:
                path = containers.field_path_of(self.pod, container["name"])
                address = self._ips[0] if self._ips else "127.0.0.1"
                self.host.probes.watch(Probed(self.pod, container, run, address, path, self.poke))

    def _report(self, *, delete: bool = False, failed: bool = False) -> None:
        host = self.host
        runs = self._runs()
        for name, each in runs.items():
            if each[-1].state == "running":
                self._waiting.pop(name, None)
        observed = Observed(
            runs=runs,
            waiting=self._waiting,
            ready=host.probes.ready,
            started=host.probes.started,
            runtime_name=host.runtime.name,
            host_ips=host.node_ips,
            pod_ips=self._ips,
            sandbox_ready=any(each.ready for each in host.runtime.list_sandboxes(self.uid)),
            start_time=self._start_time,
            over=self._over,
            reason=self._reason,
            message=self._message,
        )
        before = {**self._status, "conditions": _merged_conditions(self._status, self.pod)}
        status = pod_status(self.pod, observed, before=before, now=host.clock.now())
        if failed or (self._reason and self._over):
            status["phase"] = "Failed"
        if is_terminal({"status": self.pod.get("status") or {}}):
            status["phase"] = self.pod["status"]["phase"]  # a final phase stays
        self._status = status
        host.reports.submit(self.pod, status, delete=delete)

    def _with_addresses(self) -> Document:
        """The pod with the addresses that its status will have, for `fieldRef`."""
        status = dict(self.pod.get("status") or {})
        if self._ips:
            status |= {"podIP": self._ips[0], "podIPs": [{"ip": ip} for ip in self._ips]}
        if self.host.node_ips:
            status |= {"hostIP": self.host.node_ips[0], "hostIPs": [{"ip": ip} for ip in self.host.node_ips]}
        return {**self.pod, "status": status}

    def _log_directory(self) -> str:
        base = self.host.log_directory
        return f"{base}/{namespace_of(self.pod)}_{name_of(self.pod)}_{self.uid}" if base else ""

    def _deadline_passed(self, now: float) -> bool:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return False
        remaining = parse_time(self._start_time) + float(seconds) - now
        if remaining > 0:
            self._later(remaining)
        return remaining <= 0

    # -- when to look again ------------------------------------------------------------------------------------------

    def _later(self, delay: float) -> None:
        moment = self.host.clock.monotonic() + max(delay, 0.0)
        self._next_look = moment if self._next_look is None else min(self._next_look, moment)

    def _try_again(self) -> None:
        self._later(min(_FIRST_RETRY * 2.0**self._failures, _LAST_RETRY))
        self._failures = min(self._failures + 1, 10)

    def _set_timer(self) -> None:
        if self._next_look is not None and self._timer is None:
            delay = self._next_look - self.host.clock.monotonic()
            self._timer = self.host.clock.call_later(delay, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self.poke()

    def close(self) -> None:
        """The agent stops: forget timers; what runs goes on."""
        self.done.set()
        if self._timer is not None:
            self._timer.cancel()


def _containers(pod: Document) -> list[Document]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


def _grace_of(pod: Document) -> float:
    """The seconds that a pod's containers have to end: what deletion asked for, or what the pod says."""
    metadata = metadata_of(pod)
    seconds = metadata.get("deletionGracePeriodSeconds")
    if seconds is None:
        seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return _DEFAULT_GRACE if seconds is None else float(seconds)


_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


_ECHOES = ("resourceVersion", "managedFields")


def _foreign_conditions(pod: Document) -> list[tuple[str, str]]:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return [(each["type"], each.get("status")) for each in conditions if each["type"] not in _OURS]


def _merged_conditions(status: Document, pod: Document) -> list[Document]:
    """Our own as we last reported them, everyone else's as they are now."""
    mine = {each["type"]: each for each in status.get("conditions") or ()}
    now = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    return list({**now, **{kind: each for kind, each in mine.items() if kind in _OURS}}.values())


def _worth_a_look(pod: Document) -> tuple[object, ...]:
    """What of a pod is worth a look when it changes: not the echo of our own reports."""
    metadata = {key: value for key, value in metadata_of(pod).items() if key not in _ECHOES}
    return metadata, pod["spec"], _foreign_conditions(pod)
