"""What every test gets: asyncio as the backend of anyio's pytest plugin, and the same examples in every run.

What Hypothesis tries is chosen by the test, not by chance, and slow machines are no failures.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
