"""What can be wrong with a user's data."""

from __future__ import annotations


class DataError(ValueError):
    """A mistake in the user's data; the message names what, the value, the rule and the fix."""


class UnreadableImage(DataError):
    """A file that should be an image and does not decode.

    Attributes:
      path: the file, or the record's name where there is no file.
      reason: what the decoder objected to, without a final full stop.
    """

    def __init__(self, path: str, reason: str):
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path} is not a readable image ({reason}); every image must decode: replace or delete it, or set "
            "data.skip_corrupt=True to leave unreadable images out."
        )
