"""Runs are read whole or refused: with the file, the row where there is one, and the reason."""

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import platformdirs
import pytest
from runs import MACHINE, isolate, row, start, write

from perflib import files
from perflib.errors import RunError
from perflib.files import data_folder
from perflib.runs.store import Run, list_runs, load_run
from perflib.runs.tables import COLUMNS

COUNTS = {"packed_fma": 4, "scalar_fma": 0, "gathers": 0, "vector_bits": 256}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def unfinished():
    """A run with two complete blocks and one that was interrupted."""
    run = start()
    write(run, "tiles", "n=64")
    write(run, "tiles", "n=128")
    write(run, "tiles", "n=256", marker=False)
    return run.path


@pytest.fixture
def finished():
    run = start()
    write(run, "tiles", "n=64")
    return run.finish(codegen={"k": COUNTS}).path


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_a_finished_run_reads_back_what_was_recorded(finished):
    run = load_run(finished.name)

    assert (run.id, run.finished, run.machine) == (finished.name, True, MACHINE)
    assert run.meta["settings"] == {"seed": 0}
    assert run.meta["codegen"] == {"k": COUNTS}
    assert run.blocks == {("tiles", "n=64"): 3}
    samples = run.samples("tiles")
    assert list(samples.columns) == list(COLUMNS)
    assert samples["elapsed_ns"].tolist() == [1000, 1001, 1002]
    assert samples["elapsed_ns"].dtype == "int64"
    assert samples["tile"].isna().all()
    assert set(samples["kernel"]) == {"k"}


def test_an_unfinished_run_offers_its_complete_blocks(unfinished):
    run = load_run(unfinished)

    assert not run.finished
    assert run.blocks == {("tiles", "n=64"): 3, ("tiles", "n=128"): 3}
    assert run.samples("tiles")["block"].tolist() == 3 * ["n=64"] + 3 * ["n=128"]


def test_a_row_torn_at_any_byte_of_an_unfinished_block_does_not_count(unfinished):
    file = unfinished / "tiles.csv"
    whole = file.read_bytes()
    last_row = whole.rindex(b"\n", 0, -1) + 1

    for cut in range(last_row, len(whole)):
        file.write_bytes(whole[:cut])
        assert len(load_run(unfinished).samples("tiles")) == 6, f"cut at byte {cut}"


def test_a_marker_torn_at_any_byte_leaves_its_block_unfinished(unfinished):
    file = unfinished / "blocks.csv"
    whole = file.read_bytes()
    last_line = whole.rindex(b"\n", 0, -1) + 1

    for cut in range(last_line, len(whole)):
        file.write_bytes(whole[:cut])
        run = load_run(unfinished)
        assert set(run.blocks) == {("tiles", "n=64")}, f"cut at byte {cut}"
        assert len(run.samples("tiles")) == 3


def test_a_torn_marker_of_a_finished_run_is_refused(finished, refused):
    content = (finished / "blocks.csv").read_bytes()
    (finished / "blocks.csv").write_bytes(content + b"\0" * 9)
    sums = (finished / "SHA256SUMS").read_text()
    digests = [hashlib.sha256(text).hexdigest() for text in (content, content + b"\0" * 9)]
    (finished / "SHA256SUMS").write_text(sums.replace(*digests))

    with refused(RunError, "blocks.csv: row 3: torn, its end of line is missing"):
        _ = load_run(finished).blocks


def test_a_row_torn_at_any_byte_of_a_complete_block_is_refused(refused):
    run = start()
    write(run, "tiles", "n=64", compiled=12)
    file = run.path / "tiles.csv"
    whole = file.read_bytes()
    last_row = whole.rindex(b"\n", 0, -1) + 1

    with refused(RunError, str(file), "'n=64' must have 3 rows, got 2"):
        file.write_bytes(whole[:last_row])
        load_run(run.path).samples("tiles")
    for cut in range(last_row + 1, len(whole)):
        file.write_bytes(whole[:cut])
        with refused(RunError, str(file), "row 4", "torn"):
            load_run(run.path).samples("tiles")


