"""What can be wrong with an evaluation."""

from __future__ import annotations


class EvaluationError(RuntimeError):
    """A score cannot be computed; the message names what, the value, the rule and the fix."""
