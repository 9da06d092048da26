"""A real Kubernetes, control plane and node, as one Python package.

    import kube_core as kube

    async with kube.Cluster(nodes=3) as cluster:
        ...

The names below are what programs and plugins reach for; everything else is found in its own package. They are imported
when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kube_core.api.models import metadata_of as metadata_of
    from kube_core.api.models import resource_of as resource_of
    from kube_core.api.models import status_of as status_of
    from kube_core.api.types import Column as Column
    from kube_core.client.client import ALL_NAMESPACES as ALL_NAMESPACES
    from kube_core.client.client import ApiClient as ApiClient
    from kube_core.client.connecting import connect as connect
    from kube_core.cluster import Cluster as Cluster
    from kube_core.config import ClusterConfig as ClusterConfig
    from kube_core.config import ConfigError as ConfigError
    from kube_core.control.action import Action as Action
    from kube_core.control.action import await_change as await_change
    from kube_core.control.action import requeue as requeue
    from kube_core.control.controller import Controller as Controller
    from kube_core.control.controller import ControllerContext as ControllerContext
    from kube_core.control.controller import ControllerSpec as ControllerSpec
    from kube_core.control.controller import RateLimits as RateLimits
    from kube_core.control.controller import Watch as Watch
    from kube_core.control.predicates import annotations_changed as annotations_changed
    from kube_core.control.predicates import generation_changed as generation_changed
    from kube_core.control.predicates import labels_changed as labels_changed
    from kube_core.hookspecs import hookimpl as hookimpl
    from kube_core.kinds.certificates import SecretKeeper as SecretKeeper
    from kube_core.kinds.declare import Object as Object
    from kube_core.kinds.declare import Scale as Scale
    from kube_core.kinds.declare import kind as kind
    from kube_core.kinds.functions import AdmissionRequest as AdmissionRequest
    from kube_core.kinds.functions import Denied as Denied
    from kube_core.kinds.functions import convert as convert
    from kube_core.kinds.functions import mutate as mutate
    from kube_core.kinds.functions import validate as validate
    from kube_core.kinds.markers import atomic as atomic
    from kube_core.kinds.markers import embedded_resource as embedded_resource
    from kube_core.kinds.markers import immutable as immutable
    from kube_core.kinds.markers import in_schema as in_schema
    from kube_core.kinds.markers import list_map as list_map
    from kube_core.kinds.markers import list_set as list_set
    from kube_core.kinds.markers import preserve_unknown_fields as preserve_unknown_fields
    from kube_core.kinds.markers import rule as rule
    from kube_core.kinds.markers import text_format as text_format
    from kube_core.kinds.schemas import KindError as KindError
    from kube_core.kinds.webhooks import ServiceReference as ServiceReference
    from kube_core.kinds.webhooks import Webhooks as Webhooks
    from kube_core.meta.documents import Key as Key
    from kube_core.operators.context import Context as Context
    from kube_core.operators.declaration import Index as Index
    from kube_core.operators.declaration import controller as controller
    from kube_core.operators.handler_context import HandlerContext as HandlerContext
    from kube_core.operators.handlers import PermanentError as PermanentError
    from kube_core.operators.handlers import TemporaryError as TemporaryError
    from kube_core.operators.handlers import daemon as daemon
    from kube_core.operators.handlers import on as on
    from kube_core.operators.handlers import timer as timer
    from kube_core.operators.running import run as run
    from kube_core.scripting import blocking as blocking

_WHERE = {
    "ALL_NAMESPACES": "kube_core.client.client",
    "Action": "kube_core.control.action",
    "AdmissionRequest": "kube_core.kinds.functions",
    "ApiClient": "kube_core.client.client",
    "Cluster": "kube_core.cluster",
    "ClusterConfig": "kube_core.config",
    "Column": "kube_core.api.types",
    "ConfigError": "kube_core.config",
    "Context": "kube_core.operators.context",
    "Controller": "kube_core.control.controller",
    "ControllerContext": "kube_core.control.controller",
    "ControllerSpec": "kube_core.control.controller",
    "Denied": "kube_core.kinds.functions",
    "HandlerContext": "kube_core.operators.handler_context",
    "Index": "kube_core.operators.declaration",
    "Key": "kube_core.meta.documents",
    "KindError": "kube_core.kinds.schemas",
    "Object": "kube_core.kinds.declare",
    "PermanentError": "kube_core.operators.handlers",
    "RateLimits": "kube_core.control.controller",
    "Scale": "kube_core.kinds.declare",
    "SecretKeeper": "kube_core.kinds.certificates",
    "ServiceReference": "kube_core.kinds.webhooks",
    "TemporaryError": "kube_core.operators.handlers",
    "Watch": "kube_core.control.controller",
    "Webhooks": "kube_core.kinds.webhooks",
    "annotations_changed": "kube_core.control.predicates",
    "atomic": "kube_core.kinds.markers",
    "await_change": "kube_core.control.action",
    "blocking": "kube_core.scripting",
    "connect": "kube_core.client.connecting",
    "controller": "kube_core.operators.declaration",
    "convert": "kube_core.kinds.functions",
    "daemon": "kube_core.operators.handlers",
    "embedded_resource": "kube_core.kinds.markers",
    "generation_changed": "kube_core.control.predicates",
    "hookimpl": "kube_core.hookspecs",
    "immutable": "kube_core.kinds.markers",
    "in_schema": "kube_core.kinds.markers",
    "kind": "kube_core.kinds.declare",
    "labels_changed": "kube_core.control.predicates",
    "list_map": "kube_core.kinds.markers",
    "list_set": "kube_core.kinds.markers",
    "metadata_of": "kube_core.api.models",
    "mutate": "kube_core.kinds.functions",
    "on": "kube_core.operators.handlers",
    "preserve_unknown_fields": "kube_core.kinds.markers",
    "requeue": "kube_core.control.action",
    "resource_of": "kube_core.api.models",
    "rule": "kube_core.kinds.markers",
    "run": "kube_core.operators.running",
    "status_of": "kube_core.api.models",
    "text_format": "kube_core.kinds.markers",
    "timer": "kube_core.operators.handlers",
    "validate": "kube_core.kinds.functions",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605 (the names are those of the table above)


def __getattr__(name: str) -> Any:
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'kube_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_WHERE]
