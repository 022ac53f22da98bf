"""The two text files of nnabla-examples that number and name ImageNet's classes."""

import pytest

from jaxgan.data.class_files import read_dirname_to_label, read_label_to_classname, renumber
from jaxgan.data.errors import DataError


def test_both_files_as_they_are_distributed(tmp_path):
    (tmp_path / "d.txt").write_text("n01440764 0\nn01443537 1\nn15075141 999")  # no line feed at the end
    assert read_dirname_to_label(tmp_path / "d.txt") == {"n01440764": 0, "n01443537": 1, "n15075141": 999}
    (tmp_path / "c.txt").write_text("0: 'tench, Tinca tinca'\n319: \"dragonfly, devil's darning needle\"\n")
    names = read_label_to_classname(tmp_path / "c.txt")
    assert names == {0: "tench, Tinca tinca", 319: "dragonfly, devil's darning needle"}


def test_spaces_braces_commas_and_other_lines(tmp_path):
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbfsome folder 3\r\n\r\nother 1\r\n")
    assert read_dirname_to_label(tmp_path / "d.txt") == {"some folder": 3, "other": 1}
    (tmp_path / "c.txt").write_text("{0: 'a: b',\n 1: 'caf\\u00e9, {x}',\n 2: 'c'}\n", encoding="utf-8")
    assert read_label_to_classname(tmp_path / "c.txt") == {0: "a: b", 1: "café, {x}", 2: "c"}


@pytest.mark.parametrize(
    "read, text, message",
    [
        (read_dirname_to_label, "a 0\nb\n", r"x\.txt, line 2 is 'b', but every line must read like 'n01440764 0'"),
        (read_dirname_to_label, "a zero", "line 1 is 'a zero'"),
        (read_dirname_to_label, "a 0\na 1", "line 2 .*twice; every folder must have one label"),
        (read_dirname_to_label, "a 0\nb 0", "line 2 .*twice; every folder must have one label"),
        (read_dirname_to_label, " \n", "is empty; it must have a line for every class"),
        (read_label_to_classname, "0: tench", r"line 1 is '0: tench', but .*'tench, Tinca tinca'"),
        (read_label_to_classname, "0: 7", "line 1 is '0: 7'"),
        (read_label_to_classname, "zero: 'a'", "line 1 is"),
        (read_label_to_classname, "0: 'a'\n0: 'b'", "line 2: label 0 stands there twice"),
        (read_label_to_classname, "0: __import__('os')", "line 1 is"),
    ],
)
def test_lines_of_another_form(tmp_path, read, text, message):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.txt")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_dirname_to_label(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file in UTF-8"):
        read_dirname_to_label(tmp_path / "x.txt")


def test_renumbering():
    assert renumber(("x", "y"), None, None) == (("x", "y"), (0, 1))
    assert renumber(("x", "y"), {"y": 0, "z": 1, "x": 2}, None) == (("y", "z", "x"), (2, 0))
    assert renumber(("x", "y"), None, {1: "why", 0: "ex"}) == (("ex", "why"), (0, 1))
    names = {0: "a", 1: "b", 2: "c"}
    assert renumber(("x", "y"), {"y": 0, "z": 1, "x": 2}, names) == (("a", "b", "c"), (2, 0))


@pytest.mark.parametrize(
    "numbers, names, message",
    [
        ({"x": 0}, None, r"dirname_to_label\.txt has no line for 1 of the source's 2 classes, such as 'y'"),
        ({"x": 0, "y": 2}, None, r"dirname_to_label\.txt has no line for label 1, but the labels are 0\.\.2"),
        ({"x": 0, "y": 2}, {0: "a", 2: "b"}, r"label_to_classname\.txt has no line for label 1"),
        (None, {0: "a"}, r"label_to_classname\.txt has no line for label 1, but the labels are 0\.\.1"),
        (None, {0: "a", 1: "b", 2: "c"}, r"names 3 classes, but the source has 2; give dirname_to_label\.txt as well"),
    ],
)
def test_classes_that_do_not_fit(numbers, names, message):
    with pytest.raises(DataError, match=message):
        renumber(("x", "y"), numbers, names)
