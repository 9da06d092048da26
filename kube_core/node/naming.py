"""What a pod is called, and how it finds others: its hostname, `/etc/hosts`, and its resolver. Pure.

Hostnames follow `hostname`, `subdomain`, `setHostnameAsFQDN` and `hostnameOverride`; the hosts file begins as upstream
documents under "Adding entries to Pod /etc/hosts with HostAliases"; the resolver is made of `dnsPolicy` and `dnsConfig`
under the limits of "DNS for Services and Pods", and what they cut off is told by a message for an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from kube_core.abc.runtime import DnsConfig
from kube_core.api.kubelet import KubeletSettings
from kube_core.meta.documents import Document, name_of, namespace_of

__all__ = [
    "NamingError",
    "Resolver",
    "hostname_of",
    "hosts_file",
    "kernel_hostname",
    "parse_resolv_conf",
    "pod_resolver",
]

_HOSTNAME_LIMIT = 63
_FQDN_LIMIT = 64
_MOST_SERVERS = 3
_MOST_SEARCHES = 32
_SEARCH_CHARACTERS = 2048
_LONGEST_SEARCH = 253
_HEADER = "# Kubernetes-managed hosts file.\n"
_HOST_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


class NamingError(Exception):
    """A name that cannot be: one line, for an event."""


@attrs.frozen
class Resolver:
    """`warnings`: messages for `DNSConfigForming` events."""

    config: DnsConfig
    warnings: tuple[str, ...] = ()


def hostname_of(pod: Document, cluster_domain: str) -> tuple[str, str]:
    """A pod's hostname and the domain that it is in ("": none)."""
    spec = pod["spec"]
    override = spec.get("hostnameOverride")
    if override:
        return _cut(str(override)), ""
    subdomain = spec.get("subdomain")
    domain = f"{subdomain}.{namespace_of(pod)}.svc.{cluster_domain}" if subdomain else ""
    return _cut(str(spec.get("hostname") or name_of(pod))), domain


def kernel_hostname(pod: Document, cluster_domain: str) -> str:
    """What the pod's processes read as their host's name. Raises `NamingError`."""
    hostname, domain = hostname_of(pod, cluster_domain)
    if not domain or not pod["spec"].get("setHostnameAsFQDN"):
        return hostname
    whole = f"{hostname}.{domain}"
    if len(whole) > _FQDN_LIMIT:
        raise NamingError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too long "
            f"({_FQDN_LIMIT} characters is the max, {len(whole)} characters requested)"
        )
    return whole


def hosts_file(pod: Document, ips: Iterable[str], cluster_domain: str, host_file: str) -> str:
    """The content of `/etc/hosts`. `host_file`: the host's own, for pods in its network."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        text = _HOST_HEADER + host_file
    else:
        hostname, domain = hostname_of(pod, cluster_domain)
        names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        text = _HEADER + _LOCAL + "".join(f"{ip}\t{names}\n" for ip in ips)
    aliases = spec.get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        names_of = {str(each["ip"]): each.get("hostnames") or () for each in aliases}
        text += "".join("\t".join((ip, *names)) + "\n" for ip, names in names_of.items())
    return text


def parse_resolv_conf(text: str) -> DnsConfig:
    """Lines of `nameserver` add up, the last `search` holds, of options the last of each name."""
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            searches = [each.removesuffix(".") for each in rest if each != "."]
        elif word == "options":
            options |= {each.partition(":")[0]: each for each in rest}
    return DnsConfig(tuple(servers), tuple(searches), tuple(options.values()))


def pod_resolver(pod: Document, settings: KubeletSettings, host: DnsConfig) -> Resolver:
    """What a pod's resolver is told. `host`: what the host's is."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    warnings: list[str] = []
    if policy == "None":
        base = DnsConfig()
    elif (policy == "ClusterFirst" and not spec.get("hostNetwork")) or policy == "ClusterFirstWithHostNet":
        if settings.cluster_dns:
            domain = settings.cluster_domain
            own = (f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
            base = DnsConfig(tuple(settings.cluster_dns), _once([*own, *host.searches]), ("ndots:5",))
        else:
            base = _of_host(settings, host)
    else:
        base = _of_host(settings, host)
    asked = spec.get("dnsConfig") or {}
    servers = _once([*base.servers, *(asked.get("nameservers") or ())])
    searches = _once([*base.searches, *(asked.get("searches") or ())])
    options = {each.partition(":")[0]: each for each in base.options}
    for option in asked.get("options") or ():
        name, value = str(option["name"]), option.get("value")
        options[name] = f"{name}:{value}" if value else name
    if len(servers) > _MOST_SERVERS:
        servers = servers[:_MOST_SERVERS]
        warnings.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(servers)}"
        )
    fitting = _fitting(searches)
    if fitting != searches:
        warnings.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(fitting)}"
        )
    return Resolver(DnsConfig(servers, fitting, tuple(options.values())), tuple(warnings))


def _of_host(settings: KubeletSettings, host: DnsConfig) -> DnsConfig:
    return host if settings.resolv_conf else DnsConfig(("127.0.0.1",), (".",))


def _cut(hostname: str) -> str:
    return hostname if len(hostname) <= _HOSTNAME_LIMIT else hostname[:_HOSTNAME_LIMIT].rstrip("-.")


def _once(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _fitting(searches: tuple[str, ...]) -> tuple[str, ...]:
    fitting = [each for each in searches[:_MOST_SEARCHES] if len(each) <= _LONGEST_SEARCH]
    while len(" ".join(fitting)) > _SEARCH_CHARACTERS:
        fitting.pop()
    return tuple(fitting)
