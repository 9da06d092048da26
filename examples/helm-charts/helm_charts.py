"""Charts as objects: a `HelmChart` says what is to be installed, and the controller has Helm do it.

    kube-core run --install-kinds examples/helm-charts/helm_charts.py

The chart is in the object itself (`archive`, a packed chart in base64), or Helm fetches it (`repo`, `version`). The
release has the object's name, in `target_namespace` or the object's own. What Helm is told is remembered in the status
as a digest: a change of it is an upgrade, and nothing else is. A finalizer uninstalls the release before the object
goes. What Helm complains of is the message of the condition `Ready`, and is tried again ever more rarely.

It is an example, and not a built-in, because it needs a program that is not Python's: the `helm` on PATH, which finds
the cluster by the environment (`KUBECONFIG`) as the controller does. Helm is never run through a shell, and never
without a limit; while it runs, it holds the clock.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs

import kube_core as kube
from kube_core.api import meta

__all__ = ["HelmChart", "HelmChartStatus", "helm_charts", "kube_core_kinds", "uninstall"]

#: Seconds beside Helm's own limit, after which it is killed.
_GRACE = 15.0
#: Of what Helm complains of; it may quote a whole manifest.
_LONGEST_MESSAGE = 1000


@attrs.frozen
class HelmChartStatus:
    """What became of the chart."""

    digest: str = ""
    """Of what Helm was last told with success."""
    revision: int = 0
    """The release's revision."""
    app_version: str = ""
    """What the chart says of the version that it installs."""
    conditions: tuple[meta.Condition, ...] = ()
    """Ready: whether the release is as it should be."""


@kube.kind(
    group="charts.example.dev",
    version="v1",
    columns={"Chart": ".spec.chart", "Revision": ".status.revision", "App": ".status.appVersion"},
    status=HelmChartStatus,
)
@kube.rule("!(has(self.archive) && has(self.repo))", message="either a repo or an archive")
# Otherwise it would be a path, on the machine of the controller.
@kube.rule(
    "has(self.archive) || has(self.repo) || self.chart.matches('^(oci|https)://')",
    message="a chart is in a repo or an archive, or has a URL",
)
@attrs.frozen
class HelmChart:
    """A chart that is to be installed."""

    chart: str = attrs.field(validator=attrs.validators.min_len(1))
    """Its name, in the repository where there is one; or its URL (`oci://…`)."""
    repo: str | None = None
    """The repository's URL."""
    version: str | None = None
    """The chart's version; the newest without one."""
    archive: str | None = None
    """A packed chart (`helm package`), in base64, instead of a repository."""
    values: Annotated[Mapping[str, Any], kube.preserve_unknown_fields] = attrs.field(factory=dict)
    """Values that differ from the chart's own."""
    target_namespace: str | None = None
    """Where the release is; the object's namespace without one. It is made where it is missing."""
    wait: bool = True
    """Whether the release is ready only when all that it has is."""
    timeout: int = attrs.field(default=300, validator=attrs.validators.ge(1))
    """Seconds that Helm has."""


class HelmError(Exception):
    """What Helm complained of."""


@kube.controller(HelmChart, workers=2)
async def helm_charts(ctx: kube.Context[HelmChart]) -> None:
    """Let the release be as the object says."""
    wanted = ctx.object
    digest = _digest(wanted)
    status = ctx.document.get("status") or {}
    if status.get("digest") == digest:
        return
    try:
        told = await _install(ctx, wanted)
    except HelmError as error:
        ctx.set_condition("Ready", False, "Failed", str(error))
        ctx.event("Failed", str(error), warning=True)
        raise
    chart = told.get("chart", {}).get("metadata", {})
    ctx.update_status(digest=digest, revision=told["version"], app_version=str(chart.get("appVersion", "")))
    ctx.set_condition("Ready", True, "Installed" if told["version"] == 1 else "Upgraded")
    ctx.event("Released", f"Revision {told['version']} of {chart.get('name')} {chart.get('version')}")


@helm_charts.finalizer("charts.example.dev/uninstall")
async def uninstall(ctx: kube.Context[HelmChart]) -> None:
    """Uninstall the release; one that there is not is as good as uninstalled."""
    seconds = ctx.object.timeout
    options = ("--ignore-not-found", "--wait", f"--timeout={seconds}s", *_place(ctx))
    await _helm(ctx, ("uninstall", ctx.name, *options), seconds)


async def _install(ctx: kube.Context[HelmChart], wanted: HelmChart) -> Mapping[str, Any]:
    """Install or upgrade. Raises `HelmError`."""
    with tempfile.TemporaryDirectory() as directory:
        values = Path(directory) / "values.json"
        values.write_text(json.dumps(dict(wanted.values)))
        options = [f"--values={values}", "--output=json", f"--timeout={wanted.timeout}s", "--create-namespace"]
        if wanted.wait:
            options.append("--wait")
        if wanted.archive is not None:
            chart = Path(directory) / "chart.tgz"
            try:
                chart.write_bytes(base64.b64decode(wanted.archive, validate=True))
            except binascii.Error as error:
                raise HelmError(f"the archive is not in base64: {error}") from None
            source = str(chart)
        else:
            source = wanted.chart
            options += [f"--repo={wanted.repo}"] if wanted.repo else []
            options += [f"--version={wanted.version}"] if wanted.version else []
        # After `--` nothing is an option, whatever the object says.
        command = ("upgrade", "--install", "--reset-values", *options, *_place(ctx), "--", ctx.name, source)
        told: Mapping[str, Any] = json.loads(await _helm(ctx, command, wanted.timeout))
        return told


async def _helm(ctx: kube.Context[HelmChart], command: tuple[str, ...], seconds: float) -> bytes:
    """What Helm prints. Raises `HelmError`."""
    with ctx.clock.hold(f"helm {command[0]} {ctx.key}"):
        try:
            process = await asyncio.create_subprocess_exec(
                "helm",
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(os.environ),
            )
        except FileNotFoundError:
            raise HelmError("there is no helm on PATH") from None
        try:
            out, err = await asyncio.wait_for(process.communicate(), seconds + _GRACE)
        except TimeoutError:
            raise HelmError(f"helm {command[0]} did not end within {seconds + _GRACE:g} s") from None
        finally:
            # It is stopped with the controller, too; a release that was being written is tried again.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if process.returncode:
        raise HelmError(err.decode(errors="replace").strip()[-_LONGEST_MESSAGE:] or f"helm exited {process.returncode}")
    return out


def _place(ctx: kube.Context[HelmChart]) -> tuple[str, ...]:
    return (f"--namespace={ctx.object.target_namespace or ctx.namespace}",)


def _digest(wanted: HelmChart) -> str:
    """Of all that makes a release what it is; how long Helm may take does not."""
    told = {"values": dict(wanted.values), "archive": wanted.archive, "chart": wanted.chart, "repo": wanted.repo}
    told["version"] = wanted.version
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dict).encode()).hexdigest()[:32]


@kube.hookimpl
def kube_core_kinds() -> list[object]:
    """The kind, for clusters that find this as a plugin."""
    return [HelmChart]
