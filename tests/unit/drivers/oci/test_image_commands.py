"""`kube-core image …` works on the store alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fakes.images import entry, make_image, make_layer
from kube_drivers.runtime.oci import plugin

LAYER = make_layer(entry("etc"), entry("etc/name", b"base"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("KUBE_CORE_IMAGES", str(tmp_path / "store"))
    app = typer.Typer()
    app.command()(lambda: None)  # of one command typer makes none
    plugin.kube_core_cli(app)

    def run(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["image", *map(str, words)])
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_images_are_loaded_listed_shown_and_removed(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = make_image(LAYER, Cmd=["/run"]).save_docker(tmp_path / "image.tar", "app:1", "app:2")
    assert run("load", archive) == "loaded docker.io/library/app:1\nloaded docker.io/library/app:2\n"
    shown = json.loads(run("inspect", "app:2"))
    assert shown["config"]["command"] == ["/run"]
    assert run("rm", "app:1") == "removed app:1\n"
    listed = run("ls").splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["docker.io/library/app:2", shown["id"][7:19]]]
    run("rm", shown["id"][7:19])
    assert len(run("ls").splitlines()) == 1


def test_an_image_is_built_of_a_folder(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "root").mkdir()
    (tmp_path / "root/run").write_text("x")
    words = ("--entrypoint", "/run", "--cmd", "-v", "--cmd", "1", "--env", "A=1", "--workdir", "/", "--user", "7")
    run("build", "mine:1", "--from-dir", tmp_path / "root", *words)
    config = json.loads(run("inspect", "mine:1"))["config"]
    assert (config["entrypoint"], config["command"], config["env"]) == (["/run"], ["-v", "1"], ["A=1"])
    assert (config["working_dir"], config["user"]) == ("/", "7")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rm", "missing"), 'the image "missing" is not in the store'),
        (("load", "/nowhere.tar"), "/nowhere.tar cannot be read"),
        (("pull", "localhost:1/app"), "failed to resolve reference"),
        (("inspect", "UPPER"), "invalid reference format"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, words: tuple[str, ...], said: str) -> None:  # type: ignore[no-untyped-def]
    output = run(*words, code=1)
    assert said in output
    assert output.startswith("kube-core: ")
    assert output.count("\n") == 1
