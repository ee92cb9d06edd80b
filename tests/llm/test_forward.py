"""The forward pass as a program, as a topic of a run and as tables: tiny shapes, hand-made times."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import runs

from perflib.cli import run as command
from perflib.kernels.decoder import layers, linear
from perflib.llm import fusion_experiment
from perflib.llm.decoder import Decoder, statistics
from perflib.llm.weights import SHAPES, RandomWeights, Shape
from perflib.studies import forward_pass, summary
from perflib.studies.forward_pass import Series, Turns

TINY = Shape(40, 32, 2, 48, 4, 2, 64)
WHOLE_PANELS = Shape(40, 64, 2, 96, 4, 2, 160)
PARTS = ("embedding", "attention/qkv", "attention/rope", "attention/scores", "attention/output", "ffn", "projection")


@pytest.fixture
def writer(tmp_path, monkeypatch):
    runs.isolate(tmp_path, monkeypatch)
    monkeypatch.setitem(SHAPES, "15M", TINY)
    return runs.start()


def told(writer, series, attention, ffn):
    """A series of ten passes of 1000 us; attention and ffn in microseconds."""
    times = dict.fromkeys(("attention/qkv", "attention/rope", "attention/scores", "attention/output"), attention // 4)
    times |= {
        "forward_pass": 1000,
        "embedding": 10,
        "attention": attention,
        "ffn": ffn,
        "projection": 990 - attention - ffn,
    }
    case = {"rows": 1, "new": 1, "n": 128, "scope": "call", "dtype": "F32", "reps": 1}
    with writer.block("forward", series, ["new"]) as append:
        for number in range(10):
            rows = [runs.row(series, number, **case, kernel=k, elapsed_ns=1000 * us + number) for k, us in times.items()]
            append(runs.in_order(rows))


def test_every_series_is_recorded_once_with_all_its_parts(writer, monkeypatch):
    plan = (Series("15M", "F32", 8, new=8, passes=3), Series("15M", "Q8_0", 9, 2, passes=2))
    monkeypatch.setattr(forward_pass, "QUICK_PLAN", plan)

    for _ in range(2):
        forward_pass.record_forward(writer, quick=True)

    samples = writer.finish().samples("forward")
    reads = samples[samples["block"] == "read"]
    assert set(reads["kernel"]) == {"read, 1", "read, 4", "read, 8"} and set(reads["round"]) == set(range(12))
    samples = samples[samples["block"] != "read"]
    parts = ["forward_pass", *statistics().components]
    assert samples["kernel"].tolist() == parts * 5
    assert samples["block"].unique().tolist() == ["15M F32 prompt 8 x 1", "15M Q8_0 generation 9 x 2"]
    assert samples["new"].tolist() == [8] * 27 + [1] * 18


def test_what_is_done_in_two_ways_is_recorded_in_turn(writer, monkeypatch):
    plan = (Turns("15M", "fused", 1, 2), Turns("15M", "stopwatches", 1, 3))
    monkeypatch.setitem(SHAPES, "15M", WHOLE_PANELS)
    monkeypatch.setattr(forward_pass, "QUICK_PLAN", plan)

    forward_pass.record_forward(writer, quick=True)

    turns = writer.finish().samples("forward").groupby(["block", "kernel"])["round"].agg(list)
    assert turns["15M F32 stopwatches 128 x 1"].to_dict() == {
        "stopwatches, off": [0, 1, 2],
        "stopwatches, on": [0, 1, 2],
    }
    both = turns["15M F32 fused 1 x 1"].to_dict()
    assert {f"{name}, {way}" for name in ("QKV", "residual") for way in fusion_experiment.WAYS} < set(both)
    assert all(rounds == [0, 1] for rounds in both.values())


@pytest.mark.parametrize("new", [1, 5])
@pytest.mark.parametrize("shape", [WHOLE_PANELS, replace(WHOLE_PANELS, head_length=32)], ids=["plain", "long heads"])
def test_both_ways_do_the_same_work(monkeypatch, new, shape):
    monkeypatch.setattr(fusion_experiment, "_run", lambda steps: steps)
    two_ways = fusion_experiment.alternatives(Decoder(RandomWeights(shape)), new)

    for name, ways in two_ways.items():
        together = left_by(ways["fused"], 1)
        apart = left_by(ways["apart"], {"QKV": 3, "gate and up": 2}.get(name, 1))
        assert np.allclose(together, apart, rtol=1e-4, atol=1e-4), name


def left_by(steps, last):
    """What the last steps wrote, side by side; what they read is as before."""
    outputs = [
        args[{layers._swiglu: 1, fusion_experiment._swiglu_by_numpy: 1, linear._linear: 2, np.add: 2}.get(k, 3)]
        for k, *args in steps
    ]
    before = [array.copy() for array in outputs]
    for kernel, *args in steps:
        kernel(*args)
    found = np.concatenate(outputs[-last:], axis=1)
    for array, content in zip(outputs, before, strict=True):
        array[...] = content
    return found


def test_heads_that_share_a_panel_are_not_taken_apart(refused):
    with refused(ValueError, "multiples of 32", "[32, 16, 16]"):
        fusion_experiment.alternatives(Decoder(RandomWeights(TINY)), 1)


@pytest.mark.parametrize(
    ("prompt", "generation", "expected"),
    [
        ((400, 500), (310, 590), "HOLDS"),
        ((400, 500), (250, 590), "FAILS"),
        ((200, 700), (400, 500), "FAILS"),
    ],
)
def test_the_hot_path_is_judged_by_both_phases(writer, prompt, generation, expected):
    told(writer, "110M F32 prompt 128 x 1", *prompt)
    told(writer, "110M F32 generation 128 x 1", *generation)
    judged = {claim.id: claim for claim in summary.judge_all(writer.finish())}

    assert judged["S10"].verdict == expected
    assert f"attention {prompt[0] / 10:.1f}" in judged["S10"].evidence


def test_a_run_without_passes_says_so(writer):
    runs.write(writer, "matmul", "n=64")
    run = writer.finish()

    assert {c.id: c.verdict for c in summary.judge_all(run)}["S10"] == "UNDECIDED"
    assert "`perflib record` measures it" in repr(forward_pass.breakdown_table(run, "15M"))


def test_tables_show_shares_of_what_was_recorded(writer):
    for kind, phase, attention in (("F32", "prompt", 300), ("F32", "generation", 400)):
        told(writer, f"15M {kind} {phase} 128 x 1", attention, 500)
    samples = writer.finish()

    assert forward_pass.breakdown_table(samples, "15M").header[1:] == ("prompt, context 128", "generation, context 128")
    assert forward_pass.part_share(samples, "15M F32 generation 128 x 1", "attention").value == pytest.approx(40, abs=0.01)
    assert set(forward_pass.part_times(samples, "15M F32 prompt 128 x 1")["ffn"]) == {500_000 + n for n in range(10)}


def test_a_shape_without_a_prompt_shows_its_generation(writer):
    told(writer, "1.1B F32 generation 16 x 1", 400, 500)

    table = forward_pass.breakdown_table(writer.finish(), "1.1B")

    assert table.header[1:] == ("generation, context 16",)
    assert [row[1][:4] for row in table.rows if row[0] == "attention"] == ["40.0"]


def test_the_command_prints_rates_parts_and_shares_of_the_limits(writer, monkeypatch, capsys):
    limits = {f"read_{k}_gb_per_s": runs_interval(10.0) for k in (1, 4, 8)}

    measured = type("Limits", (dict,), {"peak_gflops": lambda self: runs_interval(100.0)})(limits)
    monkeypatch.setattr("perflib.llm.forward.measured_limits", lambda here: measured)

    status = command(["forward", "--shape", "15M", "--prompt", "5", "--tokens", "3", "--batch", "2"])

    out, err = capsys.readouterr()
    assert status == 0
    assert "generation" in out and "tokens/s" in out and "limits: 100 GFLOP/s" in out
    assert all(part in out for part in PARTS)
    assert "stopwatches on against off" in out and "resident above" in out
    assert not err  # no bar where nobody watches


MEMORY = """
import numpy as np
from perflib.llm import forward
from perflib.llm.decoder import Decoder
from perflib.hardware.process_memory import peak, resident_bytes
from perflib.llm.weights import SHAPES, RandomWeights

