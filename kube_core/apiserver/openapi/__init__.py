"""OpenAPI v3 and v2 documents of what is served, made on demand from descriptors and schemas.

`documents` answers the paths; `operations` derives a resource's operations, `components` collects schemas, and `v3` and
`v2` write both down.
"""

from kube_core.apiserver.openapi.documents import OpenApi

__all__ = ["OpenApi"]
