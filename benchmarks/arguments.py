"""Types of the command lines' arguments."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Reads a whole number above zero; argparse names what is none."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive whole number")
    return int(text)
