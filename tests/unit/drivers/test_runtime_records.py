from __future__ import annotations

import orjson

from kube_core.abc.runtime import ContainerConfig, Device, DnsConfig, Mount, PortMapping, Resources, SandboxConfig
from kube_core.abc.security import IdMapping, SeccompProfile, SecurityContext
from kube_drivers.runtime.records import container_config, record_of, sandbox_config


def test_a_container_comes_back_from_its_record_as_it_was() -> None:
    config = ContainerConfig(
        name="main",
        image="busybox",
        command=("sh", "-c", "true"),
        env={"A": "b"},
        mounts=(Mount("v", "/v", "/host/v", True, "HostToContainer"), Mount("i", "/i", "", image="busybox")),
        security=SecurityContext(
            user=1000, supplemental_groups=(1, 2), add_capabilities=("NET_ADMIN",),
            seccomp=SeccompProfile("Localhost", "/profiles/a.json"), masked_paths=(), read_only_paths=("/proc/sys",),
        ),
        devices=(Device("/dev/null", "/dev/zilch", "r"),),
        labels={"a": "b"},
        resources=Resources(cpu_shares=2, memory_bytes=10, hugepages={"2Mi": 4}),
    )  # fmt: skip
    assert container_config(orjson.loads(orjson.dumps(record_of(config)))) == config


def test_a_sandbox_comes_back_from_its_record_as_it_was() -> None:
    config = SandboxConfig(
        namespace="default",
        name="pod",
        uid="u",
        ips=("10.0.0.1",),
        sysctls={"kernel.shm_rmid_forced": "1"},
        dns=DnsConfig(("10.96.0.10",), ("svc.cluster.local",), ("ndots:5",)),
        ports=(PortMapping(80, 8080), PortMapping(53, 5353, "UDP", "127.0.0.1")),
        user_namespace=IdMapping(65536),
        security=SecurityContext(user=5),
        resources=Resources(pids=100),
    )
    assert sandbox_config(orjson.loads(orjson.dumps(record_of(config)))) == config


def test_a_record_has_only_what_was_wished_for() -> None:
    assert record_of(ContainerConfig(name="main", image="busybox")) == {"name": "main", "image": "busybox"}


def test_a_pods_resolver_is_told_in_the_words_of_resolv_conf() -> None:
    dns = DnsConfig(("10.96.0.10", "10.96.0.11"), ("a.svc", "svc"), ("ndots:5", "edns0"))
    assert dns.text() == "nameserver 10.96.0.10\nnameserver 10.96.0.11\nsearch a.svc svc\noptions ndots:5 edns0\n"
    assert DnsConfig().text() == ""
