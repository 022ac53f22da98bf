"""Outputs: whole or absent, and nothing that was there is lost unasked."""

import pytest

from jaxgan.commands.errors import CommandError
from jaxgan.commands.output import output_file, output_folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_appears_when_the_block_is_done(tmp_path):
    out = tmp_path / "a" / "b"
    with output_folder(out, overwrite=False) as folder:
        (folder / "images").mkdir()
        (folder / "images" / "0.png").write_text("0")
        assert not out.exists() and folder.parent == out.parent
    assert content(tmp_path) == {"a/b/images/0.png": "0"}


def test_a_block_that_fails_leaves_nothing_and_takes_nothing(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_text("old")
    for out, overwrite in ((tmp_path / "new", False), (tmp_path / "old", True)):
        with pytest.raises(KeyboardInterrupt), output_folder(out, overwrite=overwrite) as folder:
            (folder / "x").write_text("half")
            raise KeyboardInterrupt
    assert content(tmp_path) == {"old/x": "old"} and [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_with_content_needs_overwrite(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with output_folder(out, overwrite=False) as folder:  # empty: nothing can be lost
        (folder / "grid.png").write_text("1")
        (folder / "images").mkdir()
        (folder / "images" / "1.png").write_text("1")
    (out / "mine.txt").write_text("mine")
    with (
        pytest.raises(CommandError, match="exists and is not empty; .* --overwrite"),
        output_folder(out, overwrite=False),
    ):
        raise AssertionError("the block must not be entered")
    with output_folder(out, overwrite=True) as folder:
        (folder / "grid.png").write_text("2")
        (folder / "images").mkdir()
        (folder / "images" / "2.png").write_text("2")
    assert content(tmp_path) == {"out/grid.png": "2", "out/images/2.png": "2", "out/mine.txt": "mine"}


def test_a_folder_replaces_a_file_of_the_same_name_and_the_reverse(tmp_path):
    for first, second in (("file", "folder"), ("folder", "file")):
        for kind in (first, second):
            with output_folder(tmp_path / "out", overwrite=True) as folder:
                if kind == "file":
                    (folder / "x").write_text(kind)
                else:
                    (folder / "x").mkdir()
                    (folder / "x" / "y").write_text(kind)
    assert content(tmp_path) == {"out/x": "file"}


def test_paths_of_the_wrong_kind(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(CommandError, match="is a file and must be a folder"),
        output_folder(tmp_path / "file", overwrite=True),
    ):
        pass
    with (
        pytest.raises(CommandError, match="is a folder and must be a file"),
        output_file(tmp_path / "folder", overwrite=True),
    ):
        pass


def test_the_folder_of_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with output_folder(".", overwrite=False) as folder:
        (folder / "x").write_text("1")
    assert content(tmp_path) == {"x": "1"}


def test_files(tmp_path):
    out = tmp_path / "a" / "page.html"
    with output_file(out, overwrite=False) as path:
        path.write_text("1")
        assert not out.exists() and path.suffix == ".html"
    with pytest.raises(CommandError, match="page.html exists; .* --overwrite"), output_file(out, overwrite=False):
        raise AssertionError("the block must not be entered")
    with pytest.raises(ValueError), output_file(out, overwrite=True) as path:
        path.write_text("half")
        raise ValueError
    assert content(tmp_path) == {"a/page.html": "1"}
    with output_file(out, overwrite=True) as path:
        path.write_text("2")
    assert content(tmp_path) == {"a/page.html": "2"}
