"""A feature extractor of the user's own, named on the command line as `package.module:function`."""

from __future__ import annotations

import importlib
import sys

from jaxgan.commands.errors import CommandError
from jaxgan.evaluation.features import CallableExtractor, FeatureExtractor


def is_own(text: str | None) -> bool:
    """Whether `text` names a function of the user's, not an extractor of jaxgan."""
    return text is not None and ":" in text


def load(text: str) -> FeatureExtractor:
    """Imports the function; the working directory is searched first.

    It takes uint8 images (N, H, W, C) and returns features (N, D), or a pair of features and logits (N, K). Its name
    stands in the protocol of every score, so it should say which network and which weights.

    Raises:
      CommandError: there is no such module or function.
    """
    module_name, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        raise CommandError(
            f"--extractor {text}: {module_name} cannot be imported ({error}); give module:function, with the module in "
            "the working directory or installed."
        ) from error
    function = getattr(found, name, None)
    if not callable(function):
        raise CommandError(f"--extractor {text}: {module_name} has no function {name!r}; correct the name.")
    return CallableExtractor(text, function)
