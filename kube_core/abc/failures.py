"""What all failures of drivers have in common: the message is one clear line for a person.

Each contract has its own (`StoreError`, `RuntimeFailure`, …), by which its callers tell what went wrong. Who only shows
the line catches them all by this one, without importing every contract there is.
"""

from __future__ import annotations

__all__ = ["DriverFailure"]


class DriverFailure(Exception):
    """A driver could not do what it was asked."""
