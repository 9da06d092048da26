"""The `kube-core` program, and `python -m kube_core.cli`.

Importing the command line takes a moment in which there is nothing yet to stop in good order: an interrupt just ends
the program then, without a traceback of half an import.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

from kube_core.cli import app  # noqa: E402 (after what holds while it is imported)

__all__ = ["main"]


def main() -> None:
    """Run the command that was asked for; from here on commands are told of interrupts as Python tells everybody."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app.main()


if __name__ == "__main__":
    main()
