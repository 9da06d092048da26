"""Data written by `scripts/generate_api.py`, read by `kube_core.api.descriptors` and `kube_core.api.schemas`."""