def test_a_row_torn_in_the_middle_of_a_complete_block_is_refused(unfinished, refused):
    edit(unfinished / "tiles.csv", ",1001,900,0,0\nn=64", ",1001\nn=64")

    with refused(RunError, "tiles.csv: row 3: must have 17 fields, got 14"):
        load_run(unfinished).samples("tiles")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("elapsed_ns", "-5"),
        ("elapsed_ns", "0"),
        ("elapsed_ns", "soon"),
        ("elapsed_ns", ""),
        ("elapsed_ns", "1000.5"),
        ("elapsed_ns", "1e3"),
        ("elapsed_ns", "nan"),
        ("reps", "0"),
        ("cpu_ns", "-1"),
        ("n", "0"),
        ("tile", "many"),
    ],
)
def test_an_impossible_value_is_refused_with_file_row_and_column(column, value, refused):
    run = start()
    write(run, "tiles", "n=64")
    write(run, "tiles", "n=128", rows=1, **{column: value})

    with refused(
        RunError, str(run.path / "tiles.csv"), "row 5", column, "must be an integer of at least", f"got {value!r}"
    ):
        load_run(run.path).samples("tiles")


@pytest.mark.parametrize(("topic", "least"), [("memory", 1), ("sweep", 0)])
def test_a_parameter_is_held_to_the_schema_of_its_topic_if_it_has_one(topic, least, refused):
    run = start()
    with run.block(topic, "n=64", ["stride"]) as append:
        append([row("n=64", 0, stride=least), row("n=64", 1, stride="")])

    samples = load_run(run.path).samples(topic)
    assert samples["stride"].tolist() == [least, pd.NA]

    with run.block(topic, "n=128", ["stride"]) as append:
        append([row("n=128", 0, stride=least - 1)])
    with refused(RunError, f"{topic}.csv: row 4: stride must be an integer of at least {least}, got '{least - 1}'"):
        load_run(run.path).samples(topic)


def test_a_missing_column_is_refused(unfinished, refused):
    edit(unfinished / "tiles.csv", "elapsed_ns", "elapsed")

    with refused(RunError, "tiles.csv: row 1: column 'elapsed_ns' missing"):
        load_run(unfinished).samples("tiles")


def test_a_column_that_stands_there_twice_is_refused(unfinished, refused):
    edit(unfinished / "tiles.csv", "compiled", "compiled,tile")

    with refused(RunError, "tiles.csv: row 1", "twice"):
        load_run(unfinished).samples("tiles")


def test_a_damaged_line_between_markers_is_refused(unfinished, refused):
    edit(unfinished / "blocks.csv", "tiles,n=64,1,3", "tiles,n=64,1,three")

    with refused(RunError, "blocks.csv: row 2: must be topic,block,process,rows; got 'tiles,n=64,1,three'"):
        _ = load_run(unfinished).blocks


def test_a_missing_file_of_samples_is_refused(unfinished, refused):
    (unfinished / "tiles.csv").unlink()

    with refused(RunError, "tiles.csv: cannot be read: No such file or directory"):
        load_run(unfinished).samples("tiles")


def test_a_topic_that_was_not_recorded_says_what_was(unfinished, refused):
    with refused(RunError, "has no 'forward'; recorded: tiles"):
        load_run(unfinished).samples("forward")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("cannot be read",)),
        ("[]", ("schema must be 1 or 2, got 'list'",)),
        ('{"schema": 3}', ("schema must be 1 or 2, got 3",)),
        ('{"finished": null}', ("schema must be 1 or 2, got None",)),
        ('{"schema": 1, "finished": null}', ("code, command, machine, settings missing",)),
    ],
)
def test_a_foreign_run_json_is_refused(unfinished, refused, text, words):
    (unfinished / "run.json").write_text(text)

    with refused(RunError, str(unfinished / "run.json"), *words):
        load_run(unfinished)


def test_a_machine_that_is_not_described_is_refused(unfinished, refused):
    meta = json.loads((unfinished / "run.json").read_text())
    (unfinished / "run.json").write_text(json.dumps(meta | {"machine": {"cpu": "x"}}))

    with refused(RunError, "run.json: machine must contain"):
        load_run(unfinished)


def test_one_digit_changed_in_a_finished_run_is_refused(finished, refused):
    edit(finished / "tiles.csv", ",1001,", ",1007,")

    with refused(RunError, "tiles.csv: checksum differs"):
        load_run(finished)


@pytest.mark.parametrize("name", ["tiles.csv", "blocks.csv", "SHA256SUMS"])
def test_a_file_missing_in_a_finished_run_is_refused(finished, refused, name):
    (finished / name).unlink()

    with refused(RunError, f"{name}: missing"):
        load_run(finished)


