"""What a module declares: its controllers, and its handlers, of which those of one kind are one controller.

A program is a module by its name, or a Python file. Modules are searched one level deep: what they import from each
other counts, and is found once.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kube_core.control.controller import ControllerSpec, resource_named
from kube_core.operators.declaration import Declaration
from kube_core.operators.handlers import Handler

if TYPE_CHECKING:
    from kube_core.control.controller import ControllerContext
    from kube_core.operators.handling import Handling

__all__ = ["ProgramError", "controllers_in", "load_program"]


class ProgramError(Exception):
    """A program that cannot be run; the message is one line for a person."""


def controllers_in(program: object, known: set[object] | None = None) -> Iterator[ControllerSpec]:
    """The controllers that a module, or any object with attributes, declares; or the one that it is.

    `known`: declarations that have been found before, which are not found again.
    """
    known = set() if known is None else known
    values = [program, *vars(program).values()] if hasattr(program, "__dict__") else [program]
    handlers: dict[tuple[str, type], list[Handler[Any]]] = {}
    for value in values:
        if not isinstance(value, Declaration | Handler) or value in known:
            continue
        known.add(value)
        if isinstance(value, Declaration):
            yield from value.specs()
        else:
            handlers.setdefault((value.__module__, value.kind), []).append(value)
    for (module, kind), group in handlers.items():
        yield _handling(module, kind, group)


def load_program(where: str) -> ModuleType:
    """The module that `where` names, or the file that it is the path of. Raises `ProgramError`."""
    if where.endswith(".py") or "/" in where:
        return _load_file(Path(where))
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(where)
    except Exception as error:
        raise ProgramError(f"cannot import {where}: {type(error).__name__}: {error}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ProgramError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ProgramError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Where what is in it looks for itself, and where it finds what is beside it.
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise ProgramError(f"cannot run {path}: {type(error).__name__}: {error}") from error
    return module


def _handling(module: str, kind: type, handlers: list[Handler[Any]]) -> ControllerSpec:
    names = [handler.id for handler in handlers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two handlers of {kind.__name__} have the id {sorted(twice)[0]!r}")

    def make(context: ControllerContext) -> Handling:
        from kube_core.operators.handling import Handling  # a search need not import what runs

        return Handling(context, handlers)

    name = f"{module.rpartition('.')[2].strip('_').replace('_', '-')}-{resource_named(kind).plural}"
    return ControllerSpec(name, make, workers=_WORKERS)


#: Handlers may take long, and objects are apart from each other.
_WORKERS = 10
