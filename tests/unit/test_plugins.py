"""The plugin host: order, and that a broken plugin harms nobody."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import typer

from kube_core.control.controller import Controller, ControllerSpec
from kube_core.hookspecs import hookimpl
from kube_core.plugins import GROUP, PluginHost


def spec(name: str) -> ControllerSpec:
    def factory(_context: Any) -> Controller:
        raise NotImplementedError

    return ControllerSpec(name, factory)


class Adds:
    def __init__(self, *names: str) -> None:
        self.names = names

    @hookimpl
    def kube_core_controllers(self) -> Iterable[ControllerSpec]:
        return [spec(name) for name in self.names]


class Breaks:
    @hookimpl
    def kube_core_controllers(self) -> Iterable[ControllerSpec]:
        yield spec("half")
        raise RuntimeError("no more")


class Commands:
    @hookimpl
    def kube_core_cli(self, app: typer.Typer) -> None:
        app.command("hello")(lambda: None)


class Misspelt:
    @hookimpl
    def kube_core_controlers(self) -> None: ...


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("a_plugin")
    module.first, module.second = Adds("a", "b"), Adds("c")  # type: ignore[attr-defined]
    module.misspelt = Misspelt()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    return module


@pytest.mark.usefixtures("module")
def test_controllers_come_in_the_order_of_the_entry_points() -> None:
    points = [EntryPoint("one", "a_plugin:first", GROUP), EntryPoint("two", "a_plugin:second", GROUP)]
    host = PluginHost.from_entry_points(points)
    assert [spec.name for spec in host.controllers()] == ["a", "b", "c"]
    assert host.failures == ()
    assert list(host.names) == ["one", "two"]


@pytest.mark.usefixtures("module")
def test_plugin_that_cannot_be_imported_is_named_and_left_out() -> None:
    points = [
        EntryPoint("gone", "no_such_module_anywhere", GROUP),
        EntryPoint("misspelt", "a_plugin:misspelt", GROUP),
        EntryPoint("two", "a_plugin:second", GROUP),
    ]
    host = PluginHost.from_entry_points(points)
    assert [spec.name for spec in host.controllers()] == ["c"]
    assert [failure.name for failure in host.failures] == ["gone", "misspelt"]
    assert "no_such_module_anywhere" in str(host.failures[0])
    assert "\n" not in str(host.failures[0])
    assert list(host.names) == ["two"]


def test_failing_hook_is_reported_and_others_go_on() -> None:
    host = PluginHost()
    host.register(Breaks(), "breaks")
    host.register(Adds("a"), "adds")
    assert [spec.name for spec in host.controllers()][-1] == "a"
    assert [failure.name for failure in host.failures] == ["breaks"]


def test_second_controller_of_a_name_is_left_out() -> None:
    host = PluginHost()
    host.register(Adds("a"), "one")
    host.register(Adds("a"), "two")
    assert len(host.controllers()) == 1
    assert "already" in str(host.failures[0])


def test_commands_are_added_to_the_command_line() -> None:
    host = PluginHost()
    host.register(Commands(), "commands")
    app = typer.Typer()
    host.register_cli(app)
    assert [command.name for command in app.registered_commands] == ["hello"]


def test_built_in_plugins_all_work() -> None:
    host = PluginHost.from_entry_points()
    host.controllers()
    assert host.failures == ()
