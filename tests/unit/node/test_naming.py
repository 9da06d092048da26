"""What a pod is called and how it finds others: hostnames, `/etc/hosts`, resolvers."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.pods import pod
from kube_core.abc.runtime import DnsConfig
from kube_core.api.kubelet import KubeletSettings
from kube_core.node.naming import NamingError, hosts_file, kernel_hostname, parse_resolv_conf, pod_resolver

HOST = DnsConfig(("192.0.2.1",), ("corp.example",), ("timeout:1",))
SETTINGS = KubeletSettings(cluster_dns=("10.96.0.10",))
CLUSTER = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "web-1"),
        ({"hostname": "db"}, "db"),
        ({"hostname": "db", "subdomain": "sub"}, "db"),
        ({"hostname": "db", "subdomain": "sub", "setHostnameAsFQDN": True}, "db.sub.default.svc.cluster.local"),
        ({"setHostnameAsFQDN": True}, "web-1"),
        ({"hostname": "db", "hostnameOverride": "my.own.name"}, "my.own.name"),
    ],
)
def test_a_pods_hostname(spec: dict[str, Any], expected: str) -> None:
    assert kernel_hostname(pod("web-1", **spec), "cluster.local") == expected


def test_a_long_hostname_is_cut_and_ends_in_no_dash() -> None:
    assert kernel_hostname(pod("a" * 62 + "-b"), "cluster.local") == "a" * 62


def test_a_whole_name_that_is_too_long_for_the_kernel_is_told() -> None:
    document = pod("p", hostname="a" * 40, subdomain="b" * 20, setHostnameAsFQDN=True)
    with pytest.raises(NamingError, match=r"is too long \(64 characters is the max, 87 characters requested\)"):
        kernel_hostname(document, "cluster.local")


def test_the_hosts_file_of_a_pod_names_it_and_its_aliases() -> None:
    document = pod("p", hostname="db", subdomain="sub", hostAliases=[{"ip": "192.0.2.7", "hostnames": ["a", "b.c"]}])
    assert hosts_file(document, ["10.0.0.5", "fd00::5"], "cluster.local", "") == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        "10.0.0.5\tdb.sub.default.svc.cluster.local\tdb\n"
        "fd00::5\tdb.sub.default.svc.cluster.local\tdb\n"
        "\n# Entries added by HostAliases.\n"
        "192.0.2.7\ta\tb.c\n"
    )


def test_the_hosts_file_of_a_pod_in_the_hosts_network_is_the_hosts() -> None:
    text = hosts_file(pod("p", hostNetwork=True), ["10.0.0.5"], "cluster.local", "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"


def test_a_resolv_conf_is_read_as_a_resolver_would() -> None:
    text = "# local\nnameserver 192.0.2.1\nsearch old.example\nsearch corp.example. .\noptions ndots:2 edns0\n"
    text += "nameserver 192.0.2.2\noptions ndots:3\nsortlist 1\n"
    assert parse_resolv_conf(text) == DnsConfig(("192.0.2.1", "192.0.2.2"), ("corp.example",), ("ndots:3", "edns0"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, DnsConfig(("10.96.0.10",), (*CLUSTER, "corp.example"), ("ndots:5",))),
        ({"dnsPolicy": "Default"}, HOST),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, HOST),
        (
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
            DnsConfig(("10.96.0.10",), (*CLUSTER, "corp.example"), ("ndots:5",)),
        ),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["192.0.2.9"],
                    "searches": ["my.example"],
                    "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
                },
            },
            DnsConfig(("192.0.2.9",), ("my.example",), ("ndots:1", "edns0")),
        ),
        (
            {"dnsConfig": {"searches": ["cluster.local", "x"], "options": [{"name": "ndots", "value": "2"}]}},
            DnsConfig(("10.96.0.10",), (*CLUSTER, "corp.example", "x"), ("ndots:2",)),
        ),
    ],
)
def test_a_pods_resolver(spec: dict[str, Any], expected: DnsConfig) -> None:
    made = pod_resolver(pod("p", **spec), SETTINGS, HOST)
    assert (made.config, made.warnings) == (expected, ())


def test_without_a_cluster_dns_a_pod_resolves_as_its_host() -> None:
    assert pod_resolver(pod("p"), KubeletSettings(), HOST).config == HOST
    nothing = KubeletSettings(resolv_conf="")
    assert pod_resolver(pod("p", dnsPolicy="Default"), nothing, HOST).config == DnsConfig(("127.0.0.1",), (".",))


def test_what_a_resolver_cannot_hold_is_left_out_and_told() -> None:
    servers = [f"192.0.2.{number}" for number in range(1, 5)]
    searches = [f"s{number}.example" for number in range(33)]
    document = pod("p", dnsPolicy="None", dnsConfig={"nameservers": servers, "searches": searches})
    made = pod_resolver(document, SETTINGS, HOST)
    assert (made.config.servers, len(made.config.searches)) == (tuple(servers[:3]), 32)
    assert made.warnings[0].endswith("the applied nameserver line is: 192.0.2.1 192.0.2.2 192.0.2.3")
    assert made.warnings[1].startswith("Search Line limits were exceeded, some search paths have been omitted")
    long = pod(
        "p", dnsPolicy="None", dnsConfig={"nameservers": servers[:1], "searches": ["a" * 200] + ["b" * 250] * 10}
    )
    assert len(" ".join(pod_resolver(long, SETTINGS, HOST).config.searches)) <= 2048
