"""What the oci runtime adds to a cluster besides being a runtime: the commands `kube-core image …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer

__all__ = ["kube_core_cli"]


@hookimpl
def kube_core_cli(app: typer.Typer) -> None:
    from kube_drivers.runtime.oci.commands import commands  # lazily: only the command line has a use for them

    app.add_typer(commands, name="image")
