"""Images of the process runtime that are found in folders by their names."""

from __future__ import annotations

from pathlib import Path

from kube_drivers.runtime.process import Images


def test_a_folder_is_an_image_by_name_or_by_name_and_tag(tmp_path: Path) -> None:
    for place, command in {"plain": "plain", "app/v1": "one", "app/v2": "two"}.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "image.json").write_text(f'{{"entrypoint": ["{command}"]}}')
    images = Images.from_folders([tmp_path])
    assert images.resolve("app:v2").argv((), ()) == ["two"]
    assert images.resolve("app:v1").argv((), ("--now",)) == ["one", "--now"]
    assert images.resolve("plain:anything").argv((), ()) == ["plain"]
    assert images.resolve("app:v2").directory == str(tmp_path / "app" / "v2")
    assert images.resolve("busybox:1.37").directory == ""
