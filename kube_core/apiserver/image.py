"""What a server hands on to those that are forked from it: its caches, and what is slow to make or has to stay."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kube_core.auth.front_proxy import FrontProxy
from kube_core.auth.tokens import SigningKey
from kube_core.storage.cache import CacheImage

__all__ = ["ServerImage"]


@attrs.frozen
class ServerImage:
    """A server at one moment, without its store."""

    cache: CacheImage
    #: The leases that are shared by what is written about now, as `ObjectStore` keeps them.
    leases: Mapping[float, tuple[int, float]]
    #: Tokens hold in forks too, and backends believe them.
    signing_key: SigningKey
    front_proxy: FrontProxy
    #: Whether the default roles were in the store.
    policy_is_there: bool
