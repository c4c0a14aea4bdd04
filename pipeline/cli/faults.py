"""What is known to go wrong, as a line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline.errors import ParamsError, StageError
from pipeline.messages import shown


@contextmanager
def faults() -> Iterator[None]:
    """Turn what is known to go wrong into a line and an exit code: 1, or 2 for bad params."""
    try:
        yield
    except (StageError, ParamsError) as fault:
        typer.echo(f"dcgan: {shown(fault)}", err=True)
        raise typer.Exit(2 if isinstance(fault, ParamsError) else 1) from None
