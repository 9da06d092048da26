"""The command line: `kube-core up | down | status | run | plugins | drivers | version`, and what plugins add.

A failure that a person can do something about is one line on standard error and exit code 1. Every command imports
what it needs when it runs, so that the light ones stay light.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from kube_core._kit import garbage
from kube_core.cli.security import with_security_options

__all__ = ["app", "main"]

#: Commands that go on until they are told to stop, and settle in when they have started.
_SERVERS: Final = ("up", "node")

app = typer.Typer(
    name="kube-core",
    help="A real Kubernetes, control plane and node, as one program.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Option("--name", help="Which cluster.")]


@app.command()
@with_security_options
def up(  # noqa: PLR0913, PLR0917 (each is an option that a person may give)
    name: Name = "default",
    config: Annotated[str | None, typer.Option(help="YAML file of options; those given here win over it.")] = None,
    nodes: Annotated[
        int | None,
        typer.Option(help="How many nodes; with 0, `kube-core node` brings them.", min=0),
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime driver of the nodes.")] = None,
    network: Annotated[str | None, typer.Option(help="Network driver.")] = None,
    cloud: Annotated[str | None, typer.Option(help="Cloud driver, for load balancers; none for no cloud.")] = None,
    store: Annotated[str | None, typer.Option(help="Store: a driver's name or URL.")] = None,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Memory store, no state on disk.")] = False,
    bind: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file to merge the cluster into.")] = None,
    use_context: Annotated[bool, typer.Option("--use-context", help="Make it the current context.")] = False,
    controllers: Annotated[str | None, typer.Option(help="all, none, or names separated by commas.")] = None,
    pod_cidr: Annotated[str | None, typer.Option(help="Range of pod addresses.")] = None,
    service_cidr: Annotated[str | None, typer.Option(help="Range of service addresses.")] = None,
    event_ttl: Annotated[float | None, typer.Option(help="Seconds for which Events are kept; 0 keeps them.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Keep a record for `kube-core why`.")] = False,
    shutdown_delay: Annotated[
        float | None, typer.Option(help="Seconds for which /readyz fails before the cluster stops.", min=0)
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option(help="Folder of images of the process runtime, or archive of images for oci.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the cluster is ready.")] = False,
    security: Mapping[str, Any] | None = None,
) -> None:
    """Start a cluster, or resume the one of this name."""
    from kube_core.cli import up as command

    given = {
        "nodes": nodes,
        "runtime": runtime,
        "network": network,
        "cloud": cloud,
        "store": store,
        "bind": bind,
        "port": port,
        "controllers": controllers,
        "pod_cidr": pod_cidr,
        "service_cidr": service_cidr,
        "event_ttl": event_ttl,
        "shutdown_delay": shutdown_delay,
        "record": record or None,
        "images": images or None,
        "security": security or None,
    }
    options = command.UpOptions(
        name=name,
        given={option: value for option, value in given.items() if value is not None},
        config_file=config,
        in_memory=in_memory,
        kubeconfig=kubeconfig,
        use_context=use_context,
    )
    _exit(command.detached(options) if detach else command.run(options))


@app.command()
def down(name: Name = "default") -> None:
    """Stop a cluster; its state stays, and `up` resumes it."""
    from kube_core.cli import down as command

    _exit(command.run(name))


@app.command()
def status(name: Annotated[str | None, typer.Option("--name", help="Only this cluster.")] = None) -> None:
    """Show the clusters that there are."""
    from kube_core.cli import status as command

    _exit(command.run(name))


@app.command(name="run")
def run_controllers(  # noqa: PLR0913, PLR0917 (each is an option that a person may give)
    programs: Annotated[list[str], typer.Argument(metavar="MODULE|FILE...", help="What declares controllers.")],
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file; kubectl's rules without.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig; the current one without.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Look at this namespace only.")] = "",
    controllers: Annotated[str, typer.Option(help="Names separated by commas; all without.")] = "",
    leader_elect: Annotated[
        bool, typer.Option("--leader-elect", help="Be one of several, of which one works.")
    ] = False,
    lease: Annotated[str, typer.Option(help="Name of the Lease, or NAMESPACE/NAME.")] = "",
    identity: Annotated[str, typer.Option(help="Who this is among the candidates.")] = "",
    lease_duration: Annotated[float, typer.Option(help="Seconds after which a silent leader is replaced.")] = 15.0,
    renew_deadline: Annotated[float, typer.Option(help="Seconds after which a leader gives up.")] = 10.0,
    retry_period: Annotated[float, typer.Option(help="Seconds between tries.")] = 2.0,
    metrics_bind: Annotated[
        str, typer.Option(help="HOST:PORT for /metrics, /healthz and /readyz; nowhere without.")
    ] = "",
    install_kinds: Annotated[bool, typer.Option("--install-kinds", help="Install the kinds declared there.")] = False,
    webhooks_bind: Annotated[str, typer.Option(help="HOST:PORT at which functions of kinds are served.")] = "",
    webhooks_url: Annotated[str, typer.Option(help="The URL by which the cluster reaches that.")] = "",
    grace: Annotated[float, typer.Option(help="Seconds that reconciles have when told to stop.", min=0)] = 30.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the controllers of a program against any cluster."""
    from kube_core.cli import run as command

    if log_level not in ("debug", "info", "warning", "error"):
        _exit(f"--log-level is debug, info, warning or error, not {log_level}")
    given = {
        "kubeconfig": kubeconfig,
        "context": context,
        "namespace": namespace,
        "controllers": [name.strip() for name in controllers.split(",") if name.strip()],
        "leader_elect": leader_elect,
        "lease": lease,
        "identity": identity,
        "metrics_bind": metrics_bind,
        "install_kinds": install_kinds,
        "webhooks_bind": webhooks_bind,
        "webhooks_url": webhooks_url,
        "grace": grace,
    }
    times = {"lease_duration": lease_duration, "renew_deadline": renew_deadline, "retry_period": retry_period}
    _exit(command.run(programs, given, times, log_level=log_level))