class Bar:
    set_description_str = update = lambda *_, **__: None

weights = RandomWeights(SHAPES[{shape!r}])
forward.warm_up(weights, None, 1)
before = resident_bytes()
decoder = Decoder(weights)
cache = decoder.cache(1, 136)
with peak() as most:
    forward._passes(decoder, cache, np.zeros((1, 128), int), 8, 1, Bar())
print(most.bytes - before - decoder.nbytes - cache.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most memory since a mark")
@pytest.mark.parametrize("shape", ["15M", "110M"])
def test_a_prompt_and_generation_need_little_memory_above_weights_and_cache(shape):
    """In a process of its own: at most 100 MB from import and warm-up on."""
    done = subprocess.run([sys.executable, "-c", MEMORY.format(shape=shape)], capture_output=True, text=True, check=True)

    assert 0 < float(done.stdout) < 100e6


@pytest.mark.parametrize("words", [("--shape", "7M"), ("--prompt", "0"), ("--gguf", "none.gguf")])
def test_what_cannot_be_run_is_one_line(writer, capsys, words):
    assert command(["forward", *words]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1


def runs_interval(value):
    from perflib.stats import Interval

    return Interval(value, value, value, 0.95)


def planted(writer, series, times_us, new=1, rows=1, n=128):
    """A series of ten passes or turns in which every kernel takes its time to the nanosecond."""
    case = {"rows": rows, "new": new, "n": n, "scope": "call", "dtype": "F32", "reps": 1}
    with writer.block("forward", series, ["new"]) as append:
        for number in range(10):
            taken = ((kernel, round(1000 * us)) for kernel, us in times_us.items())
            append(runs.in_order(runs.row(series, number, **case, kernel=k, elapsed_ns=ns) for k, ns in taken))


def passes_of(whole, ffn):
    parts = dict.fromkeys(("attention/qkv", "attention/rope", "attention/scores", "attention/output"), whole / 20)
    return {
        "forward_pass": whole,
        "embedding": 0.001,
        "attention": whole / 5,
        "ffn": ffn,
        "projection": 0.8 * whole - ffn,
    } | parts


@pytest.fixture
def full(writer):
    """15M: a prompt of 1000 us, generation of 100, Q8_0 twice as fast; fused three times as fast; stopwatches 1 %."""
    for kind, speed in (("F32", 1), ("Q8_0", 2)):
        planted(writer, f"15M {kind} prompt 128 x 1", passes_of(1000 / speed, 500 / speed), new=128)
        planted(writer, f"15M {kind} generation 128 x 1", passes_of(100 / speed, 30 / speed))
    planted(writer, "15M F32 generation 128 x 8", passes_of(200, 60), rows=8)
    for new in (1, 128):
        planted(writer, f"15M F32 fused {new} x 1", {"QKV, fused": new * 0.5, "QKV, apart": new * 1.5}, new=new)
    planted(writer, "15M F32 stopwatches 128 x 1", {"stopwatches, off": 100, "stopwatches, on": 101})
    planted(writer, "read", {"read, 1": 30_000, "read, 4": fusion_experiment.READ_BYTES / 20_000, "read, 8": 20_000}, new=0)
    peak = {"value": 100.0, "low": 100.0, "high": 100.0, "coverage": 0.95}
    return writer.finish(limits={"peak_gflops_float32": peak})


def shown(table, what):
    return [row[1:] for row in table.rows if row[0] == what]


def test_what_fusing_and_quantising_buy_is_a_factor_and_a_share_of_the_pass(full):
    table = forward_pass.gain_table(full, "15M")

    assert shown(table, "QKV") == [
        ("prompt", "3.00 [3.00, 3.00]", "+12.8"),
        ("generation", "3.00 [3.00, 3.00]", "+1.0"),
    ]
    assert shown(table, "Q8_0, ffn") == [
        ("prompt", "2.00 [2.00, 2.00]", "+25.0"),
        ("generation", "2.00 [2.00, 2.00]", "+15.0"),
    ]
    assert shown(table, "128 tokens at once, not one by one") == [("prompt", "12.8", "")]


def test_the_cost_of_the_stopwatches_is_that_of_passes_taken_in_turn(full):
    assert shown(forward_pass.stopwatch_table(full), "15M")[0][-1] == "1.00 [1.00, 1.00]"


def test_the_best_read_is_that_of_the_streams_that_are_fastest(full):
    assert forward_pass.read_gb_per_s(full).value == pytest.approx(20.0, rel=1e-4)


def test_a_part_is_predicted_to_take_the_longer_of_flops_and_bytes(full):
    """TINY, the feed-forward part: 2 blocks of 3 x 32 x 48 weights, 4 bytes and 2 flops a token each."""
    weights = 2 * 3 * 32 * 48

    cells = shown(forward_pass.predicted_table(full, "15M"), "ffn")[0]

    assert cells == (f"{128 * 2 * weights / 100e6:.3f} (flops)", "0.500", f"{4 * weights / 20e6:.3f} (bytes)", "0.030")


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda run: forward_pass.breakdown(run, "15M"),
            ("A prompt of 128 spends 50 % in the FFN", "projection takes 50 %"),
        ),
        (forward_pass.batches, ("15M from", "at batch 1 to", "at 8", "peak of 100")),
        (lambda run: forward_pass.gain_map(run, "15M"), ("Q8_0", "2.0 times")),
    ],
    ids=["breakdown", "batches", "gain_map"],
)
def test_a_figure_says_what_is_to_be_seen(full, draw, words):
    picture = draw(full)

    assert picture.png.startswith(b"\x89PNG")
    assert all(word in picture.alt for word in words), picture.alt


@pytest.mark.parametrize("draw", [forward_pass.breakdown, forward_pass.gain_map])
def test_a_shape_that_was_not_recorded_has_no_figure(full, draw):
    assert "`perflib record` measures it" in repr(draw(full, "110M"))
