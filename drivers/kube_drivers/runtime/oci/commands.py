"""`kube-core image …`: the images of this machine, whether a cluster runs or not.

Nodes with the oci runtime look into the same store, so what is loaded here is there for
them at once. Everything that has an import worth mentioning is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from kube_drivers.runtime.oci.images.store import ImageStore, StoredImage

__all__ = ["commands"]

commands = typer.Typer(
    help="The images of the oci runtime on this machine.", no_args_is_help=True, rich_markup_mode=None
)
Place = Annotated[Path | None, typer.Option("--store", help="Folder of the images; KUBE_CORE_IMAGES without.")]


@commands.command()
def load(
    archives: Annotated[list[Path], typer.Argument(help="OCI layouts, or archives of `docker save`.")],
    name: Annotated[str, typer.Option(help="Of the one image in there, instead of its own.")] = "",
    place: Place = None,
) -> None:
    """Load images from files."""
    from kube_drivers.runtime.oci.images.archives import load_archive

    def act(store: ImageStore) -> None:
        for archive in archives:
            for loaded in load_archive(store, archive, name=name):
                typer.echo(f"loaded {loaded}")

    _with_store(place, act)


@commands.command()
def pull(
    image: Annotated[str, typer.Argument(help="Its name.")],
    username: Annotated[str, typer.Option(help="For the registry.")] = "",
    password: Annotated[str, typer.Option(help="For the registry.", envvar="KUBE_CORE_REGISTRY_PASSWORD")] = "",
    place: Place = None,
) -> None:
    """Pull an image from its registry."""
    import anyio

    from kube_core.abc.runtime import RegistryCredentials
    from kube_drivers.runtime.oci.images import pulling
    from kube_drivers.runtime.oci.images.references import parse_name
    from kube_drivers.runtime.oci.images.registries import Registries

    def act(store: ImageStore) -> None:
        name, registries = parse_name(image), Registries.read(store.directory)
        credentials = RegistryCredentials(username, password) if username else None
        anyio.run(pulling.pull, store, name, registries, credentials)
        typer.echo(f"pulled {name}")

    _with_store(place, act)


@commands.command()
def build(  # noqa: PLR0913, PLR0917 (each is an option that a person may give)
    name: Annotated[str, typer.Argument(help="Of the image.")],
    root: Annotated[Path, typer.Option("--from-dir", help="Its root file system: a folder, or a tar of one.")],
    entrypoint: Annotated[list[str] | None, typer.Option(help="A word of it; again for the next.")] = None,
    command: Annotated[list[str] | None, typer.Option("--cmd", help="A word of it; again for the next.")] = None,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; again for the next.")] = None,
    workdir: Annotated[str, typer.Option(help="Where it starts.")] = "",
    user: Annotated[str, typer.Option(help="Who it is: a name or a number.")] = "",
    base: Annotated[str, typer.Option(help="An image of the store that it stands on.")] = "",
    place: Place = None,
) -> None:
    """Make an image of a root file system."""
    from kube_drivers.runtime.oci.images.archives import Recipe, build_image

    recipe = Recipe(
        root,
        name,
        entrypoint=tuple(entrypoint or ()),
        command=tuple(command or ()),
        env=tuple(env or ()),
        working_dir=workdir,
        user=user,
        base=base,
    )
    _with_store(place, lambda store: typer.echo(f"built {build_image(store, recipe)}"))


@commands.command("ls")
def list_images(place: Place = None) -> None:
    """List the images."""

    def act(store: ImageStore) -> None:
        typer.echo(f"{'NAME':60} {'ID':14} SIZE")
        for image in store.images():
            for name in image.names:
                typer.echo(f"{name:60} {image.id[7:19]:14} {_size_text(image.size)}")

    _with_store(place, act)


@commands.command("rm")
def remove(
    images: Annotated[list[str], typer.Argument(help="Names, of which only these go, or ids.")],
    place: Place = None,
) -> None:
    """Remove images, or names of them."""
    from kube_drivers.runtime.oci.images.references import parse_name

    def act(store: ImageStore) -> None:
        for reference in images:
            image = _found(store, reference)
            by_id = image.id.removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))
            store.remove(image, () if by_id else (str(parse_name(reference)),))
            typer.echo(f"removed {reference}")

    _with_store(place, act)


@commands.command()
def inspect(image: Annotated[str, typer.Argument(help="A name or an id.")], place: Place = None) -> None:
    """Show what an image says of itself, as JSON."""
    import attrs
    import orjson

    def act(store: ImageStore) -> None:
        found = _found(store, image)
        layers = [str(store.layers_directory / each) for each in store.lowers(found)]
        typer.echo(orjson.dumps({**attrs.asdict(found), "layers": layers}, option=orjson.OPT_INDENT_2).decode())

    _with_store(place, act)


def _with_store(place: Path | None, act: Callable[[ImageStore], None]) -> None:
    """Do something with the store; what cannot be done is one line and exit code 1."""
    from kube_core.abc.runtime import ImageFailure
    from kube_drivers.runtime.oci.images.store import ImageStore, store_directory

    try:
        store = ImageStore(place or store_directory())
        store.open()
        act(store)
    except ImageFailure as error:
        typer.echo(f"kube-core: {error}", err=True)
        raise typer.Exit(1) from None


def _found(store: ImageStore, reference: str) -> StoredImage:
    from kube_core.abc.runtime import ImageFailure

    image = store.find(reference)
    if image is None:
        raise ImageFailure(f'the image "{reference}" is not in the store')
    return image


def _size_text(size: int) -> str:
    """As `docker images` shows it."""
    value, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while value >= 1000 and unit != "GB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g}{unit}"
