"""What the demonstration says: with colours and a spinner on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

__all__ = ["Narrator"]


class Narrator:
    """One line for each thing that happens."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold blue]▸ {escape(text)}[/]")

    def say(self, text: str) -> None:
        self._console.print(f"  {escape(text)}")

    def done(self, text: str, *, since: float | None = None) -> None:
        """`since`: `time.perf_counter()` of the beginning."""
        took = f" [dim]({time.perf_counter() - since:.2f} s)[/]" if since is not None else ""
        self._console.print(f"  [green]✓[/] {escape(text)}{took}")

    def failed(self, text: str) -> None:
        self._console.print(f"\n[bold red]✗ {escape(text)}[/]")

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show what is waited for; a plain line where there is no terminal."""
        if self._console.is_terminal:
            with self._console.status(escape(text)):
                yield
        else:
            self.say(f"waiting for {text} …")
            yield

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Columns as kubectl prints them: three spaces apart, no lines."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
        for row in rows:
            line = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self._console.print(f"  {escape(line)}")

    def stand_apart(self) -> None:
        """Tell the program that waits for this one, if any, that it may go; say nothing more."""
        sys.stdout.flush()
        if (descriptor := os.environ.pop("DEMO_DONE_FD", "")) != "":
            os.write(int(descriptor), b"0")
            os.close(int(descriptor))
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nowhere, number)
