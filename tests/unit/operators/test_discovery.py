"""What is found of a program: its controllers, its handlers by kind, and programs by name and file."""

from __future__ import annotations

from pathlib import Path

import pytest

import kube_core as kube
from fakes.sites import Site, program
from kube_core.api import apps, core
from kube_core.operators.discovery import ProgramError, controllers_in, load_program
from kube_core.plugins import PluginHost


@kube.controller(Site)
async def one_site(ctx: kube.Context[Site]) -> None: ...


@kube.on.create(Site)
async def created(ctx: kube.HandlerContext[Site]) -> None: ...


@kube.timer(core.Pod, interval=1)
async def tick(ctx: kube.HandlerContext[core.Pod]) -> None: ...


@kube.on.delete(Site)
async def deleted(ctx: kube.HandlerContext[Site]) -> None: ...


def test_a_declaration_is_found_once_and_handlers_are_one_controller_a_kind() -> None:
    module = program(a=one_site, again=one_site, b=created, c=tick, d=deleted)
    names = [spec.name for spec in controllers_in(module)]
    assert names == ["one-site", "test-discovery-sites", "test-discovery-pods"]


def test_plugins_that_declare_need_no_hook() -> None:
    host = PluginHost()
    host.register(program(a=one_site), "one")
    host.register(program(a=one_site, b=created), "two")
    assert [spec.name for spec in host.controllers()] == ["one-site", "test-discovery-sites"]
    assert not host.failures


def test_of_two_controllers_of_one_name_the_later_is_left_out_and_named() -> None:
    @kube.controller(core.Pod, name="one-site")
    async def other(ctx: kube.Context[core.Pod]) -> None: ...

    host = PluginHost()
    host.register(program(a=one_site), "one")
    host.register(program(a=other), "two")
    assert len(host.controllers()) == 1
    assert "'two'" in str(host.failures[0])


def test_two_handlers_of_one_name_are_a_mistake() -> None:
    @kube.on.update(Site, id="created")
    async def another(ctx: kube.HandlerContext[Site]) -> None: ...

    with pytest.raises(ValueError, match="two handlers of Site have the id 'created'"):
        list(controllers_in(program(a=created, b=another)))


def test_what_is_no_kind_and_what_is_no_coroutine_function_is_refused() -> None:
    with pytest.raises(TypeError, match="is not a kind"):
        kube.controller(Path)
    with pytest.raises(TypeError, match="is not a kind"):
        kube.controller(Site, owns=[Path])
    with pytest.raises(TypeError, match="unexpected keyword argument 'own'"):
        kube.controller(Site, own=[apps.Deployment])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no async function"):
        kube.controller(Site)(lambda ctx: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="async def reconcile"):
        kube.controller(Site)(Path)
    with pytest.raises(TypeError, match="no async function"):
        kube.on.create(Site)(lambda ctx: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="name a field"):
        kube.on.field(Site, "")
    with pytest.raises(ValueError, match="longer than nothing"):
        kube.timer(Site, interval=0)


def test_a_program_is_loaded_by_file_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside.py").write_text("VALUE = 3\n")
    (tmp_path / "a_file.py").write_text("from beside import VALUE\n")
    assert load_program(str(tmp_path / "a_file.py")).VALUE == 3
    assert load_program("beside").VALUE == 3


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no file"), ("1/0", "ZeroDivisionError"), ("a b", "SyntaxError")]
)
def test_a_program_that_cannot_be_loaded_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "broken.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ProgramError, match=message):
        load_program(str(file))
    with pytest.raises(ProgramError, match="cannot import no_such_module_here"):
        load_program("no_such_module_here")
