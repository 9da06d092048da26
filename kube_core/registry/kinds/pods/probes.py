"""Probes and lifecycle hooks: what asks a container how it is, and what is run at its beginning and end.

Documented under "Configure Liveness, Readiness and Startup Probes" and "Container Lifecycle Hooks".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, named, non_negative, one_of, port, port_number

__all__ = ["lifecycle", "probes"]

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def probes(path: Path, container: Mapping[str, Any], grace: int | None) -> Errors:
    """All three of a container. `grace`: the pod's termination grace period in seconds."""
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(name)) is None:
            continue
        here = path.child(name)
        yield from _probe(here, probe, grace)
        if name != "readinessProbe":
            if probe.get("successThreshold") != 1:
                yield fields.invalid(here.child("successThreshold"), probe.get("successThreshold") or 0, "must be 1")
        elif probe.get("terminationGracePeriodSeconds") is not None:
            detail = "must not be set for readinessProbes"
            value = probe["terminationGracePeriodSeconds"]
            yield fields.invalid(here.child("terminationGracePeriodSeconds"), value, detail)


def lifecycle(path: Path, hooks: Mapping[str, Any] | None, grace: int | None) -> Errors:
    for name in ("postStart", "preStop"):
        if hooks and hooks.get(name) is not None:
            yield from _handler(path.child(name), hooks[name], grace)


def _probe(path: Path, probe: Mapping[str, Any], grace: int | None) -> Errors:
    yield from _handler(path, probe, grace)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from non_negative(path.child(name), probe.get(name))
    period = probe.get("terminationGracePeriodSeconds")
    if period is not None and period <= 0:
        yield fields.invalid(path.child("terminationGracePeriodSeconds"), period, "must be greater than 0")


def _handler(path: Path, handler: Mapping[str, Any], grace: int | None) -> Errors:
    given = [name for name in _HANDLERS if handler.get(name) is not None]
    if not given:
        yield fields.required(path, "must specify a handler type")
        return
    name = given[0]
    here, part = path.child(name), handler[name]
    match name:
        case "exec":
            if not part.get("command"):
                yield fields.required(here.child("command"))
        case "httpGet":
            yield from _http(here, part)
        case "tcpSocket":
            yield from port(here.child("port"), part.get("port", 0))
        case "grpc":
            yield from port_number(here.child("port"), part.get("port", 0))
        case "sleep":
            yield from _sleep(here, part, grace)
    for name in given[1:]:
        yield fields.forbidden(path.child(name), "may not specify more than 1 handler type")


def _http(path: Path, request: Mapping[str, Any]) -> Errors:
    if not request.get("path"):
        yield fields.required(path.child("path"))
    yield from port(path.child("port"), request.get("port", 0))
    yield from one_of(path.child("scheme"), request.get("scheme", ""), ("HTTP", "HTTPS"))
    for header in request.get("httpHeaders") or ():
        yield from named(path.child("httpHeaders"), header.get("name") or "", names.header_name)


def _sleep(path: Path, part: Mapping[str, Any], grace: int | None) -> Errors:
    seconds = part.get("seconds") or 0
    if grace is not None and grace < 0:
        # What is no time at all counts as a second.
        grace = 1
    if grace is not None and (seconds < 0 or seconds > grace):
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield fields.invalid(path, seconds, detail)
