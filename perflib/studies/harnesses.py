"""Record what other harnesses report of a kernel of some sixty nanoseconds, warmed or compiling in the first call.

    ask(HARNESSES["timeit"], Question("x = [3, 1, 2]", "sorted", "x")).reported

Each harness runs in a separate process. `warmed`: the setup calls the kernel once, so that it is compiled before the
harness starts. `compiles`: the first call is the harness's own, and Numba finds no compiled code on disk; perflib compiles
before it measures, so it runs warmed only. What is recorded is what the harness reports, and how long it took.

Raises `Refusal`, one line, where a harness fails or its output is unknown; a recording goes on without it.
"""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..display.progress import progress_bar, step
from ..runs.tables import TABLES
from ..runs.writer import RunWriter
from ..system.children import bound
from ..timer import Timer

FIRST_CALLS = ("warmed", "compiles")
LIMIT_S = 300  # ten times what the slowest one takes
UNITS_PS = {"nsec": 10**3, "usec": 10**6, "msec": 10**9, "sec": 10**12}
SETUP = """\
from perflib.kernels import aligned_empty
from perflib.kernels.rmsnorm.textbook import _rms_norm_fast as kernel
x, weight, out = (aligned_empty(shape, "float32") for shape in ((1, 512), 512, (1, 512)))
x[:] = weight[:] = 1
"""
"""Aligned: where np.empty puts three arrays was seen to make 62 ns or 85 of the same kernel, another in each process."""
IPYTHON_CODE = """
import json
result = %timeit -o {statement}
print(json.dumps([result.average, result.stdev, result.loops, result.repeat]))
"""
PYTEST_CODE = """

def test_statement(benchmark):
    benchmark({function}, {arguments})
"""
PERFLIB_CODE = """
import json, statistics
from perflib import measure
for scope in ("kernel", "call"):
    m = measure({function}, {arguments}, scope=scope)
    reps = statistics.median_low(s.reps for s in m.samples)
    print(json.dumps([scope, m.time_ns.value, m.time_ns.low, m.time_ns.high, reps, len(m.samples)]))
"""


class Refusal(Exception):
    """A harness that failed, or whose words cannot be read."""


@dataclass(frozen=True)
class Question:
    """How long does `function(arguments)` take after `setup`? All three are Python's text."""

    setup: str
    function: str
    arguments: str

    @property
    def statement(self) -> str:
        """What is timed."""
        return f"{self.function}({self.arguments})"


@dataclass(frozen=True)
class Reported:
    """What a harness reports of one run: its headline figures in picoseconds, by name."""

    statistics_ps: Mapping[str, int]
    loops: int
    """Runs per sample, as it chose them."""
    samples: int
    scope: str = "call"


@dataclass(frozen=True)
class Answer:
    """One process of a harness: what it reported, and the milliseconds from its start to its end."""

    reported: tuple[Reported, ...]
    wall_ms: int


@dataclass(frozen=True)
class Harness:
    """What to call Python with for a question, in a folder of its own, and how to read the answer."""

    name: str
    package: str | None
    """Whose version counts; None for Python's own."""
    words: Callable[[Question, Path], list[str]]
    read: Callable[[str], list[Reported]]

    def version(self) -> str | None:
        """None where it is not installed."""
        try:
            return version(self.package) if self.package else platform.python_version()
        except PackageNotFoundError:
            return None


def _timeit_words(question: Question, folder: Path) -> list[str]:
    return ["-m", "timeit", "-s", question.setup, question.statement]


def _read_timeit(text: str) -> list[Reported]:
    loops, runs, figure, unit = re.search(r"(\d+) loops?, best of (\d+): (\S+) (\w+) per loop", text).groups()
    return [Reported({"best": round(float(figure) * UNITS_PS[unit])}, int(loops), int(runs))]


def _ipython_words(question: Question, folder: Path) -> list[str]:
    code = question.setup + IPYTHON_CODE.format(statement=question.statement)
    return ["-m", "IPython", "--HistoryManager.enabled=False", "-c", code]


def _read_ipython(text: str) -> list[Reported]:
    mean, deviation, loops, runs = json.loads(text.splitlines()[-1])
    return [Reported(_ps(mean=mean, std=deviation), loops, runs)]


