"""One opened run for all tests of generation."""

import pytest

from jaxgan.generation.run import open_run
from tests.tiny_run import write_run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A class-conditional run of 8x8 images with random weights; see `tests/tiny_run.py`."""
    return open_run(write_run(tmp_path_factory.mktemp("tiny_run")))
