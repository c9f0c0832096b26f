"""Terminal output that never interprets values as markup, emoji or control sequences."""

import sys
from contextlib import suppress

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.names import sanitize_line


def new_console(*, stderr: bool = False) -> Console:
    """A console without markup, emoji and highlighting."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_line(text: str, *, console: Console | None = None, style: str = "") -> None:
    """Print one line without control characters; long lines are wrapped by the terminal."""
    (console or new_console()).print(Text(sanitize_line(text), style), soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    new_console().print(table)


class ValueTable(Table):
    """A table whose title and cells are plain text."""

    def __init__(self, *headers: str, title: str | None = None) -> None:
        super().__init__(*headers, title=None if title is None else Text(title, style="italic"))

    def add_values(self, *cells: str) -> None:
        """Add a row."""
        self.add_row(*(Text(sanitize_line(cell)) for cell in cells))


def escape_unencodable_characters() -> None:
    """Escape characters that the encoding of the standard streams cannot represent."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed, or replaced by an object without an encoding
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
