"""`make mutants` draws changes of the package that are changes, and says of each what the tests said."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import mutants
import pytest
from mutants import belonging_tests, drawn, equivalents, judge, mutants_of
from tree_copies import OUT_OF_TIME, run

ROOT = Path(__file__).parents[2]
RED = "FAILED tests/test_small.py::test_it - assert 1"


def texts(file, source):
    return {mutant.applied(source).rstrip("\n").split("\n")[-1].strip() for mutant in mutants_of(file, source)}


def test_a_seed_draws_the_same_mutants_of_every_kind_and_each_is_another_program():
    chosen = drawn(ROOT, 60, 7)

    assert chosen[:20] == drawn(ROOT, 20, 7) != drawn(ROOT, 20, 8)
    assert [mutant.kind for mutant in chosen] == 10 * list(mutants.KINDS)
    for mutant in chosen:
        source = (ROOT / mutant.file).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
        assert mutant.before in source
        assert mutant.after in mutant.applied(source)


@pytest.mark.parametrize(
    ("line", "others"),
    [
        ("x = a < b <= 3", {"x = (a <= b <= 3)", "x = (a < b < 3)", "x = a < b <= 4"}),
        ("x = a and not b", {"x = (a or not b)", "x = a and b"}),
        ("x = a + 2.0", {"x = (a - 2.0)", "x = a + 2.5"}),
        ("x += True", {"x -= True", "x += False"}),
        ("x = f(a, b, *c)", {"x = f(b, a, *c)"}),
        ("x = max(builder.add(a, b), c)", set()),
        ("x = [y for y in z if y]", {"x = [y for y in z if (not y)]"}),
        ("while a: pass", {"while (not a): pass"}),
        ("def f(): return a, b", {"def f(): return ((b, a))"}),
        ("def f(): return f'{a}'", {"def f(): return None"}),
        ("x = f'µ {a * 9:.2f} s'", {"x = f'µ {a / 9:.2f} s'", "x = f'µ {a * 10:.2f} s'"}),
        ("x: int | None = f(a, strict=True)", set()),
        ("if TYPE_CHECKING: x = 1", set()),
    ],
)
def test_a_line_has_these_mutants(line, others):
    assert texts("perflib/stats.py", line) == others


def test_constants_of_layout_are_left_out_only_where_something_is_drawn():
    look, margin, rows = "axes.plot(x, linewidth=2)", "EDGE = 4", "look = {'zorder': 3, 'rows': 8}"

    assert texts("perflib/display/table.py", look) == texts("perflib/studies/rmsnorm.py", margin) == set()
    assert texts("perflib/display/labels.py", "SAMPLES = 100") == set()
    assert texts("perflib/studies/rmsnorm.py", rows) == {"look = {'zorder': 3, 'rows': 9}"}
    assert texts("perflib/kernels/catalog.py", margin) == {"EDGE = 5"}
    assert texts("perflib/studies/rmsnorm.py", "SAMPLES = 100") == {"SAMPLES = 101"}


def test_the_test_of_its_name_comes_first_and_a_module_without_tests_has_its_folder():
    own, folder = belonging_tests(ROOT, "perflib/stats.py")
    assert own[0] == "tests/test_stats.py"
    assert len(own) > 1
    assert {"tests/test_stats.py", "tests/test_timer.py"} <= set(folder)

    assert belonging_tests(ROOT, "perflib/runs/grid.py")[1] == ["tests/runs"]


@pytest.mark.parametrize(
    ("of_mutant", "without", "outcome"),
    [
        ((1, RED), (0, ""), "caught by tests/test_small.py::test_it"),
        ((1, RED), (1, RED), "UNKNOWN: without it too: tests/test_small.py::test_it"),
        ((OUT_OF_TIME, ""), (0, ""), "caught by no end"),
        ((OUT_OF_TIME, ""), (OUT_OF_TIME, ""), "UNKNOWN: without it too: no end"),
        ((0, ""), (0, ""), "SURVIVED"),
        ((5, ""), (0, ""), "SURVIVED"),
    ],
)
def test_a_mutant_is_caught_by_a_test_that_is_green_without_it(tmp_path, monkeypatch, of_mutant, without, outcome):
    file, sound = tmp_path / "perflib" / "small.py", "def smaller(a, b):\n    return a < b\n"
    for folder in ("perflib", "tests"):
        (tmp_path / folder).mkdir()
    file.write_text(sound)
    (tmp_path / "tests" / "test_small.py").write_text("from perflib.small import smaller\n")
    seen = []

    def run_tests(tree, *words, **limits):
        assert "tests/test_small.py" in words[-1]
        seen.append(file.read_text() == sound)
        return subprocess.CompletedProcess([], *(without if seen[-1] else of_mutant))

    monkeypatch.setattr(mutants, "run_tests", run_tests)
    mutant = next(mutant for mutant in mutants_of("perflib/small.py", sound) if mutant.kind == "comparison")

    assert judge(tmp_path, mutant) == outcome
    assert not seen[0]
    assert file.read_text() == sound


@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes")
def test_a_program_without_an_end_is_killed_with_its_children_at_its_limit(tmp_path):
    child = f"import time\nwhile True: time.sleep(0.1); open({str(tmp_path / 'alive')!r}, 'w')"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"

    assert run(tmp_path, "-c", program, limit_s=3).returncode == OUT_OF_TIME
    (tmp_path / "alive").unlink(missing_ok=True)
    time.sleep(0.5)
    assert not (tmp_path / "alive").exists()


def test_what_is_set_aside_is_still_a_mutant_and_has_a_reason():
    for one in equivalents():
        source = (ROOT / one["file"]).read_text(encoding="utf-8")
        changes = {(mutant.before, mutant.after) for mutant in mutants_of(one["file"], source)}
        assert (one["before"], one["after"]) in changes, one["name"]
        assert one["reason"]
