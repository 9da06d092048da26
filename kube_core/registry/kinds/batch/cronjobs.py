"""CronJobs: Jobs by the clock. Documented under "CronJob".

The schedule's grammar is checked here, field by field; when it fires is the controller's business.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Sequence

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.batch.jobs import job_spec
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.checks import Errors
from kube_core.registry.kinds.pods.defaults import default_template
from kube_core.registry.kinds.pods.warnings import template_warnings
from kube_core.registry.kinds.warnings import pod_names

__all__ = ["CronJobStrategy", "schedule_problem"]

SPEC = Path("spec")
_POLICIES = ("Allow", "Forbid", "Replace")
#: A CronJob's Jobs are named after it, with the minute as a suffix.
_NAME_LIMIT = 52
_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: Sequence[tuple[int, int, dict[str, int]]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_ITEM = re.compile(r"(\*|\?|[0-9a-z]+(?:-[0-9a-z]+)?)(?:/([0-9]+))?", re.ASCII | re.IGNORECASE)
_EVERY = re.compile(r"@every ([0-9.]+(ns|us|µs|ms|s|m|h))+")


_NO_ZONE = "cannot use TZ or CRON_TZ in {}"
_ABOUT_ZONES = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"


class CronJobStrategy(BuiltinStrategy):
    keeps_generation = True

    def name_problems(self, name: str, *, prefix: bool = False) -> names.Messages:
        problems = list(super().name_problems(name, prefix=prefix))
        if len(name) > _NAME_LIMIT:
            problems.append(f"must be no more than {_NAME_LIMIT} characters")
        return problems

    def default(self, document: MutableDocument) -> None:
        spec = document["spec"]
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        job.pop("scheduling", None)
        default_template(job.setdefault("template", {}))

    def _validate(self, document: Document, old: Document | None = None) -> Errors:
        spec, before = document["spec"], old["spec"] if old is not None else {}
        schedule = spec.get("schedule") or ""
        where = SPEC.child("schedule")
        if schedule and (problem := schedule_problem(schedule)):
            yield fields.invalid(where, schedule, problem)
        if "TZ" in schedule:
            if "TZ" not in (before.get("schedule") or ""):
                yield fields.invalid(where, schedule, _NO_ZONE.format("schedule") + ", use timeZone field instead")
            elif spec.get("timeZone") is not None:
                yield fields.invalid(where, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule")
        # Another system's list of zones may have had what this one's has not.
        if spec.get("timeZone") is not None and (old is None or spec["timeZone"] != before.get("timeZone")):
            yield from _time_zone(SPEC.child("timeZone"), spec["timeZone"])
        for name in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            yield from checks.non_negative(SPEC.child(name), spec.get(name))
        policy = spec.get("concurrencyPolicy") or ""
        if not policy:
            yield fields.required(SPEC.child("concurrencyPolicy"))
        else:
            yield from checks.one_of(SPEC.child("concurrencyPolicy"), policy, _POLICIES)
        here = SPEC.child("jobTemplate")
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        if job.get("selector") is not None:
            yield fields.invalid(
                here.child("spec").child("selector"), job["selector"], "`selector` will be auto-generated"
            )
        if job.get("manualSelector"):
            yield fields.not_supported(here.child("spec").child("manualSelector"), True, ["nil", "false"])
        yield from job_spec(here.child("spec"), job, self)
        if not schedule:
            yield fields.required(where)

    def validate(self, document: Document) -> Errors:
        return self._validate(document)

    def validate_update(self, document: Document, old: Document) -> Iterable[FieldError]:
        return self._validate(document, old)

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        def template_of(document: Document) -> Document:
            found: Document = ((document["spec"].get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
            return found

        before = template_of(old) if old is not None else None
        found = template_warnings("spec.jobTemplate.spec.template", template_of(document), before)
        if old is not None and "TZ" in (document["spec"].get("schedule") or ""):
            found = [*found, _NO_ZONE.format("spec.spec.schedule") + f", use timeZone instead, see {_ABOUT_ZONES}"]
        return [*pod_names(document, old), *found]


def schedule_problem(text: str) -> str:
    """What is wrong with a schedule in cron's form, or ""."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        place, _, text = text.partition(" ")
        name, text = place.partition("=")[2], text.strip()
        if name and not _is_zone(name):
            return f"provided bad location {name}: unknown time zone {name}"
    if text.startswith("@"):
        if text in _DESCRIPTORS or _EVERY.fullmatch(text):
            return ""
        return f"unrecognized descriptor: {text}"
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, (low, high, words) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            if problem := _item_problem(item, low, high, words):
                return problem
    return ""


def _item_problem(item: str, low: int, high: int, words: dict[str, int]) -> str:
    found = _ITEM.fullmatch(item)
    if found is None:
        return f"failed to parse int from {item}: invalid syntax"
    if found[2] is not None and int(found[2]) == 0:
        return f"step of range should be a positive number: {item}"
    if found[1] in ("*", "?"):
        return ""
    numbers = []
    for end in found[1].split("-"):
        if end.lower() in words:
            numbers.append(words[end.lower()])
        elif end.isdigit():
            numbers.append(int(end))
        else:
            return f'failed to parse int from {end}: strconv.Atoi: parsing "{end}": invalid syntax'
    if numbers[0] < low:
        return f"beginning of range ({numbers[0]}) below minimum ({low}): {item}"
    if numbers[-1] > high:
        return f"end of range ({numbers[-1]}) above maximum ({high}): {item}"
    if numbers[0] > numbers[-1]:
        return f"beginning of range ({numbers[0]}) beyond end of range ({numbers[-1]}): {item}"
    return ""


def _time_zone(path: Path, name: str) -> Errors:
    if not name:
        yield fields.invalid(path, name, "timeZone must be nil or non-empty string")
        return
    if name.lower() == "local":
        yield fields.invalid(
            path, name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        return
    if not _is_zone(name):
        yield fields.invalid(path, name, f"unknown time zone {name}")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
