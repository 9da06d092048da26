"""`kube-core cri`: serve a runtime as a CRI v1 endpoint until told to stop.

Everything that has an import worth mentioning is imported when the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kube_drivers.runtime.criserver.process import CriOptions

__all__ = ["cri"]

_SCHEME = "unix://"


def cri(  # noqa: PLR0913, PLR0917 (each is an option that a person may give)
    listen: Annotated[
        list[str] | None, typer.Option(help="unix:///PATH of the socket; may be repeated.", show_default=False)
    ] = None,
    runtime: Annotated[str, typer.Option(help="Runtime driver.")] = "oci",
    network: Annotated[str, typer.Option(help="Network driver; the one that goes with the runtime without.")] = "",
    pod_cidr: Annotated[str, typer.Option(help="Range of the pods' addresses.")] = "10.88.0.0/16",
    state: Annotated[str | None, typer.Option(help="Folder in which it keeps what it keeps.")] = None,
    images: Annotated[
        list[str] | None, typer.Option(help="Folder of images of the process runtime, or archive of images for oci.")
    ] = None,
    stream_address: Annotated[str, typer.Option(help="Where clients get the streams of exec.")] = "127.0.0.1",
    stream_port: Annotated[int, typer.Option(help="Its port; 0 takes a free one.", min=0, max=65535)] = 0,
    end: Annotated[
        bool, typer.Option("--end", help="Do not run: end and remove what an earlier one has left running.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Serve containers by the Container Runtime Interface, to kubelets and crictl; they outlive this program."""
    from kube_core._kit import logs
    from kube_core.abc.failures import DriverFailure
    from kube_core.cli.state import StateError, held_folder, state_root
    from kube_core.config import ClusterConfig, ConfigError
    from kube_core.drivers import DriverError

    try:
        logs.configure(log_level)
        from kube_drivers.runtime.criserver.process import CriOptions

        folder = Path(state).absolute() if state else state_root() / "cri"
        with held_folder(folder, "kube-core cri"):
            options = CriOptions(
                runtime=runtime,
                network=ClusterConfig(runtime=runtime, network=network).driver("network"),
                state=folder,
                listen=[_path(each) for each in listen or ()],
                pod_cidr=pod_cidr,
                images=[Path(each).absolute() for each in images or ()],
                stream_address=stream_address,
                stream_port=stream_port,
            )
            if not options.listen and not end:
                raise StateError("--listen unix:///PATH says where clients come")
            _run(options, end=end)
    except ModuleNotFoundError as error:
        _fail(f"CRI needs the package {error.name}: pip install 'kube-core[cri]'")
    except (StateError, ConfigError, DriverError, DriverFailure, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")


def _run(options: CriOptions, *, end: bool) -> None:
    import asyncio
    import functools
    import signal

    import uvloop

    from kube_drivers.runtime.criserver import process

    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await process.serve(options, stop=stop, tell=functools.partial(print, flush=True))

    uvloop.run(process.end(options) if end else until_told())


def _path(address: str) -> Path:
    """Raises ValueError."""
    path = address.removeprefix(_SCHEME)
    if not path.startswith("/"):
        raise ValueError(f"--listen {address}: give {_SCHEME}/PATH")
    return Path(path)


def _fail(message: str) -> None:
    typer.echo(f"kube-core: {message}", err=True)
    raise typer.Exit(1)