def _pytest_words(question: Question, folder: Path) -> list[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_statement.py").write_text(question.setup + PYTEST_CODE.format(**vars(question)))
    return ["-m", "pytest", "-p", "pytest_benchmark.plugin", f"--benchmark-json={folder / 'answer'}"]


def _read_pytest(text: str) -> list[Reported]:
    told = json.loads(text)["benchmarks"][0]["stats"]
    return [Reported(_ps(mean=told["mean"], median=told["median"]), told["iterations"], told["rounds"])]


def _pyperf_words(question: Question, folder: Path) -> list[str]:
    return ["-m", "pyperf", "timeit", "-o", str(folder / "answer"), "-s", question.setup, question.statement]


def _read_pyperf(text: str) -> list[Reported]:
    import pyperf  # the extra `harnesses`

    told = pyperf.Benchmark.loads(text)
    return [Reported(_ps(mean=told.mean(), std=told.stdev()), round(told.get_total_loops()), told.get_nvalue())]


def _perflib_words(question: Question, folder: Path) -> list[str]:
    return ["-c", question.setup + PERFLIB_CODE.format(**vars(question))]


def _read_perflib(text: str) -> list[Reported]:
    found = []
    for scope, *ns, loops, samples in map(json.loads, text.splitlines()):
        median, low, high = (value / 1e9 for value in ns)
        found.append(Reported(_ps(median=median, low=low, high=high), loops, samples, scope))
    return found


def _ps(**seconds: float) -> dict[str, int]:
    return {name: round(value * 1e12) for name, value in seconds.items()}


HARNESSES = {
    harness.name: harness
    for harness in (
        Harness("timeit", None, _timeit_words, _read_timeit),
        Harness("%timeit", "ipython", _ipython_words, _read_ipython),
        Harness("pytest-benchmark", "pytest-benchmark", _pytest_words, _read_pytest),
        Harness("pyperf", "pyperf", _pyperf_words, _read_pyperf),
        Harness("perflib", "perflib", _perflib_words, _read_perflib),
    )
}
"""In reading order: the one that everybody has first, ours last."""


def ask(harness: Harness, question: Question, fresh: bool = False) -> Answer:
    """Run a harness in a process and a folder of its own; `fresh`: Numba finds none of its compiled code on disk."""
    with TemporaryDirectory(prefix="perflib-harness-") as name:
        folder = Path(name)
        words = bound(*harness.words(question, folder))
        timer = Timer()
        try:
            done = subprocess.run(
                words, cwd=folder, env=_environment(folder, fresh), capture_output=True, text=True, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise Refusal(f"{harness.name} did not end within {LIMIT_S} s") from None
        wall_ms = max(1, round(timer.elapsed_ms()))
        if done.returncode:
            raise Refusal(f"{harness.name} failed: {_last_line(done.stderr or done.stdout)}")
        answer = folder / "answer"
        text = answer.read_text(encoding="utf-8") if answer.exists() else done.stdout
    try:
        return Answer(tuple(harness.read(text)), wall_ms)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise Refusal(f"{harness.name} said what cannot be read: {_last_line(text)}") from None


def _environment(folder: Path, fresh: bool) -> dict[str, str]:
    """This process's, without what would change a harness's defaults; IPython keeps its profile in the folder."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "IPYTHON", "PYPERF"))}
    cache = {"NUMBA_CACHE_DIR": str(folder / "cache")} if fresh else {}
    return usual | cache | {"IPYTHONDIR": str(folder / "ipython"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no word"])[-1][:200]


def plan(quick: bool) -> list[tuple[Harness, str, float]]:
    """Harness, kind of first call and seconds that it takes, in reading order."""
    seconds = {
        "timeit": {"warmed": 3, "compiles": 1},
        "%timeit": {"warmed": 4, "compiles": 2},
        "pytest-benchmark": {"warmed": 2, "compiles": 2},
        "pyperf": {"warmed": 28},
        "perflib": {"compiles": 4},
    }
    chosen = ("timeit", "perflib") if quick else seconds
    return [(HARNESSES[name], first_call, s) for name in chosen for first_call, s in seconds[name].items()]


def record_harnesses(writer: RunWriter, quick: bool, progress: bool = True) -> None:
    """Ask what the run does not have yet; progress goes to stderr, and so does what a harness that fails has to say."""
    asked = [(h, f, s) for h, f, s in plan(quick) if h.version() and not writer.has("harness", f"{h.name}, {f}")]
    with progress_bar(sum(s for *_, s in asked), progress) as bar:
        for harness, first_call, seconds in asked:
            block = f"{harness.name}, {first_call}"
            with step(bar, f"harness: {block}", seconds):
                try:
                    answer = ask(harness, question(first_call), fresh=first_call == "compiles")
                except Refusal as problem:
                    bar.write(f"{problem}; recorded without it", file=sys.stderr)
                    continue
                with writer.block("harness", block, columns=TABLES["harness"]) as append:
                    append(_rows(block, harness, first_call, answer))


def question(first_call: str) -> Question:
    """What every harness measures: an RMS norm of 512 numbers, compiled by the setup or by the first call."""
    asked = Question(SETUP, "kernel", "x, weight, 1e-5, out")
    return replace(asked, setup=f"{SETUP}{asked.statement}\n") if first_call == "warmed" else asked


def _rows(block: str, harness: Harness, first_call: str, answer: Answer) -> Iterator[dict[str, Any]]:
    asked = {"block": block, "harness": harness.name, "version": harness.version(), "first_call": first_call}
    for reported in answer.reported:
        chosen = {"scope": reported.scope, "loops": reported.loops, "samples": reported.samples, "wall_ms": answer.wall_ms}
        for statistic, value_ps in reported.statistics_ps.items():
            yield {**asked, **chosen, "statistic": statistic, "reported_ps": value_ps}
