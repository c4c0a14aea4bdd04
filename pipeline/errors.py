"""The faults that end a stage, one small class each; a stage's main prints the message, not a traceback."""

from __future__ import annotations


class StageError(Exception):
    """A stage can't do its work; the message says what was found and what to do. Exit code 1."""


class StoreError(StageError):
    """The MLflow store does not answer."""


class ParamsError(Exception):
    """params.yaml, a recipe or a command's arguments are wrong; the message names the key. Exit code 2."""
