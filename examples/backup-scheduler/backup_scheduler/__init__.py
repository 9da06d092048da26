"""Backups: what to save, when, and how many to keep. The controller makes a Job at each time of the schedule."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import attrs
from cronsim import CronSim, CronSimError

import kube_core as kube
from kube_core.api import batch, core, meta

__all__ = ["Backup", "BackupStatus", "backup", "check_schedule", "kube_core_kinds"]

LABEL = "example.dev/backup"
IMAGE = "example.org/backup:1"


@attrs.frozen
class BackupStatus:
    """What has been done."""

    last_time: datetime | None = None
    """The latest time of the schedule for which a Job was made."""
    kept: int = 0
    """Finished backups that there are."""


@kube.kind(
    group="example.dev",
    version="v1",
    columns={"Schedule": ".spec.schedule", "Last": ".status.lastTime", "Kept": ".status.kept"},
    status=BackupStatus,
)
@attrs.frozen
class Backup:
    """What to save, when, and how many to keep."""

    claim: str = attrs.field(validator=attrs.validators.min_len(1))
    """The PersistentVolumeClaim that is saved."""
    schedule: str
    """When, as cron has it: `0 3 * * *`, in UTC."""
    keep: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    """How many backups stay."""


@kube.validate(Backup)
def check_schedule(backup: Backup) -> None:
    """A schedule that cannot be read is refused when it is written."""
    try:
        CronSim(backup.schedule, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise kube.Denied(f"spec.schedule: {error}") from None


@kube.controller(Backup, owns=[batch.Job])
async def backup(ctx: kube.Context[Backup]) -> kube.Action:
    """Make the Job that is due, let go of those that are too many, and come back for the next."""
    now = datetime.fromtimestamp(ctx.clock.now(), UTC)
    status = kube.status_of(ctx.object) or BackupStatus()
    times = CronSim(ctx.object.schedule, status.last_time or ctx.metadata.creation_timestamp or now)
    due, upcoming = None, next(times)
    while upcoming <= now:
        # Of times that were missed only the latest counts: one backup of now is as good as several.
        due, upcoming = upcoming, next(times)
    if due is not None:
        await ctx.apply(job(ctx.name, ctx.object, due))
        ctx.update_status(last_time=due)
        ctx.event("Started", f"Backup of {ctx.object.claim} for {due:%Y-%m-%d %H:%M}")
    done = sorted(
        (each for each in ctx.lister(batch.Job).list(labels={LABEL: ctx.name}) if each.status.succeeded),
        key=lambda each: each.metadata.name or "",
    )
    for old in done[: -ctx.object.keep]:
        await ctx.client.delete(batch.Job, old.metadata.name or "", ctx.namespace, propagation="Background")
    ctx.update_status(kept=min(len(done), ctx.object.keep))
    return kube.requeue((upcoming - now).total_seconds())


def job(name: str, backup: Backup, time: datetime) -> batch.Job:
    """The Job of one time. Its name says which, so that none is made twice."""
    container = core.Container(
        name="backup", image=IMAGE, volume_mounts=(core.VolumeMount(name="data", mount_path="/data", read_only=True),)
    )
    source = core.PersistentVolumeClaimVolumeSource(claim_name=backup.claim, read_only=True)
    pod = core.PodSpec(
        restart_policy="Never",
        containers=(container,),
        volumes=(core.Volume(name="data", persistent_volume_claim=source),),
    )
    return batch.Job(
        metadata=meta.ObjectMeta(name=f"{name}-{time:%Y%m%d%H%M}", labels={LABEL: name}),
        spec=batch.JobSpec(template=core.PodTemplateSpec(spec=pod), backoff_limit=2),
    )


@kube.hookimpl
def kube_core_kinds() -> Iterable[object]:
    return [Backup, check_schedule]
