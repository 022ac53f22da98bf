"""What can be wrong with the arguments of a command."""

from __future__ import annotations


class CommandError(ValueError):
    """A mistake in the arguments of a command; the message is one sentence with what, the value, the rule, the fix."""
