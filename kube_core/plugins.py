"""Plugins: what packages add to a cluster through the hooks in `hookspecs.py`.

A plugin is a module or object named by an entry point of the group `kube_core.plugins`; built-ins come the same way
and first come first. `PluginHost` is the typed face of pluggy, which is neither typed nor asynchronous: each hook is
called once, at start, through one method here. A plugin that cannot be imported or does not register is named, kept
in `failures`, and left out; the others work on.
"""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy

from kube_core import hookspecs
from kube_core._kit.entry_points import entry_points
from kube_core._kit.logs import get_logger

if TYPE_CHECKING:
    import typer

    from kube_core.admission.chain import AdmissionSpec
    from kube_core.control.controller import ControllerSpec
    from kube_core.scheduler.framework import PluginSpec

__all__ = ["GROUP", "PluginFailure", "PluginHost"]

GROUP = "kube_core.plugins"

_log = get_logger("kube_core.plugins")
#: What may be a hook, of all that a module has.
_CALLABLE: Final = (types.FunctionType, types.MethodType, staticmethod, classmethod)


@attrs.frozen
class PluginFailure:
    """A plugin that was left out, and why, in one line."""

    name: str
    where: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.where}) was left out: {self.error}"


class PluginHost:
    """The plugins of one program, in order."""

    def __init__(self) -> None:
        self._pluggy = _Manager("kube_core")
        self._pluggy.add_hookspecs(hookspecs)
        self._failures: list[PluginFailure] = []

    @classmethod
    def from_entry_points(cls, points: Iterable[EntryPoint] | None = None) -> PluginHost:
        """A host with every installed plugin (or those of `points`), in the order of their entry points."""
        host = cls()
        for point in entry_points(GROUP) if points is None else points:
            host._load(point)
        return host

    def register(self, plugin: object, name: str) -> None:
        """Add one more plugin, after the others. Raises ValueError for one that is there already."""
        self._pluggy.register(plugin, name=name)
        self._pluggy.check_pending()

    @property
    def names(self) -> Sequence[str]:
        """The plugins that work, in order."""
        return [name for name, plugin in self._pluggy.list_name_plugin() if plugin is not None]

    @property
    def failures(self) -> Sequence[PluginFailure]:
        return tuple(self._failures)

    def controllers(self) -> list[ControllerSpec]:
        """The controllers of every plugin, in order. Of two with one name the later is left out.

        They come from the hook, and then from what plugins declare by `@controller`, `@on`, `@timer` and `@daemon`.
        """
        specs: dict[str, ControllerSpec] = {}
        for name, implementation in self._implementations("kube_core_controllers"):
            try:
                for spec in implementation({}):
                    if spec.name in specs:
                        raise ValueError(f"there is a controller {spec.name!r} already")
                    specs[spec.name] = spec
            except Exception as error:
                self._fail(name, "kube_core_controllers", error)
        if declaring := [(name, plugin) for name, plugin in self._pluggy.list_name_plugin() if _declares(plugin)]:
            # Imported only where there are some.
            from kube_core.operators.discovery import controllers_in

            known: set[object] = set()
            for name, plugin in declaring:
                try:
                    for spec in controllers_in(plugin, known):
                        if spec.name in specs:
                            raise ValueError(f"there is a controller {spec.name!r} already")
                        specs[spec.name] = spec
                except Exception as error:
                    self._fail(name, "a declared controller", error)
        return list(specs.values())

    def kinds(self) -> dict[str, list[object]]:
        """Kinds and their functions by plugin, in order. Those of a plugin that do not go together are left out.

        They come from the hook, and of a plugin that declares controllers it is all that it has.
        """
        offered: dict[str, list[object]] = {}
        given = [(name, functools.partial(_listed, call)) for name, call in self._implementations("kube_core_kinds")]
        given += [
            (name, functools.partial(_kinds_of, plugin))
            for name, plugin in self._pluggy.list_name_plugin()
            if _declares(plugin) and not hasattr(plugin, "kube_core_kinds")
        ]
        for name, find in given:
            try:
                # Imported only where there are some.
                from kube_core.kinds.bundle import gather

                found = find()
                gather([*itertools.chain(*offered.values()), *found])
                if found:
                    offered[name] = found
            except Exception as error:
                self._fail(name, "kube_core_kinds", error)
        return offered

    def admission(self) -> list[AdmissionSpec]:
        """The admission plugins of every plugin, in order. Of two with one name the later is left out."""
        specs: dict[str, AdmissionSpec] = {}
        for name, implementation in self._implementations("kube_core_admission"):
            try:
                for spec in implementation({}):
                    if spec.name in specs:
                        raise ValueError(f"there is an admission plugin {spec.name!r} already")
                    specs[spec.name] = spec
            except Exception as error:
                self._fail(name, "kube_core_admission", error)
        return list(specs.values())

    def scheduler_plugins(self) -> list[PluginSpec]:
        """The scheduler plugins of every plugin, in order. Of two with one name the later is left out."""
        specs: dict[str, PluginSpec] = {}
        for name, implementation in self._implementations("kube_core_scheduler_plugins"):
            try:
                for spec in implementation({}):
                    if spec.name in specs:
                        raise ValueError(f"there is a scheduler plugin {spec.name!r} already")
                    specs[spec.name] = spec
            except Exception as error:
                self._fail(name, "kube_core_scheduler_plugins", error)
        return list(specs.values())

    def leave_out(self, name: str, where: str, error: Exception) -> None:
        """Note that what a plugin adds cannot be used after all."""
        self._fail(name, where, error)

    def register_cli(self, app: typer.Typer) -> None:
        """Let every plugin add its commands to the command line."""
        for name, implementation in self._implementations("kube_core_cli"):
            try:
                implementation({"app": app})
            except Exception as error:
                self._fail(name, "kube_core_cli", error)

    def _load(self, point: EntryPoint) -> None:
        try:
            self.register(point.load(), point.name)
        except Exception as error:
            if (plugin := self._pluggy.get_plugin(point.name)) is not None:
                self._pluggy.unregister(plugin)
            self._fail(point.name, point.value, error)

    def _implementations(self, hook: str) -> list[tuple[str, Callable[[dict[str, Any]], Any]]]:
        """A hook's implementations in order of registration, which pluggy's own call would turn round.

        Each takes the hook's arguments by name, and passes on those that it declares.
        """
        implementations = getattr(self._pluggy.hook, hook).get_hookimpls()
        order = {name: position for position, (name, _) in enumerate(self._pluggy.list_name_plugin())}
        implementations.sort(key=lambda implementation: order[implementation.plugin_name])
        return [(item.plugin_name, functools.partial(_call, item)) for item in implementations]

    def _fail(self, name: str, where: str, error: Exception) -> None:
        failure = PluginFailure(name, where, f"{type(error).__name__}: {error}")
        self._failures.append(failure)
        _log.warning("plugin left out", plugin=name, where=where, error=failure.error)


class _Manager(pluggy.PluginManager):
    """pluggy's, which looks at every name of a plugin with the care that objects need: of descriptors, of slots. Most
    plugins are modules, where nothing but a function can be a hook; every cluster looks through some forty of them."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if isinstance(plugin, types.ModuleType) and not isinstance(vars(plugin).get(name), _CALLABLE):
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _call(implementation: pluggy.HookImpl, arguments: dict[str, Any]) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _declares(plugin: object) -> bool:
    """Whether a plugin, or something that it has, says that it declares controllers (see `kube_core.operators`)."""
    values = (plugin, *vars(plugin).values()) if hasattr(plugin, "__dict__") else (plugin,)
    return any(hasattr(type(value), "kube_core_declares") for value in values)


def _listed(call: Callable[[dict[str, Any]], Any]) -> list[object]:
    return list(call({}))


def _kinds_of(plugin: object) -> list[object]:
    """The kinds, and functions of them, that a plugin has; the kind of a controller that is a plugin by itself."""
    from kube_core.kinds.bundle import offers  # imported only where something is declared

    return [value for value in vars(plugin).values() if offers(value)] if hasattr(plugin, "__dict__") else []
