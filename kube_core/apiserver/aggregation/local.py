"""Groups of the API that a part of this program serves: an APIService without a backend, discovery, and a function.

Such a version is in discovery as a backend's is, and its requests come here after they were authenticated and
authorised. Where somebody's APIService of that version names a Service, that one is asked instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from kube_core.abc.transport import Request, Response
from kube_core.apiserver.aggregation.discovery import RemoteVersion
from kube_core.meta.gvk import GroupVersion

__all__ = ["LocalService"]


@attrs.frozen
class LocalService:
    """One version of a group. `resources` are entries of aggregated discovery; `handle` may raise a `StatusError`."""

    group_version: GroupVersion
    resources: Sequence[Mapping[str, Any]]
    handle: Callable[[Request], Awaitable[Response]]
    group_priority: int = 100
    version_priority: int = 100

    @property
    def path(self) -> str:
        """Where its resources are."""
        return f"/apis/{self.group_version.group}/{self.group_version.version}"

    @property
    def discovered(self) -> RemoteVersion:
        """What discovery shows of it."""
        return RemoteVersion(
            self.group_version,
            self.group_priority,
            self.version_priority,
            available=True,
            fresh=True,
            resources=[dict(each) for each in self.resources],
        )
