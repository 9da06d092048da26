"""Volumes of a pod that stand on disks elsewhere, each named as its own system names it.

Most of these systems have moved behind CSI drivers; their fields are judged as ever, by upstream's rules
(`ValidateVolumes`). What volumes of all kinds have in common is in `volumes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kube_core.meta import fields, names
from kube_core.meta.fields import Path
from kube_core.registry.kinds.checks import Errors, one_of

__all__ = ["azure_disk", "fibre_channel", "flocker", "iscsi", "quobyte"]

Part = Mapping[str, Any]

_INITIATORS = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.[a-zA-Z0-9.-]+:[^,;*&$|\s]+$"),
    "eui": re.compile(r"^eui.[a-zA-Z0-9]{16}$"),
    "naa": re.compile(r"^naa.[a-zA-Z0-9]{32}$"),
}
_PAIRS = "must be a host:port pair or multiple pairs separated by commas"
_AZURE_KINDS = ("Dedicated", "Managed", "Shared")
_AZURE_MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_AZURE_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def flocker(path: Path, part: Part) -> Errors:
    name, uuid = part.get("datasetName"), part.get("datasetUUID")
    if not name and not uuid:
        yield fields.required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        yield fields.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if name and "/" in name:
        yield fields.invalid(path.child("datasetName"), name, "must not contain '/'")


def fibre_channel(path: Path, part: Part) -> Errors:
    if not part.get("targetWWNs") and not part.get("wwids"):
        yield fields.required(path.child("targetWWNs"), "must specify either targetWWNs or wwids, but not both")
    elif part.get("targetWWNs") and part.get("wwids"):
        detail = "targetWWNs and wwids can not be specified simultaneously"
        yield fields.invalid(path.child("targetWWNs"), list(part["targetWWNs"]), detail)
    elif part.get("targetWWNs"):
        if part.get("lun") is None:
            yield fields.required(path.child("lun"), "lun is required if targetWWNs is specified")
        elif not 0 <= part["lun"] <= 255:
            yield fields.invalid(path.child("lun"), part["lun"], names.in_range(part["lun"], 0, 255)[0])


def iscsi(path: Path, part: Part) -> Errors:
    if not part.get("targetPortal"):
        yield fields.required(path.child("targetPortal"))
    if not part.get("iqn"):
        yield fields.required(path.child("iqn"))
    else:
        yield from _initiator(path.child("iqn"), part["iqn"])
    lun = part.get("lun") or 0
    if not 0 <= lun <= 255:
        yield fields.invalid(path.child("lun"), lun, names.in_range(lun, 0, 255)[0])
    if (part.get("chapAuthDiscovery") or part.get("chapAuthSession")) and part.get("secretRef") is None:
        yield fields.required(path.child("secretRef"))
    if part.get("initiatorName") is not None:
        yield from _initiator(path.child("initiatorname"), part["initiatorName"])


def _initiator(path: Path, name: str) -> Errors:
    form = _INITIATORS.get(name[:3])
    if form is None:
        yield fields.invalid(path, name, "must be valid format starting with iqn, eui, or naa")
    elif not form.search(name):
        yield fields.invalid(path, name, "must be valid format")


def quobyte(path: Path, part: Part) -> Errors:
    registry = part.get("registry") or ""
    if not registry:
        yield fields.required(path.child("registry"), _PAIRS)
    elif len(part.get("tenant") or "") >= 65:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        yield fields.required(path.child("tenant"), detail)
    else:
        for pair in registry.split(","):
            if not re.fullmatch(r"([^:\[\]]*|\[[^\]]*\]):[^:\[\]]*", pair):
                yield fields.invalid(path.child("registry"), registry, _PAIRS)
    if not part.get("volume"):
        yield fields.required(path.child("volume"))


def azure_disk(path: Path, part: Part) -> Errors:
    for name in ("diskName", "diskURI"):
        if not part.get(name):
            yield fields.required(path.child(name))
    if part.get("cachingMode") is not None:
        yield from one_of(path.child("cachingMode"), part["cachingMode"], ("None", "ReadOnly", "ReadWrite"))
    kind, address = part.get("kind"), part.get("diskURI") or ""
    if kind is None:
        return
    yield from one_of(path.child("kind"), kind, _AZURE_KINDS)
    if kind == "Managed" and not address.startswith("/subscriptions/"):
        yield fields.not_supported(path.child("diskURI"), address, [_AZURE_MANAGED])
    elif kind != "Managed" and not address.startswith("https://"):
        yield fields.not_supported(path.child("diskURI"), address, [_AZURE_BLOB])
