"""`kube-core up`: start or resume a cluster, in the foreground or detached.

Options that were given win over those of the file that was named, which win over those that the cluster was last
started with, which win over the defaults. The kubeconfig
gets a context `kube-core-NAME`. Detached, the same program runs in a session of its own, and this one waits on a pipe
until it says that it is ready, or why not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit import garbage
from kube_core.api.kubelet import KubeletSettings
from kube_core.cli import aiohttp_client, memory
from kube_core.cli.state import ClusterState, StateError
from kube_core.config import ClusterConfig, ConfigError

if TYPE_CHECKING:
    from kube_core.auth.options import SecurityOptions
    from kube_core.cluster import Cluster

__all__ = ["UpOptions", "detached", "run"]

_DEFAULTS: Mapping[str, Any] = {"nodes": 1, "runtime": "process", "bind": "127.0.0.1", "port": 0, "controllers": "all"}
#: What the command line alone decides.
_OF_COMMAND = ("name", "state_directory")
_READY_FD = "KUBE_CORE_READY_FD"


@attrs.frozen
class UpOptions:
    """What the command line said. `given` holds the cluster's own options, under their names in the state file."""

    name: str
    given: Mapping[str, Any]
    config_file: str | None = None
    in_memory: bool = False
    kubeconfig: str | None = None
    use_context: bool = False


def run(options: UpOptions) -> str | None:
    """Run the cluster until told to stop; returns what went wrong, in one line."""
    if descriptor := os.environ.get(_READY_FD):
        # The pipe ends with this process; those that it starts must not keep it open.
        os.set_inheritable(int(descriptor), False)
    error = _run(options)
    _tell_parent(error or "")
    return error


def detached(options: UpOptions) -> str | None:
    """Start the cluster as a process of its own and return when it is ready."""
    try:
        log = os.devnull
        if not options.in_memory:
            state = ClusterState.of(options.name)
            state.make()
            log = str(state.log)
    except StateError as error:
        return str(error)
    where = "" if options.in_memory else f"; its log is {log}"
    reading, writing = os.pipe()
    sys.stdout.flush()
    # A fork rather than a new interpreter: what is imported so far need not be imported again.
    child = os.fork()
    if child == 0:
        os.close(reading)
        _go_apart(log)
        os.environ[_READY_FD] = str(writing)
        code = 1
        try:
            code = 0 if run(options) is None else 1
        except BaseException as error:
            traceback.print_exc()
            sys.stderr.flush()
            _tell_parent("".join(traceback.format_exception_only(error)).strip() + where)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    if message.startswith("ready\n"):
        sys.stdout.write(message.removeprefix("ready\n"))
        return None
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return message.strip() or f"the cluster's process ended with code {code}{where}"


