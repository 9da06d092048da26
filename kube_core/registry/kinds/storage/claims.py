"""PersistentVolumeClaims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors


def claim_spec(path: Path, spec: Mapping[str, Any]) -> Errors:
    yield from ()
