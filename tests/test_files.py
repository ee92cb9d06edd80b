"""Files are replaced as a whole: whatever happens, the old one or the new one is there, and nothing beside it."""

import os

import pytest

from perflib import files
from perflib.files import cache_folder, replace_file, replace_text


def test_a_text_replaces_the_one_before_as_it_is(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    replace_text(file, "new\r\nµs\n")

    assert file.read_bytes() == "new\r\nµs\n".encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("problem", [OSError("full"), KeyboardInterrupt()])
def test_what_ends_the_writing_leaves_the_old_file_alone(tmp_path, problem):
    file = tmp_path / "a.json.gz"
    file.write_text("old")

    def write(part):
        assert part.name.endswith(".json.gz"), "its ending decides on the compression"
        part.write_text("half")
        raise problem

    with pytest.raises(type(problem)):
        replace_file(file, write)

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_new_file_is_whole_before_it_has_its_name(tmp_path, monkeypatch):
    file, contents = tmp_path / "a.txt", []
    file.write_text("old")
    replace = os.replace

    def watched(part, path):
        contents.extend([path.read_text(), part.read_text()])
        replace(part, path)

    monkeypatch.setattr(files.os, "replace", watched)
    replace_text(file, "new")

    assert contents == ["old", "new"]


def test_a_named_data_folder_holds_what_is_saved_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFLIB_DATA", str(tmp_path))
    assert cache_folder() == tmp_path / "machine"

    monkeypatch.delenv("PERFLIB_DATA")
    assert cache_folder() == files.platformdirs.user_cache_path("perflib")
