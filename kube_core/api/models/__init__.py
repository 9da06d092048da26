"""Objects as people see them: frozen attrs classes, with names in snake_case.

    from kube_core.api import apps, core

    apps.Deployment(spec=apps.DeploymentSpec(replicas=3, selector=..., template=...))

The server and the control loops work on documents (plain JSON values); these classes are for who writes and reads
objects in a program. `classes` is what makes a class a model, and says which resource a class stands for; `conversion`
goes from a model to a document and back. The models of the built-in kinds are generated (`scripts/generate_models.py`),
a module for each group in its preferred version (`apps`, `core`, `batch`, …); a program's own kinds are attrs classes
that register as they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kube_core.api.models.classes import Layout, Model, evolve, field, json_name, layout_of, register, resource_of

if TYPE_CHECKING:
    from kube_core.api.models.conversion import ConversionError as ConversionError
    from kube_core.api.models.conversion import from_document as from_document
    from kube_core.api.models.conversion import metadata_of as metadata_of
    from kube_core.api.models.conversion import status_of as status_of
    from kube_core.api.models.conversion import to_document as to_document

__all__ = [
    "ConversionError",
    "Layout",
    "Model",
    "evolve",
    "field",
    "from_document",
    "json_name",
    "layout_of",
    "metadata_of",
    "register",
    "resource_of",
    "status_of",
    "to_document",
]


def __getattr__(name: str) -> Any:
    # Every client knows what a model is; few programs convert one, and what does so takes a while to import.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kube_core.api.models import conversion

    return getattr(conversion, name)
