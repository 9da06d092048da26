"""The audit log: who asked for what, when, and what came of it. Documented under "Auditing" (`audit.k8s.io/v1`).

`policy` says which requests are noted, at which level and stages; `events` writes them down as they go; `files` and
`webhook` are where they go. `Auditor` is what the pipeline knows: without one, nothing of this is there, nor costs
anything.
"""

from __future__ import annotations

from kube_core.apiserver.audit.auditor import Auditor, Record

__all__ = ["Auditor", "Record"]