@pytest.mark.parametrize("name", ["tiles.csv", "run.json"])
def test_a_checksum_missing_in_a_finished_run_is_refused(finished, refused, name):
    sums = finished / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if name not in line))

    with refused(RunError, f"SHA256SUMS: does not list {name}"):
        load_run(finished)


def test_a_run_without_run_json_is_not_a_run(finished, refused):
    (finished / "run.json").unlink()

    assert list_runs() == []
    with refused(RunError, f"no run '{finished}'; recorded: none"):
        load_run(finished)


def test_an_unknown_run_says_what_is_recorded(finished, refused):
    with refused(RunError, f"no run 'nowhere'; recorded: {finished.name}"):
        load_run("nowhere")


def test_a_run_is_found_by_path_outside_the_data_folder(finished, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copied"
    shutil.copytree(finished, elsewhere)

    assert load_run(elsewhere).id == "copied"
    assert load_run(str(elsewhere)).id == "copied"


def test_by_default_the_newest_reference_run_is_read(data, finished, refused):
    with refused(RunError, "no reference run", "perflib record"):
        load_run()

    for name in ("20250101T000000Z-a", "20260101T000000Z-a"):
        shutil.copytree(finished, data / "reference" / name)
    assert load_run().id == "20260101T000000Z-a"


def test_perflib_run_names_the_run(finished, monkeypatch):
    monkeypatch.setenv("PERFLIB_RUN", str(finished))

    assert load_run().id == finished.name


def test_perflib_run_pointing_nowhere_says_so(monkeypatch, refused):
    monkeypatch.setenv("PERFLIB_RUN", "nowhere")

    with refused(RunError, "PERFLIB_RUN: no run 'nowhere'; recorded: none"):
        load_run()


def test_latest_is_the_newest_recording_and_no_sweep(refused):
    with refused(RunError, "no recorded run yet; record one: perflib record --quick"):
        load_run("latest")

    newest = [start("quick"), start("full"), start("sweep")][1]
    assert load_run("latest").path == newest.path


def test_the_list_of_runs_ignores_what_is_none(data, finished):
    (data / "runs" / "notes.txt").write_text("mine")
    (data / "runs" / "empty").mkdir()

    assert list_runs() == [finished]


def test_runs_show_themselves_in_a_line_and_their_list_as_a_table(data, finished):
    assert repr(list_runs()).splitlines()[1].split()[0] == finished.name
    assert finished.name in list_runs()._repr_html_()
    assert repr(load_run(finished)).startswith(f"run {finished.name}: ")
    assert "\n" not in repr(load_run(finished))
    assert len(repr(load_run(finished))) < 400


def test_the_list_of_no_runs_says_so(data):
    assert repr(list_runs()) == list_runs()._repr_html_() == "no runs"


def test_a_run_that_cannot_be_read_stands_in_the_list_as_such(data, finished):
    (finished / "run.json").write_text("{")

    assert repr(list_runs()).splitlines()[1].split() == [finished.name, "cannot", "be", "read"]


def test_the_data_folder_is_the_one_named(data):
    assert data_folder() == data


def test_the_data_folder_of_a_clone_is_its_own(monkeypatch):
    monkeypatch.delenv("PERFLIB_DATA")

    assert data_folder() == Path(__file__).parents[2] / "data"


def test_without_a_clone_data_go_to_the_users_folder(monkeypatch):
    monkeypatch.delenv("PERFLIB_DATA")
    monkeypatch.setattr(files, "IS_CLONE", False)

    assert data_folder() == platformdirs.user_data_path("perflib")


def test_ipython_shows_the_sentence_alone():
    assert RunError("no run")._render_traceback_() == ["RunError: no run"]


def test_runs_can_be_keys(finished):
    run = load_run(finished)

    assert isinstance(run, Run)
    assert {run: 1}[run] == 1


def changed(folder, change):
    """run.json of an unfinished run, changed by a function."""
    meta = json.loads((folder / "run.json").read_text())
    change(meta)
    (folder / "run.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda meta: meta["machine"]["caches"][0].update(ways=0),
            "machine.caches[0].ways must be bigger than or equal to 1, got 0",
        ),
        (
            lambda meta: meta["machine"]["caches"][0].update(ways=8.0),
            "machine.caches[0].ways must be integer or null, got 8.0",
        ),
        (
            lambda meta: meta["machine"]["caches"][0].update(size_bytes=True),
            "machine.caches[0].size_bytes must be integer, got True",
        ),
        (
            lambda meta: meta["machine"]["caches"][0].update(class_="x"),
            "machine.caches[0] must not contain {'class_'} properties",
        ),
        (lambda meta: meta["machine"].update(isa="avx2"), "machine.isa must be array, got 'avx2'"),
        (lambda meta: meta["machine"].update(packages={"numpy": 2}), "machine.packages.numpy must be string, got 2"),
        (
            lambda meta: meta["machine"].update(memory_bytes=-1),
            "machine.memory_bytes must be bigger than or equal to 1, got -1",
        ),
        (lambda meta: meta.update(settings=[]), "settings must be object, got []"),
        (lambda meta: meta.update(command=None), "command must be string, got None"),
        (lambda meta: meta.update(code="a1"), "code must be object, got 'a1'"),
        (lambda meta: meta.update(schema=2.0), "schema must be integer, got 2.0"),
        (lambda meta: meta.update(started="yesterday"), "started must match pattern"),
        (
            lambda meta: meta.update(work=[{"kernel": "k", "dtype": "", "n": 1, "flops": -1, "bytes": 0}]),
            "work[0].flops must be",
        ),
        (lambda meta: meta.update(limits={"peak_gflops_float32": 7}), "limits.peak_gflops_float32 must be object, got 7"),
        (
            lambda meta: meta.update(lost=[{"topic": "t"}]),
            "lost[0] must contain ['block', 'case', 'reason'] properties",
        ),
        (lambda meta: meta.update(wrk=[]), "must not contain {'wrk'} properties"),
        (
            lambda meta: meta.update(settings=json.loads("[" * 500 + "]" * 500)),
            "cannot be read: objects and arrays must lie",
        ),
    ],
)
def test_a_field_that_is_not_of_its_type_is_refused_by_its_name(unfinished, refused, change, words):
    with refused(RunError, f"{unfinished / 'run.json'}: {words}"):
        load_run(changed(unfinished, change))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("NaN", "a number must be finite, got NaN"),
        ("1e999", "a number must be finite, got 1e999"),
        ("9" * 5000, "an integer must have at most 100 digits, got 5000"),
        ('{"a": 1, "a": 2}', "field 'a' stands there twice"),
        ('"\\ud800"', "surrogates not allowed"),
        ("[" * 100_000 + "]" * 100_000, "recursion"),
        ("[" * 19 + "1" + "]" * 19, "objects and arrays must lie at most 20 deep in each other"),
    ],
)
def test_what_json_does_not_have_or_has_without_bounds_is_refused(unfinished, refused, value, words):
    file = unfinished / "run.json"
    file.write_text(file.read_text().replace('"seed": 0', f'"seed": {value}'))

    with refused(RunError, "run.json: cannot be read: ", words):
        load_run(unfinished)


