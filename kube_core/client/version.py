"""What a server says its version is, at `/version`."""

from __future__ import annotations

import attrs

from kube_core.api.models.classes import json_name
from kube_core.meta.documents import Document

__all__ = ["ServerVersion"]


@attrs.frozen(kw_only=True)
class ServerVersion:
    """`str()` gives what people call it: `v1.37.0`. Servers of other makers leave fields out, which then are empty."""

    major: str = ""
    minor: str = ""
    git_version: str = ""
    git_commit: str = ""
    git_tree_state: str = ""
    build_date: str = ""
    go_version: str = ""
    compiler: str = ""
    platform: str = ""
    emulation_major: str = ""
    emulation_minor: str = ""
    min_compatibility_major: str = ""
    min_compatibility_minor: str = ""

    @classmethod
    def from_document(cls, document: Document) -> ServerVersion:
        fields = attrs.fields(cls)
        return cls(**{field.name: str(document.get(json_name(field)) or "") for field in fields})

    def __str__(self) -> str:
        return self.git_version
