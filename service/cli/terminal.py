"""What commands print: values as they are, never taken for markup, emoji or control sequences."""

import sys
from contextlib import suppress

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.names import sanitize_line


def new_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_line(text: str, *, console: Console | None = None, style: str = "") -> None:
    """Print one line, whatever its values hold; a terminal wraps it."""
    (console or new_console()).print(Text(sanitize_line(text), style), soft_wrap=True)


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    new_console().print(table)


class ValueTable(Table):
    """A table whose title and cells are values, never markup."""

    def __init__(self, *heads: str, title: str | None = None) -> None:
        super().__init__(*heads, title=None if title is None else Text(title, style="italic"))

    def add_values(self, *cells: str) -> None:
        """Add a row."""
        self.add_row(*(Text(sanitize_line(cell)) for cell in cells))


def print_any_character() -> None:
    """Have standard streams of any encoding take every character, as an escape if need be."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed, or another program's
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
