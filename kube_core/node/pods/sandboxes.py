"""A pod's sandbox: its network, its names, its namespaces and its cgroup, made once and found again.

What cannot be made is told by an event (`FailedCreatePodSandBox`) and tried again; the worker catches it. A sandbox
that is no longer ready is replaced by the next one.
"""

from __future__ import annotations

import os

import anyio.to_thread

from kube_core.abc.network import SandboxRequest
from kube_core.abc.runtime import PortMapping, RuntimeFailure, SandboxConfig
from kube_core.abc.security import DEFAULT_SECURITY, IdMapping
from kube_core.meta.documents import Document, annotations_of, labels_of, name_of, namespace_of, uid_of
from kube_core.node.naming import NamingError, kernel_hostname, parse_resolv_conf, pod_resolver
from kube_core.node.pods import limits, security
from kube_core.node.pods.host import Host
from kube_core.node.pods.state import PodState

__all__ = ["NoSandbox", "ensure_sandbox", "log_directory"]


class NoSandbox(Exception):
    """Why the pod's sandbox could not be made, for the event."""


async def ensure_sandbox(host: Host, state: PodState) -> None:
    """Have a ready sandbox, in `state.sandbox` and `state.ips`. Raises `NoSandbox` or `NetworkError`."""
    pod, uid = state.pod, state.uid
    known = host.runtime.list_sandboxes(uid)
    ready = [each for each in known if each.ready]
    if ready and state.sandbox is not None and ready[-1].id == state.sandbox.id:
        return
    handler = "" if ready else await _handler(host, pod)
    namespace_path = ""
    if pod["spec"].get("hostNetwork"):
        ips: tuple[str, ...] = tuple(host.node_ips)
    elif host.runtime.capabilities.networked:
        ips = ready[-1].ips if ready else ()
    else:
        users = None if ready else _users(host, pod, handler)
        request = SandboxRequest(uid, namespace_of(pod), name_of(pod), uid, annotations_of(pod), _ports(pod), users)
        attachment = await host.network.attach(request)
        ips, namespace_path = attachment.ips, attachment.namespace_path
    if ready:
        state.sandbox = ready[-1]
    else:
        if known and state.sandbox is not None:
            host.events.normal(pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        try:
            config = await _config(host, pod, len(known), ips, namespace_path, handler)
            state.sandbox = await host.runtime.run_sandbox(config)
            state.whole = None
        except (RuntimeFailure, NamingError) as error:
            raise NoSandbox(str(error)) from error
    state.ips = state.sandbox.ips or ips


def log_directory(host: Host, pod: Document, uid: str) -> str:
    """Where a pod's containers log to; "" leaves it to the runtime."""
    return f"{host.log_directory}/{namespace_of(pod)}_{name_of(pod)}_{uid}" if host.log_directory else ""


async def _handler(host: Host, pod: Document) -> str:
    """The runtime's handler that the pod's RuntimeClass names. A pod without a class leaves it to the runtime."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    found = await host.sources.runtime_class(str(name))
    if found is None:
        raise NoSandbox(f'runtimeclass.node.k8s.io "{name}" not found')
    return str(found["handler"])


async def _config(
    host: Host, pod: Document, attempt: int, ips: tuple[str, ...], namespace_path: str, handler: str
) -> SandboxConfig:
    spec, settings = pod["spec"], host.settings
    capabilities = host.runtime.capabilities
    uid = str(pod["metadata"]["uid"])
    host_network = bool(spec.get("hostNetwork"))
    dns = None
    if capabilities.own_root:
        resolver = pod_resolver(pod, settings, parse_resolv_conf(await _read(settings.resolv_conf)))
        for warning in resolver.warnings:
            host.events.warning(pod, "DNSConfigForming", warning)
        dns = resolver.config
    return SandboxConfig(
        namespace=namespace_of(pod),
        name=name_of(pod),
        uid=uid,
        attempt=attempt,
        hostname="" if host_network and capabilities.own_root else kernel_hostname(pod, settings.cluster_domain),
        annotations=dict(annotations_of(pod)),
        labels=dict(labels_of(pod)) if capabilities.processes else {},
        ips=ips,
        namespace_path=namespace_path,
        host_network=host_network,
        log_directory=log_directory(host, pod, uid),
        handler=handler,
        host_pid=bool(spec.get("hostPID")),
        host_ipc=bool(spec.get("hostIPC")),
        shared_processes=bool(spec.get("shareProcessNamespace")),
        user_namespace=_users(host, pod, handler),
        sysctls={
            str(each["name"]): str(each["value"]) for each in (spec.get("securityContext") or {}).get("sysctls") or ()
        },
        dns=dns,
        ports=_ports(pod),
        security=security.sandbox_security(pod) if capabilities.confinement else DEFAULT_SECURITY,
        cgroup_parent=limits.cgroup_parent(pod) if capabilities.processes else "",
        resources=limits.pod_resources(pod, pids=settings.pod_pids_limit)
        if capabilities.processes
        else limits.NO_LIMITS,
    )


def _ports(pod: Document) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(
            int(port["containerPort"]),
            int(port["hostPort"]),
            port.get("protocol") or "TCP",
            str(port.get("hostIP") or ""),
        )
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _users(host: Host, pod: Document, handler: str) -> IdMapping | None:
    """The host's ids that a pod's own users are, where it is to have some."""
    if pod["spec"].get("hostUsers") is not False:
        return None
    able = {each.name: each.user_namespaces for each in host.runtime.handlers()}
    capabilities = host.runtime.capabilities
    if capabilities.processes and not able.get(handler, capabilities.user_namespaces):
        raise NoSandbox(f'RuntimeClass handler "{handler}" does not support user namespaces')
    return host.user_ids.take(uid_of(pod), host.runtime.list_sandboxes(), f"{host.log_directory}/{host.name}")


async def _read(path: str) -> str:
    def read() -> str:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    if not path:
        return ""
    try:
        return await anyio.to_thread.run_sync(read)
    except OSError as error:
        raise NoSandbox(f"open {path}: {os.strerror(error.errno or 0)}") from None
