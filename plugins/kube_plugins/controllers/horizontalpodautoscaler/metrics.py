"""Reading what is measured, as upstream's client does: metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io.

Values come in thousandths. What cannot be read is raised as `CannotTell`, in upstream's words. Servers of the last two
groups are whoever registered an APIService for them; they speak the forms of `k8s.io/metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kube_core.client.client import ApiClient
from kube_core.meta import quantities
from kube_core.meta.documents import Document, name_of
from kube_core.meta.selectors import LabelSelector
from kube_core.meta.status import NotFound, StatusError
from kube_core.meta.times import parse_time
from kube_plugins.controllers.horizontalpodautoscaler.replicas import CannotTell, Sample

__all__ = ["MetricsReader"]

_RESOURCE = "/apis/metrics.k8s.io/v1beta1"
_CUSTOM = "custom.metrics.k8s.io"
_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
_EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1"
#: Of a metric that does not say over how long it is.
_DEFAULT_WINDOW = 60.0
_DURATION = re.compile(r"([0-9.]+)(h|ms|m|s|us|µs|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class MetricsReader:
    """Reads by a client."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def resource(self, resource: str, namespace: str, pods: str, container: str = "") -> Mapping[str, Sample]:
        """What pods use of a resource, all or one of their containers, by name. `pods` is a selector's text."""
        path = f"{_RESOURCE}/namespaces/{namespace}/pods"
        found = await self._get("resource", path, [("labelSelector", pods)], "pods.metrics.k8s.io")
        samples = {}
        for item in _items(found, "resource"):
            usages = [
                each.get("usage") or {} for each in item.get("containers") or () if container in ("", each["name"])
            ]
            if usages and all(resource in usage for usage in usages):
                value = sum(quantities.parse(usage[resource]).milli_value for usage in usages)
                window = _seconds(str(item.get("window") or ""))
                samples[name_of(item)] = Sample(value, parse_time(str(item["timestamp"])), window)
        return samples

    async def of_pods(self, metric: str, namespace: str, pods: str, selector: LabelSelector) -> Mapping[str, Sample]:
        """What pods say of a metric of their own, by name."""
        found = await self._custom(f"namespaces/{namespace}/pods/*/{metric}", pods, selector)
        return {
            str(item["describedObject"]["name"]): Sample(
                _value(item),
                parse_time(str(item["timestamp"])),
                float(item.get("windowSeconds") or item.get("window") or _DEFAULT_WINDOW),
            )
            for item in _items(found, "custom")
        }

    async def of_object(
        self, metric: str, namespace: str, described: Mapping[str, Any], selector: LabelSelector
    ) -> int:
        """What is said of an object."""
        kind, version = str(described["kind"]), str(described.get("apiVersion") or "v1")
        if (kind, version) == ("Namespace", "v1"):
            # It is the autoscaler's own namespace, whichever is named.
            path = f"namespaces/{namespace}/metrics/{metric}"
        else:
            try:
                what = await self._client.resource(kind, version)
            except NotFound as error:
                raise CannotTell(f"unable to fetch metrics from custom metrics API: {error.message}") from None
            plural = f"{what.plural}.{what.group}" if what.group else what.plural
            path = f"namespaces/{namespace}/{plural}/{described['name']}/{metric}"
        found = await self._custom(path, "", selector)
        values: Sequence[Document] = found.get("items") or ()
        if len(values) != 1:
            why = "the custom metrics API server did not return exactly one value"
            raise CannotTell(f"unable to fetch metrics from custom metrics API: {why}")
        return _value(values[0])

    async def external(self, metric: str, namespace: str, selector: LabelSelector) -> Sequence[int]:
        """The values of what comes from outside of the cluster."""
        path = f"{_EXTERNAL}/namespaces/{namespace}/{metric}"
        found = await self._get("external", path, _labels(str(selector)), f"{metric}.external.metrics.k8s.io")
        return [_value(item) for item in _items(found, "external")]

    async def _custom(self, path: str, pods: str, selector: LabelSelector) -> Document:
        query = _labels(pods)
        if text := str(selector):
            query.append(("metricLabelSelector", text))
        return await self._get("custom", f"/apis/{_CUSTOM}/{await self._custom_version()}/{path}", query, "")

    async def _custom_version(self) -> str:
        """The newest version of custom.metrics.k8s.io that is served and known."""
        try:
            group = await self._client.get_path(f"/apis/{_CUSTOM}")
        except StatusError:
            group = {}
        served = {str(each.get("version")) for each in group.get("versions") or ()}
        version = next((each for each in _CUSTOM_VERSIONS if each in served), None)
        if version is None:
            why = f"no custom metrics API ({_CUSTOM}) registered"
            raise CannotTell(f"unable to fetch metrics from custom metrics API: {why}")
        return version

    async def _get(self, api: str, path: str, query: Sequence[tuple[str, str]], named: str) -> Document:
        try:
            return await self._client.get_path(path, query)
        except StatusError as error:
            message = error.message
            if isinstance(error, NotFound) and named:
                message = f"the server could not find the requested resource (get {named})"
            raise CannotTell(f"unable to fetch metrics from {api} metrics API: {message}") from None


def _items(found: Document, api: str) -> Sequence[Document]:
    items: Sequence[Document] = found.get("items") or ()
    if not items:
        raise CannotTell(f"no metrics returned from {api} metrics API")
    return items


def _value(item: Document) -> int:
    return quantities.parse(item["value"]).milli_value


def _labels(selector: str) -> list[tuple[str, str]]:
    return [("labelSelector", selector)] if selector else []


def _seconds(duration: str) -> float:
    """Of a duration as Go writes it."""
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))
