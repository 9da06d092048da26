"""The fixture `client`, apart from `plugin.py`: that registers it unless another plugin has a fixture of that name.

Web frameworks' plugins have one, and whoever installs kube_core beside them must not find their tests changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kube_core.client.client import ApiClient
    from kube_core.cluster import Cluster

__all__ = ["client"]


@pytest.fixture
def client(cluster: Cluster) -> ApiClient:
    """The client of `cluster` that may do everything."""
    return cluster.client
