"""The images of the oci runtime: where they come from, and how they are kept.

`store.py` is the store, `layers.py` unpacks, `archives.py` loads from files, `pulling.py` from registries (which
`registries.py` configures), `references.py` reads names, `blobs.py` writes content by digest.
"""
