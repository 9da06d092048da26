"""Websites: a page, replicas that serve it, and a host. The operator keeps what serves it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

import kube_core as kube
from kube_core.api import apps, core, meta, networking

__all__ = ["Website", "WebsiteStatus", "kube_core_kinds", "website"]

PORT = 8080
IMAGE = "example.org/static-server:1"


@attrs.frozen
class WebsiteStatus:
    """How a site is doing."""

    ready_replicas: int = 0
    """Replicas that serve it."""
    conditions: tuple[meta.Condition, ...] = ()
    """Ready: whether as many serve it as should."""


@kube.kind(
    group="example.dev",
    version="v1",
    short_names=("site",),
    scale=kube.Scale(replicas=".spec.replicas", status_replicas=".status.readyReplicas"),
    columns={"Host": ".spec.host", "Ready": ".status.readyReplicas"},
    status=WebsiteStatus,
)
@attrs.frozen
class Website:
    """A page, and what serves it."""

    html: str = attrs.field(validator=attrs.validators.min_len(1))
    """The page."""
    replicas: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    """How many serve it."""
    host: str = ""
    """The name under which an Ingress serves it; none without one."""


@kube.controller(
    Website, owns=[core.ConfigMap, apps.Deployment, core.Service, networking.Ingress], prune=True, workers=4
)
async def website(ctx: kube.Context[Website]) -> None:
    """Keep what serves a site, and say how it is doing."""
    site, name = ctx.object, ctx.name
    await ctx.apply(page(name, site))
    deployment = await ctx.apply(servers(name, site))
    await ctx.apply(service(name))
    if site.host:
        # Without a host this is not applied, and so pruned.
        await ctx.apply(ingress(name, site.host))
    ready = deployment.status.ready_replicas or 0
    ctx.update_status(ready_replicas=ready)
    ctx.set_condition("Ready", ready >= site.replicas, "Serving" if ready >= site.replicas else "Starting")


def page(name: str, site: Website) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name), data={"index.html": site.html})


def servers(name: str, site: Website) -> apps.Deployment:
    labels = {"website": name}
    container = core.Container(
        name="server",
        image=IMAGE,
        ports=(core.ContainerPort(container_port=PORT),),
        volume_mounts=(core.VolumeMount(name="page", mount_path="/srv"),),
    )
    pod = core.PodSpec(
        containers=(container,),
        volumes=(core.Volume(name="page", config_map=core.ConfigMapVolumeSource(name=name)),),
    )
    # A new page makes a new template, and so a rollout.
    digest = hashlib.sha256(site.html.encode()).hexdigest()[:12]
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels=labels, annotations={"example.dev/page": digest}), spec=pod
    )
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=name),
        spec=apps.DeploymentSpec(
            replicas=site.replicas, selector=meta.LabelSelector(match_labels=labels), template=template
        ),
    )


def service(name: str) -> core.Service:
    port = core.ServicePort(port=80, target_port=PORT)
    return core.Service(
        metadata=meta.ObjectMeta(name=name), spec=core.ServiceSpec(selector={"website": name}, ports=(port,))
    )


def ingress(name: str, host: str) -> networking.Ingress:
    backend = networking.IngressBackend(
        service=networking.IngressServiceBackend(name=name, port=networking.ServiceBackendPort(number=80))
    )
    path = networking.HTTPIngressPath(path="/", path_type="Prefix", backend=backend)
    rule = networking.IngressRule(host=host, http=networking.HTTPIngressRuleValue(paths=(path,)))
    return networking.Ingress(metadata=meta.ObjectMeta(name=name), spec=networking.IngressSpec(rules=(rule,)))


@kube.hookimpl
def kube_core_kinds() -> Iterable[object]:
    return [Website]
