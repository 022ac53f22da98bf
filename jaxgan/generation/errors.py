"""What can be wrong with a run that is opened, or with what is asked of it."""

from __future__ import annotations


class RunError(RuntimeError):
    """A run cannot be opened or cannot do what is asked; the message is one sentence for the user."""
