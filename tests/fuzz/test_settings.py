"""Settings of any kind, from Python and from a workdir: a Config, or a ConfigError or RunError."""

import json

import pytest
from hypothesis import strategies as st

from jaxgan import config_rules, config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.generation.errors import RunError
from jaxgan.generation.run_files import read_config, read_data
from tests.fuzz.damage import COUNTS, damaged, examine, memory_below

FACTS = {
    "height": 8, "width": 8, "channels": 1, "num_classes": 1, "class_names": ["a"], "num_images": 3, "fingerprint": "x",
}  # fmt: skip
FIELDS = sorted(config_tree.flatten(Config()))
NUMBERS = st.one_of(st.integers(-3, 300), st.sampled_from([10**9, 2**31, 2**63, -(2**63), 10**30, 10**400]))
TEXTS = st.text("a0:.,-é\n", max_size=8)
VALUES = st.one_of(
    NUMBERS,
    st.floats(),
    st.booleans(),
    st.none(),
    TEXTS,
    st.lists(st.one_of(NUMBERS, TEXTS), max_size=3),
    st.dictionaries(TEXTS, NUMBERS, max_size=2),
)


def tree_of(field: str, value) -> dict:
    for name in reversed(field.split(".")):
        value = {name: value}
    return value


@COUNTS
def test_any_value_of_any_field(count):
    @examine(count * 10, st.sampled_from(FIELDS), VALUES)
    def check(field, value):
        with memory_below(2**24):
            try:
                config_rules.validate(config_tree.from_dict(tree_of(field, value)))
            except ConfigError as error:
                assert 0 < len(str(error)) < 3_000


@COUNTS
def test_any_settings_in_a_workdir(tmp_path, count):
    good = json.dumps(config_tree.to_dict(Config())).encode()
    data = json.dumps({"data": FACTS}).encode()
    for name, content, read in (("config.json", good, read_config), ("run.json", data, read_data)):

        @examine(count * 2, st.one_of(damaged(content), st.just(b"[" * 50_000), st.just(b'{"seed": 1e999}')))
        def check(data):
            (tmp_path / name).write_bytes(data)  # noqa: B023
            try:
                read(tmp_path)  # noqa: B023
            except RunError as error:
                assert 0 < len(str(error)) < 3_000


@pytest.mark.parametrize("field", ["class_names", "height", "num_classes", "num_images"])
@pytest.mark.parametrize("value", [None, -1, 1.5, "x", [1], {"a": 1}, 2**60, True])
def test_facts_of_other_types(tmp_path, field, value):
    (tmp_path / "run.json").write_text(json.dumps({"data": FACTS | {field: value}}))
    with pytest.raises(RunError, match="does not describe the data"):
        read_data(tmp_path)
