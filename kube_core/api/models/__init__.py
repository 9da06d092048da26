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

from kube_core.api.models.classes import Layout, Model, evolve, field, json_name, layout_of, register, resource_of
from kube_core.api.models.conversion import (
    ConversionError,
    from_document,
    metadata_of,
    status_of,
    to_document,
)

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
