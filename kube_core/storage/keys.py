"""Where objects live in the store: `/registry/<group>/<resource>/[<namespace>/]<name>`.

The core group is written `core`. Lists are in the order of keys: by `namespace/`, then by name.
"""

from __future__ import annotations

import functools

from kube_core.abc.store import KeyRange
from kube_core.meta.documents import Key
from kube_core.meta.gvk import GroupResource

__all__ = ["REGISTRY", "object_range", "parse", "resource_prefix", "store_key"]

REGISTRY = "/registry/"


def resource_prefix(resource: GroupResource) -> str:
    return f"{REGISTRY}{resource.group or 'core'}/{resource.resource}/"


def store_key(resource: GroupResource, key: Key) -> str:
    prefix = resource_prefix(resource)
    return f"{prefix}{key.namespace}/{key.name}" if key.namespace else prefix + key.name


def object_range(resource: GroupResource, namespace: str = "") -> KeyRange:
    """All objects of a resource, or those of one namespace."""
    prefix = resource_prefix(resource)
    return KeyRange.prefix(f"{prefix}{namespace}/" if namespace else prefix)


def parse(text: str) -> tuple[GroupResource, Key]:
    """The way back. Raises ValueError for a key that is not one of an object."""
    if not text.startswith(REGISTRY):
        raise ValueError(f"{text!r} is not below {REGISTRY}")
    parts = text[len(REGISTRY) :].split("/")
    if len(parts) == 4:
        return _resource(parts[0], parts[1]), Key(parts[2], parts[3])
    if len(parts) != 3:
        raise ValueError(f"{text!r} does not name an object")
    return _resource(parts[0], parts[1]), Key("", parts[2])


# There are some hundred resources, and each change of the store names one.
@functools.lru_cache(maxsize=1024)
def _resource(group: str, resource: str) -> GroupResource:
    return GroupResource("" if group == "core" else group, resource)
