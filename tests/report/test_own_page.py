"""One page of one's own: offline, well formed, every text escaped, replaced only where it is ours."""

import pages
import pytest
from runs import MACHINE

from perflib import fit_scaling
from perflib.display.figure import Picture
from perflib.display.table import Missing, Table
from perflib.errors import ReportError
from perflib.report.own_page import write_page

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000040000000408060000") + b"\0" * 20
PICTURE = Picture(PNG, "A picture with <i>words</i> that say what is to be seen.")
HOSTILE = "<script>alert('x')</script>\n\"quoted\""


def test_a_page_has_no_fault_and_shows_every_part(tmp_path):
    table = Table(("kernel",), ((HOSTILE,),))
    fit = fit_scaling([64, 80, 100, 128], [64, 80, 100, 128])

    path = write_page(
        tmp_path / "mine.html", HOSTILE, "Words.", "# How it grows", table, fit, MACHINE, Missing("Not there.")
    )

    written = path.read_text()
    assert pages.problems(path) == []
    assert "<script" not in written
    assert written.count("&lt;script&gt;") == 3
    for words in ("<p>Words.</p>", "<h2>How it grows</h2>", "<p>Not there.</p>", "1.000\u00a0[", "Test(R) Chip 9000"):
        assert words in written


def test_a_picture_stands_there_with_its_words_and_size(tmp_path):
    written = write_page(tmp_path / "mine.html", "Mine", PICTURE).read_text()

    width, height = PICTURE.size
    assert (
        f'alt="A picture with &lt;i&gt;words&lt;/i&gt; that say what is to be seen." width="{width}" height="{height}"'
        in written
    )


def test_an_earlier_page_is_replaced_and_a_file_of_somebody_else_is_not(tmp_path, refused):
    write_page(tmp_path / "mine.html", "First")
    assert "<h1>Second</h1>" in write_page(tmp_path / "mine.html", "Second").read_text()
    (tmp_path / "other.html").write_text("<p>mine")

    with refused(ReportError, "other.html is not a page of perflib"):
        write_page(tmp_path / "other.html", "First")
    with refused(ReportError, "cannot write", "No such file or directory"):
        write_page(tmp_path / "nowhere" / "mine.html", "First")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.html", "other.html"]


def test_a_part_that_shows_nothing_is_refused(tmp_path, refused):
    with refused(TypeError, "part must be a text, a figure, a table or a result, got int"):
        write_page(tmp_path / "mine.html", "Mine", 7)
    with pytest.raises(OSError):
        (tmp_path / "mine.html").stat()
