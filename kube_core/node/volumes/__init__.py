"""Volumes: what is in them (`payload.py`), replacing files at once (`directory.py`), where (`mounting.py`)."""
