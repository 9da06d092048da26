from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from kube_core._kit.clock import Clock
from kube_core.storage.encryption import EncryptedStore, read_encryption_configuration
from kube_core.storage.encryption.providers import Provider
from kube_core.testing.store import StoreContract
from kube_drivers.store.memory import MemoryStore

CONFIGURATION = f"""
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: ["*.*"]
  providers:
  - aesgcm: {{keys: [{{name: k, secret: {base64.b64encode(b"k" * 32).decode()}}}]}}
"""


class SealsEverything(EncryptedStore):
    """The suite's keys are not those of objects."""

    def _providers_of(self, key: str) -> Sequence[Provider]:
        return self._configuration.entries[0].providers


class TestEncryptedStore(StoreContract):
    def make(self, directory: Path, clock: Clock, options: str = "") -> EncryptedStore:
        file = directory / "encryption.yaml"
        file.write_text(CONFIGURATION)
        inner = MemoryStore(clock=clock, url=f"memory:{options}")
        return SealsEverything(inner, read_encryption_configuration(file))
