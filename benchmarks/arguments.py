"""Types of the command lines' arguments."""

from __future__ import annotations

import argparse
import math


def positive(text: str) -> int:
    """Reads a whole number above zero; argparse names what is none."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive whole number")
    return int(text)


def positive_number(text: str) -> float:
    """Reads a number above zero; argparse names what is none."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive number")
    return number
