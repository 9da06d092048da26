"""`MicroTime`: a moment that is written to the microsecond, where others are written to the second."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

__all__ = ["MicroTime"]

MicroTime = Annotated[datetime, "to the microsecond"]
