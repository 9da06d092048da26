"""What objects are: resources and their descriptors, schemas, codecs, and models of the built-in kinds.

The models are modules of this package, one for each group (`from kube_core.api import apps, core`); each is imported
when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kube_core.api.generated.models import admissionregistration as admissionregistration
    from kube_core.api.generated.models import apiextensions as apiextensions
    from kube_core.api.generated.models import apiregistration as apiregistration
    from kube_core.api.generated.models import apps as apps
    from kube_core.api.generated.models import authentication as authentication
    from kube_core.api.generated.models import authorization as authorization
    from kube_core.api.generated.models import autoscaling as autoscaling
    from kube_core.api.generated.models import autoscaling_v1 as autoscaling_v1
    from kube_core.api.generated.models import batch as batch
    from kube_core.api.generated.models import certificates as certificates
    from kube_core.api.generated.models import coordination as coordination
    from kube_core.api.generated.models import core as core
    from kube_core.api.generated.models import discovery as discovery
    from kube_core.api.generated.models import events as events
    from kube_core.api.generated.models import flowcontrol as flowcontrol
    from kube_core.api.generated.models import meta as meta
    from kube_core.api.generated.models import networking as networking
    from kube_core.api.generated.models import node as node
    from kube_core.api.generated.models import policy as policy
    from kube_core.api.generated.models import rbac as rbac
    from kube_core.api.generated.models import resource as resource
    from kube_core.api.generated.models import scheduling as scheduling
    from kube_core.api.generated.models import storage as storage
    from kube_core.api.generated.models import storagemigration as storagemigration

_MODELS = (
    "admissionregistration",
    "apiextensions",
    "apiregistration",
    "apps",
    "authentication",
    "authorization",
    "autoscaling",
    "autoscaling_v1",
    "batch",
    "certificates",
    "coordination",
    "core",
    "discovery",
    "events",
    "flowcontrol",
    "meta",
    "networking",
    "node",
    "policy",
    "rbac",
    "resource",
    "scheduling",
    "storage",
    "storagemigration",
)


def __getattr__(name: str) -> Any:
    if name not in _MODELS:
        raise AttributeError(f"module 'kube_core.api' has no attribute {name!r}")
    return importlib.import_module(f"kube_core.api.generated.models.{name}")
