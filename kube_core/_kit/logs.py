"""Structured logs, without paying for them at import: structlog is imported when the first line is written.

`get_logger(name)` gives a logger with structlog's methods. Nobody who embeds a cluster is forced to configure
anything: as long as they have not (`structlog.configure`), warnings and errors go to standard error as plain text, and
the rest is dropped. The command line configures its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["configure", "get_logger"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_threshold = _LEVELS["warning"]


class _LazyLogger:
    """Stands for a structlog logger until a line is to be written."""

    __slots__ = ("_bound", "_logger")

    def __init__(self, bound: dict[str, Any]) -> None:
        self._bound = bound
        self._logger: Any = None

    def bind(self, **values: Any) -> _LazyLogger:
        return _LazyLogger({**self._bound, **values})

    def __getattr__(self, method: str) -> Any:
        if self._logger is None:
            if _LEVELS.get(method, 100) < _threshold and not _is_configured():
                return _drop
            self._logger = _structlog_logger(self._bound)
        return getattr(self._logger, method)


def _drop(*_args: Any, **_values: Any) -> None:
    """A line that nobody wants."""


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `logger=name`."""
    return cast("FilteringBoundLogger", _LazyLogger({"logger": name}))


def configure(level: str) -> None:
    """Write lines of `level` and above to standard error, for a program that configures nothing else."""
    global _threshold  # noqa: PLW0603 (the one place where the program's choice is kept)
    _threshold = _LEVELS[level]


def _is_configured() -> bool:
    structlog = sys.modules.get("structlog")
    return structlog is not None and bool(structlog.is_configured())


def _structlog_logger(bound: dict[str, Any]) -> Any:
    import structlog

    if not structlog.is_configured():
        _configure_structlog()
    return structlog.get_logger().bind(**bound)


class _StandardError:
    """What standard error is when a line is written: a program or a test may have put something else in its place."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _configure_structlog() -> None:
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_threshold),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
