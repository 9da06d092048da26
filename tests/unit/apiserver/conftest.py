"""A server for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.server import Caller, running


@pytest.fixture
async def api() -> AsyncIterator[Caller]:
    async with running() as caller:
        yield caller