def test_samples_of_a_process_that_nobody_noted_are_refused(refused):
    run = start()
    write(run, "tiles", "n=64", process=1)
    folder = changed(run.path, lambda meta: meta.update(processes=[{"process": 2, "entropy": 1}]))

    with refused(RunError, "tiles.csv: row 2: process 1 is none of those in run.json"):
        load_run(folder).samples("tiles")


def test_a_process_of_two_sessions_is_refused(unfinished, refused):
    twice = [{"process": 1, "entropy": 1, "session": session} for session in (1, 2)]

    with refused(RunError, "run.json: processes: process 1 belongs to two sessions"):
        load_run(changed(unfinished, lambda meta: meta.update(processes=twice)))


def test_a_run_that_ended_before_it_began_is_refused(unfinished, refused):
    change = {"started": "2026-01-01T00:00:01Z", "finished": "2026-01-01T00:00:00Z"}

    with refused(RunError, "finished 2026-01-01T00:00:00Z, before it was started: 2026-01-01T00:00:01Z"):
        load_run(changed(unfinished, lambda meta: meta.update(change)))


def test_the_columns_of_a_place_may_be_missing_in_schema_1_only(unfinished, refused):
    table = pd.read_csv(unfinished / "tiles.csv", dtype=str, keep_default_na=False).drop(columns=["process", "placement"])
    table.to_csv(unfinished / "tiles.csv", index=False)

    with refused(RunError, "tiles.csv: row 1: column 'process' missing"):
        load_run(unfinished).samples("tiles")
    old = load_run(changed(unfinished, lambda meta: meta.update(schema=1)))
    assert set(old.samples("tiles")["process"]) == {0}