@app.command()
def why(
    kind: Annotated[str, typer.Argument(help="As kubectl takes it: pods, deploy, websites.example.dev, pod/web.")],
    name: Annotated[str, typer.Argument(help="Not where the kind has it, as in pod/web.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The context's own without.")] = "",
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file; kubectl's rules without.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig; the current one without.")] = "",
) -> None:
    """Tell what an object's last change came of, where the cluster keeps a record."""
    from kube_core.cli import why as command

    _exit(command.run(kind, name, namespace, kubeconfig=kubeconfig, context=context))


@app.command()
def node(  # noqa: PLR0913, PLR0917 (each is an option that a person may give)
    name: Annotated[str, typer.Option("--name", help="The node's name.")],
    kubeconfig: Annotated[
        str | None, typer.Option(help="Kubeconfig file with the node's credentials; kubectl's rules without.")
    ] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig; the current one without.")] = "",
    config: Annotated[str | None, typer.Option(help="YAML file of options; those given here win over it.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Runtime driver; `process` without.")] = None,
    network: Annotated[str | None, typer.Option(help="Network driver; that of the runtime without.")] = None,
    volume: Annotated[str | None, typer.Option(help="Volume driver; that of the runtime without.")] = None,
    pod_cidr: Annotated[str | None, typer.Option(help="Range of its pods' addresses; of the cluster without.")] = None,
    address: Annotated[
        str | None, typer.Option(help="By which the API server reaches it; of its network without.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of its server; 0 takes a free one, without it is 10250.", min=0, max=65535)
    ] = None,
    state: Annotated[str | None, typer.Option(help="Folder in which it keeps what it keeps.")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, for the Node; may be repeated.")] = None,
    taints: Annotated[list[str] | None, typer.Option(help="KEY[=VALUE]:EFFECT, where it makes the Node.")] = None,
    images: Annotated[
        list[str] | None, typer.Option(help="Folder of images of the process runtime, or archive of images for oci.")
    ] = None,
    client_ca_file: Annotated[
        str | None, typer.Option(help="Whose client certificates it takes, PEM; the cluster's authority's without.")
    ] = None,
    serving_csr: Annotated[
        bool, typer.Option("--serving-csr", help="Ask the cluster for the certificate of its server.")
    ] = False,
    end: Annotated[
        bool, typer.Option("--end", help="Do not run: end and remove what the node has left running.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    """Be a node of any cluster; containers outlive this program, and it finds them again."""
    from kube_core.cli import node as command

    if log_level not in ("debug", "info", "warning", "error"):
        _exit(f"--log-level is debug, info, warning or error, not {log_level}")
    of_file = {
        "runtime": runtime,
        "network": network,
        "volume": volume,
        "pod_cidr": pod_cidr,
        "address": address,
        "port": port,
        "labels": labels or None,
        "taints": taints or None,
        "images": images or None,
    }
    given = command.NodeArguments(
        name=name,
        kubeconfig=kubeconfig,
        context=context,
        state=state,
        client_ca_file=client_ca_file,
        serving_csr=serving_csr,
        config_file=config,
        given={
            name: tuple(each) if isinstance(each, list) else each for name, each in of_file.items() if each is not None
        },
    )
    _exit(command.end(given) if end else command.run(given, log_level=log_level))


@app.command(name="node-kubeconfig")
def node_kubeconfig(
    name: Annotated[str, typer.Argument(help="The node's name.")],
    output: Annotated[str, typer.Option(help="The file to write, or - for standard output.")] = "-",
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file of an administrator.")] = None,
    context: Annotated[str, typer.Option(help="Its context; the current one without.")] = "",
) -> None:
    """Make credentials for a node: a key, a certificate that the cluster signs, and a kubeconfig with both."""
    from kube_core.cli import node_kubeconfig as command

    _exit(command.run(name, output, kubeconfig=kubeconfig, context=context))


@app.command()
def plugins() -> None:
    """List the plugins, and those that were left out."""
    from kube_core.cli import inspect

    _exit(inspect.plugins())


@app.command()
def drivers() -> None:
    """List the drivers of every seam."""
    from kube_core.cli import inspect

    _exit(inspect.drivers())


@app.command()
def crds(
    modules: Annotated[
        list[str] | None, typer.Argument(help="Modules, or files, that declare kinds; those of plugins without one.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Install them, and wait until they are served.")] = False,
    print_them: Annotated[
        bool, typer.Option("--print", help="Print them as YAML; so it is without --install.")
    ] = False,
    kubeconfig: Annotated[str | None, typer.Option(help="Kubeconfig file of the cluster to install to.")] = None,
    context: Annotated[str, typer.Option(help="Its context; the current one without.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait until they are served.", min=0)] = 30.0,
) -> None:
    """Print the definitions of kinds that are declared with `@kind`, or install them."""
    from kube_core.cli import crds as command

    options = command.CrdOptions(tuple(modules or ()), install, print_them or not install, kubeconfig, context, timeout)
    _exit(command.run(options))


@app.command()
def version() -> None:
    """Show the version, and that of the API."""
    from kube_core.cli import inspect

    _exit(inspect.version())


new = typer.Typer(help="Write something to begin from.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(new, name="new")


@new.command("plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Of the package: small letters, digits and dashes.")],
    directory: Annotated[str, typer.Option(help="The folder to write it in.")] = ".",
) -> None:
    """Write a plugin with a kind, its controller and their tests, in a folder of its own."""
    from kube_core.cli import new as command

    _exit(command.plugin(name, directory))


def _exit(error: str | None) -> None:
    if error is not None:
        typer.echo(f"kube-core: {error}", err=True)
        raise typer.Exit(1)


def main() -> None:
    """The `kube-core` program."""
    known = {command.name or getattr(command.callback, "__name__", ""): command for command in app.registered_commands}
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked in _SERVERS:
        garbage.hold_off()
    if asked in known:
        # To make the options of all other commands takes as long as to start Python.
        app.registered_commands = [known[asked]]
    else:
        # Plugins' commands are looked up only when somebody asks for one, or for help.
        from kube_core.plugins import PluginHost

        PluginHost.from_entry_points().register_cli(app)
    app()
