"""What this adds to the command line: `kube-core cri`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_core.hookspecs import hookimpl

if TYPE_CHECKING:
    import typer

__all__ = ["kube_core_cli"]


@hookimpl
def kube_core_cli(app: typer.Typer) -> None:
    from kube_drivers.runtime.criserver.commands import cri  # lazily: only the command line has a use for it

    app.command()(cri)
