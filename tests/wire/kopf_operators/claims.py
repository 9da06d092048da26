"""An operator in kopf that makes a PersistentVolumeClaim for each EphemeralVolume, as its tutorial does."""

from __future__ import annotations

import os
from typing import Any

import kopf
from kubernetes import client, config


@kopf.on.login()
def login(**given: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    # By itself it looks at the environment only when it is imported.
    config.load_kube_config(os.environ["KUBECONFIG"])
    settings.posting.loggers = True
    settings.persistence.finalizer = "operator.example.dev/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="operator.example.dev")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="operator.example.dev")


@kopf.on.create("ephemeralvolumes")
def create(spec: kopf.Spec, name: str, namespace: str, body: kopf.Body, logger: kopf.Logger, **_: Any) -> Any:
    if not spec.get("size"):
        raise kopf.PermanentError("Size must be set.")
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": spec["size"]}}},
    }
    kopf.adopt(claim)
    kopf.label(claim, {"made-by": "kopf"})
    made = client.CoreV1Api().create_namespaced_persistent_volume_claim(namespace, claim)
    logger.info("The claim is made.")
    kopf.event(body, type="Normal", reason="Claimed", message=f"Claim {name} of {spec['size']}")
    return {"claim": made.metadata.name}


@kopf.on.field("ephemeralvolumes", field="metadata.labels")
def relabel(old: Any, new: Any, name: str, namespace: str, status: kopf.Status, **_: Any) -> None:
    if "create" in status:
        patch = {"metadata": {"labels": new}}
        client.CoreV1Api().patch_namespaced_persistent_volume_claim(name, namespace, patch)


@kopf.on.update("ephemeralvolumes", field="spec.size", retries=3, backoff=0.1)
def update(diff: kopf.Diff, new: str, retry: int, **_: Any) -> Any:
    if not retry:
        raise kopf.TemporaryError("once more", delay=0.1)
    return {"size": new, "changes": len(diff), "retry": retry}


@kopf.on.delete("ephemeralvolumes")
def delete(name: str, namespace: str, **_: Any) -> None:
    note = {"metadata": {"name": f"{name}-was-here"}}
    client.CoreV1Api().create_namespaced_config_map(namespace, note)
