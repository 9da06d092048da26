"""An operator in kopf whose admission handlers are served by kopf's own server, with a certificate from files."""

from __future__ import annotations

import os
from typing import Any

import kopf


@kopf.on.login()
def login(**given: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    directory = os.environ["GUARDED_DIRECTORY"]
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        host="127.0.0.1",
        cafile=f"{directory}/ca.pem",
        certfile=f"{directory}/server.pem",
        pkeyfile=f"{directory}/server.key",
    )
    settings.admission.managed = "guarded.operator.example.dev"


@kopf.on.validate("guardeds")
def judge(spec: kopf.Spec, warnings: list[str], operation: str, userinfo: kopf.UserInfo, **_: Any) -> None:
    if spec.get("level", 0) > 9:
        raise kopf.AdmissionError("the level is too high", code=499)
    warnings.append(f"{operation} was looked at")


@kopf.on.mutate("guardeds")
def complete(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    if "level" not in spec:
        patch.spec["level"] = 5
