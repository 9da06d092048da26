"""The projected volume by which a pod's containers get a token, the cluster's authority and the pod's namespace.

The ServiceAccount admission plugin adds it, so nearly every pod has exactly this one: what looks at volumes may tell it
at once, and need not look further. Documented under "Configure Service Accounts for Pods".
"""

from __future__ import annotations

from typing import Final

from kube_core.meta.documents import Document, freeze

__all__ = ["TOKEN_PROJECTION"]

#: The volume's `projected`. There is nothing wrong with it.
TOKEN_PROJECTION: Final[Document] = freeze(
    {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
)