def _go_apart(log: str) -> None:
    """Belong to no terminal, and write to the log."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


def _run(options: UpOptions) -> str | None:
    from kube_core.abc.failures import DriverFailure
    from kube_core.client.kubeconfig import KubeconfigError
    from kube_core.drivers import DriverError
    from kube_core.meta.status import StatusError

    try:
        state = ClusterState.of(options.name)
        if options.in_memory:
            with memory.held(options.name):
                _serve(options, _config(options, None, {}), None)
        else:
            state.make()
            with state.held():
                saved = state.load()
                _serve(options, _config(options, state, saved), state)
    except (StateError, ConfigError, DriverError, DriverFailure, KubeconfigError, StatusError) as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or 'system'}: {error.strerror or error}"
    except (KeyboardInterrupt, asyncio.CancelledError):
        return "told to stop before it was ready"
    return None


def _config(options: UpOptions, state: ClusterState | None, saved: Mapping[str, Any]) -> ClusterConfig:
    """Raises `ConfigError`."""
    of_file = _of_file(options.config_file)
    chosen = {**_DEFAULTS, **saved, **of_file, **options.given}
    if state is None:
        chosen["store"] = "memory:"
    elif "store" not in chosen or chosen["store"] == "sqlite":
        chosen["store"] = state.store
    known = {field.name for field in attrs.fields(ClusterConfig)}
    unknown = set(chosen) - known
    if unknown:
        raise ConfigError(f"unknown option {', '.join(sorted(unknown))} in the cluster's saved state")
    controllers = str(chosen.pop("controllers"))
    names = () if controllers == "none" else tuple(name.strip() for name in controllers.split(",") if name.strip())
    chosen.pop("security", None)
    sources = (saved, of_file, options.given)
    security = _security({name: value for each in sources for name, value in each.get("security", {}).items()})
    # Without a controller it is to be an API server alone.
    chosen.setdefault("outside_nodes", not chosen["nodes"] and bool(names))
    images = tuple(Path(each).absolute() for each in chosen.pop("images", ()))
    try:
        if isinstance(kubelet := chosen.get("kubelet"), dict):  # as it was saved
            chosen["kubelet"] = KubeletSettings.of(kubelet)
        return ClusterConfig(
            name=options.name,
            state_directory=state.directory if state is not None else None,
            controllers=names,
            images=images,
            security=security,
            **chosen,
        )
    except TypeError as error:
        raise ConfigError(f"the cluster's saved state does not fit: {error}") from None


def _of_file(path: str | None) -> Mapping[str, Any]:
    """What a file says, under the names and in the form of the state file."""
    if path is None:
        return {}
    from kube_core.config_file import read_options

    found = read_options(path)
    for name in _OF_COMMAND:
        if name in found:
            raise ConfigError(f"{path}: {name}: is for the command line to say")
    if "controllers" in found:
        found["controllers"] = ",".join(found["controllers"]) or "none"
    if "security" in found:
        found["security"] = found["security"].given()
    return found


def _security(given: Mapping[str, Any]) -> SecurityOptions:
    from kube_core.auth.options import SecurityOptions

    try:
        return SecurityOptions(**given)
    except TypeError as error:
        raise ConfigError(f"the cluster's saved state does not fit: {error}") from None


def _serve(options: UpOptions, config: ClusterConfig, state: ClusterState | None) -> None:
    aiohttp_client.put_off()
    import uvloop

    uvloop.run(_until_told(options, config, state))


async def _until_told(options: UpOptions, config: ClusterConfig, state: ClusterState | None) -> None:
    from kube_core._kit import logs
    from kube_core.cluster import Cluster

    logs.configure("warning")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()

    def told() -> None:
        """Stop in good order; a cluster that is still starting is given up."""
        stop.set()
        if starting and task is not None:
            task.cancel()

    starting = True
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    async with Cluster(config) as cluster:
        starting = False
        garbage.settle_in()
        if state is not None:
            state.save(_saved(config, cluster, state))
        # On a thread: another program that changes the file is waited for.
        path, current = await asyncio.to_thread(_merge, options, cluster)
        await cluster.server.until_ready()
        text = _announcement(config.name, cluster.url, path, current=current)
        _tell_parent(f"ready\n{text}")
        if _READY_FD not in os.environ:
            sys.stdout.write(text)
            sys.stdout.flush()
        await stop.wait()


def _saved(config: ClusterConfig, cluster: Cluster, state: ClusterState) -> Mapping[str, Any]:
    """What `up` needs to resume the cluster as it is. Services keep their addresses, so the ranges stay what they are,
    wherever the state is moved to; a cluster that never had nodes may still get those of its first network driver."""
    ranges = cluster.ranges if config.has_nodes else config
    return {
        "nodes": config.nodes,
        **({"outside_nodes": True} if config.outside_nodes and config.nodes else {}),
        "runtime": config.runtime,
        "network": config.network,
        "cloud": config.cloud,
        "store": "sqlite" if config.store == state.store else config.store,
        "bind": config.bind,
        "port": cluster.port,
        "controllers": ",".join(config.controllers) or "none",
        "pod_cidr": ranges.pod_cidr,
        "service_cidr": ranges.service_cidr,
        "images": [str(path) for path in config.images],
        "security": config.security.given(),
        **({"kubelet": given} if (given := config.kubelet.given()) else {}),
    }


def _merge(options: UpOptions, cluster: Cluster) -> tuple[Path, bool]:
    from kube_core.client.kubeconfig import default_paths, merge_context

    document = cluster.kubeconfig()
    path = Path(options.kubeconfig) if options.kubeconfig else default_paths()[0]
    current = merge_context(
        path,
        document["current-context"],
        cluster=document["clusters"][0]["cluster"],
        user=document["users"][0]["user"],
        make_current="always" if options.use_context else "where-none-set",
    )
    return path, current


def _announcement(name: str, url: str, kubeconfig: Path, *, current: bool) -> str:
    lines = [f"cluster {name!r} is ready at {url}", f"export KUBECONFIG={kubeconfig}"]
    if not current:
        lines.append(f"kubectl config use-context kube-core-{name}")
    return "\n".join(lines) + "\n"


def _tell_parent(message: str) -> None:
    """Say it to the process that waits for us, if one does, and only once."""
    descriptor = os.environ.get(_READY_FD)
    if not descriptor:
        return
    try:
        os.write(int(descriptor), message.encode())
        os.close(int(descriptor))
    except OSError:
        pass
    os.environ[_READY_FD] = ""
