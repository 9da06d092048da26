"""Encryption at rest: what the store's driver is given is sealed, and opened again on its way back.

`configuration` reads upstream's EncryptionConfiguration; `providers` are the ways to seal; `store` puts them between
the registry and a store driver. Nothing above knows of it, and without a configuration nothing of it is there.
"""

from __future__ import annotations

from kube_core.storage.encryption.configuration import EncryptionConfiguration, read_encryption_configuration
from kube_core.storage.encryption.store import EncryptedStore

__all__ = ["EncryptedStore", "EncryptionConfiguration", "read_encryption_configuration"]
