"""Record a block: cells whose rounds are interleaved, all of them or none unless the block ends early.

If a cell raises, its block is measured again without it; a warning and the run's `lost` name the cell and the reason.
Raises `WrongResult` for a wrong kernel before anything of it is timed, `RunError` where nothing can be written.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..display.progress import progress_bar
from ..errors import RunError
from ..stats import MIN_SAMPLES
from ..timing.case import CANARY, FLOORS, Case
from ..timing.placement import drawn_seed
from ..timing.processes import FreshProcess
from ..timing.sampling import MAX_ROUNDS, plan_batch, plan_rounds, quiet, rounds
from .grid import GridPoint, PointLost, checked_case, guarded_case
from .tables import COLUMNS
from .writer import RunWriter

TIMES = ("placement", "round", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")  # of a sample
LEAST_ROUNDS = 3
"""Of a process, where there are several."""
ELEMENTS_ENOUGH = 2**20
"""To compile a kernel; a copy of a memory that no cache holds takes seconds to fill."""


@dataclass(frozen=True)
class Block:
    """The unit of recording: cells that are measured together or not at all, and the seconds meant for them."""

    topic: str
    name: str
    cells: tuple[GridPoint, ...]
    budget_s: float
    least_rounds: int = MIN_SAMPLES
    divided: bool = True
    """Whether every process takes a share of its rounds; else one process takes them all."""

    @property
    def key(self) -> tuple[str, str]:
        """Topic and name."""
        return self.topic, self.name


@dataclass(frozen=True)
class Part:
    """What one process measures: its blocks, and how many processes share the rounds of each.

    Everything random in it follows from `entropy`. `plans` holds the runs per batch and the rounds of every case, by block,
    as the first process found them: the others neither calibrate nor compare with the oracle again. `lost`: labels of the
    cases that are left out, by block.
    """

    blocks: tuple[Block, ...]
    process: int
    processes: int
    entropy: int
    plans: Mapping[tuple[str, str], dict[str, tuple[int, int]]]
    lost: Mapping[tuple[str, str], Collection[str]]


def sample_block(
    cells: Sequence[GridPoint],
    budget_s: float,
    seed: int | Sequence[int],
    least_rounds: int = MIN_SAMPLES,
    processes: int = 1,
    plan: dict[str, tuple[int, int]] | None = None,
    first_round: int = 0,
) -> Iterator[tuple[float, list[dict[str, Any]]]]:
    """Check every cell against its oracle, then yield (share done, rows) round by round, `floor` and `canary` included.

    No rows come with each step before the first round, so that a caller who wants to end need not wait for all of them.
    Cells of one size and dtype work on the same buffers. `plan`, runs per batch and rounds of every case, is filled if it
    is empty, else followed without checks; `processes` share the rounds.
    """
    rng, threads, plan = np.random.default_rng(seed), cells[0].threads, {} if plan is None else plan
    cases, batch_ns, inputs, is_known = {}, {}, {}, bool(plan)
    with quiet(threads):
        for cell in cells:
            cases[cell.label] = guarded_case(cell, inputs, rng, check=not is_known)
            yield 0.0, []
    with quiet(threads):  # anew: a library that was loaded only now has threads too
        hidden = [FLOORS[scope] for scope in sorted({c.scope for c in cells})]
        columns = {cell.label: cell.columns() for cell in cells}
        for extra in (*hidden, CANARY):
            label = f"{extra.label} {extra.scope}"
            cases[label] = Case(label, extra.scope, extra.run)
            columns[label] = {"kernel": extra.label, "scope": extra.scope, "dtype": "", "threads": 1}
        reps = {label: plan[label][0] for label in cases if is_known}
        long_ns = {cell.label: cell.long_ns for cell in cells if cell.long_ns}
        for label, one in cases.items():
            if not is_known and label in long_ns:
                reps[label], batch_ns[label] = 1, long_ns[label]
            elif is_known:
                one.run(1 if reps[label] > 1 or one.scope == "call" else 0)  # a library is loaded, pages are present
            else:
                reps[label], batch_ns[label] = plan_batch(one)
            yield 0.0, []
        if not is_known:
            sizes = {label: columns[label].get("n") for label in cases}  # all alternatives of a size get the same rounds
            together = {n: sum(ns for label, ns in batch_ns.items() if sizes[label] == n) for n in sizes.values()}
            by_size = plan_rounds(together, budget_s, least_rounds)
            least = LEAST_ROUNDS if processes > 1 else 1
            plan |= {label: (reps[label], max(least, -(-by_size[n] // processes))) for label, n in sizes.items()}
        counts = {label: plan[label][1] for label in cases}
        total = max(counts.values())
        for number, batch in enumerate(rounds(list(cases.values()), reps, rng, counts, first=first_round), start=1):
            yield number / total, [columns[s.label] | {name: getattr(s, name, 0) for name in TIMES} for s in batch]


def measure_part(part: Part) -> Iterator[tuple[str, Any, Any]]:
    """Measure block by block; yields ("rows", share done, rows), then ("closed", plan, None) where there are any.

    ("lost", label, reason) says that the block begins anew without that cell, ("nothing", None, None) that none is left.
    """
    first = (part.process - 1) * MAX_ROUNDS  # no two processes have rounds of one number
    for block in part.blocks:
        cells = [cell for cell in block.cells if cell.label not in part.lost.get(block.key, ())]
        plan = dict(part.plans.get(block.key, {}))
        processes, seed = part.processes if block.divided else 1, [part.entropy, *" ".join(block.key).encode()]
        while cells:
            try:
                samples = sample_block(cells, block.budget_s, seed, block.least_rounds, processes, plan, first)
                yield from (("rows", share, rows) for share, rows in samples)
                yield "closed", plan, None
                break
            except PointLost as lost:
                cells, plan = [cell for cell in cells if cell.label != lost.label], {}
                yield "lost", lost.label, str(lost)
        else:
            yield "nothing", None, None


def compile_ahead(blocks: Sequence[Block], begin: float = 0.0) -> Iterator[None]:
    """Run every kernel once at its smallest size, in every scope, dtype and mode: then its code lies ready in this process.

    begin: share of the kernels to leave for the end. Where processes begin apart, each finds in the cache what
    the others compiled. What raises here raises again where it is measured, with a name.
    """
    smallest: dict[tuple, GridPoint] = {}
    for cell in (cell for block in blocks for cell in block.cells):
        key = cell.kernel.name, cell.scope, cell.dtype, cell.mode, cell.threads
        smallest[key] = min(smallest.get(key, cell), cell, key=lambda point: point.n or 0)
    for extra in (*FLOORS.values(), CANARY):
        extra.run(1)
    cells, first = list(smallest.values()), int(begin * len(smallest))
    for cell in (*cells[first:], *cells[:first]):
        with suppress(Exception), quiet(cell.threads):
            short = replace(cell, n=cell.n and min(cell.n, ELEMENTS_ENOUGH))
            checked_case(short, {}, np.random.default_rng(0), check=False).run(1)
        yield


class StopEarly(Exception):
    """For `progress` to raise: the block is closed with the cells that have at least six rounds, the others are lost."""


def record_blocks(
    writer: RunWriter,
    blocks: Sequence[Block],
    seed: int | None,
    progress: bool | Callable = True,
    processes: int = 1,
    keep: bool = False,
    session: int = 1,
) -> None:
    """Measure every block that the run does not have yet; progress and time left go to stderr on a terminal.

    Several processes, fresh ones, share the rounds of each block, one process after the other through all blocks, so that
    minutes lie between the rounds of a case; one takes place here. All of them compile at the beginning, at the same time.
    seed: everything random, from fresh entropy if None. keep: an interrupted block of one process keeps what has six
    rounds, and the next call measures the rest of it as a block of its own. session: which of several, from 1; the
    processes of each have numbers of their own.
    """
    keep = keep and processes == 1
    blocks, first = [part for block in blocks for part in _parts(writer, block)], (session - 1) * processes + 1
    turns = {
        first + place: [b for i, b in enumerate(blocks) if b.divided or i % processes == place]
        for place in range(processes)
    }
    missing = {number: [b for b in turn if not writer.has(*b.key, number)] for number, turn in turns.items()}
    missing = {number: turn for number, turn in missing.items() if turn}
    total, done, plans = sum(_share_s(b, processes) for turn in missing.values() for b in turn), 0.0, {}
    with progress_bar(total, progress is True) as bar, ExitStack() as stack:
        if processes > 1:
            workers = {number: stack.enter_context(FreshProcess()) for number in missing}
            bar.set_description_str("compiling")
            for place, (number, worker) in enumerate(workers.items()):
                worker.begin(partial(compile_ahead, missing[number], place / len(workers)))
            for worker in workers.values():
                for _ in worker.items():
                    bar.refresh()

        def advance(block: Block, share: float) -> None:
            if share:
                bar.set_description_str(f"{block.topic}: {block.name}", refresh=False)
            bar.update(done + share * _share_s(block, processes) - bar.n)
            if callable(progress):
                progress((done + share * _share_s(block, processes)) / total)

        for number, turn in missing.items():
            entropy = drawn_seed(None if seed is None else seed + number)
            writer.note_process(number, entropy, session)
            lost = {}
            for one in writer.lost:
                lost.setdefault((one["topic"], one["block"]), set()).add(one["case"])
            job = partial(measure_part, Part(tuple(turn), number, processes, entropy, plans, lost))
            if processes > 1:
                workers[number].begin(job)
            messages = workers[number].items() if processes > 1 else job()
            for place, block in enumerate(turn):
                bar.set_description_str(f"{block.topic}: {block.name}, compiling and checking")
                try:
                    plan = _record(writer, block, number, messages, _parameters(blocks, block.topic), advance, keep)
                except StopEarly as ended:
                    messages.close()
                    if any(writer.has(*b.key) for b in blocks):  # else the run may be continued as a whole
                        for unfinished, cells in [(block, ended.args[0]), *((b, b.cells) for b in turn[place + 1 :])]:
                            for cell in cells:
                                reason = f"{cell.label} is left out, ended before it had {MIN_SAMPLES} rounds"
                                writer.lose(*unfinished.key, cell.label, reason)
                    raise
                plans.setdefault(block.key, plan)
                done += _share_s(block, processes)
            if processes > 1:
                workers[number].end()


def _share_s(block: Block, processes: int) -> float:
    """Seconds meant for the block in one process."""
    return block.budget_s / processes if block.divided else block.budget_s


def _record(
    writer: RunWriter,
    block: Block,
    process: int,
    messages: Iterator[tuple[str, Any, Any]],
    parameters: list[str],
    advance: Callable[[Block, float], None],
    keep: bool,
) -> dict[str, tuple[int, int]]:
    """Write one block, again without a cell that raises; of one that is ended, the cells with rounds enough."""
    while True:
        samples: list[dict] = []
        try:
            with writer.block(*block.key, parameters, process=process) as append:
                for kind, first, second in messages:
                    if kind == "rows":
                        append(lines := [{"block": block.name, "process": process, **row} for row in second])
                        samples += lines
                        advance(block, first)
                    elif kind == "lost":
                        raise _Unfinished(first, second)
                    elif kind == "nothing":
                        raise _Unfinished(None, None)
                    else:
                        return first
                raise RunError(f"measuring ended in block {block.name} of {block.topic}")
        except _Unfinished as unfinished:
            label, reason = unfinished.args
            if label is None:
                writer.cut_unfinished()
                return {}
            writer.lose(*block.key, label, reason)
            warnings.warn(reason, stacklevel=4)
        except StopEarly:
            raise StopEarly(_keep(writer, block, process, parameters, samples)) from None
        except KeyboardInterrupt:
            if keep:
                short = _keep(writer, block, process, parameters, samples)
                if writer.has(*block.key):
                    writer.note_unmeasured(*block.key, [cell.label for cell in short])
            raise


def _parts(writer: RunWriter, block: Block) -> Iterator[Block]:
    """The block, and after an interruption the rest of it as a block that goes on."""
    yield block
    if labels := writer.unmeasured(*block.key):
        rest = tuple(cell for cell in block.cells if cell.label in labels)
        yield from _parts(writer, replace(block, name=f"{block.name}, continued", cells=rest))


class _Unfinished(Exception):
    """A block that begins anew without a cell, for a reason, or (None, None) that has no cell left."""


def _keep(writer: RunWriter, block: Block, process: int, parameters: list[str], samples: list[dict]) -> list[GridPoint]:
    """Close a block that was ended early with the cells that have rounds enough for an interval; return the others."""
    gone = {one["case"] for one in writer.lost if (one["topic"], one["block"]) == block.key}
    cells = [cell for cell in block.cells if cell.label not in gone]
    names = sorted({name for cell in cells for name in cell.columns()})

    def point(columns: Mapping[str, Any]) -> tuple:
        return tuple(columns.get(name, "") for name in names)

    counts = Counter(map(point, samples))
    short = {point(cell.columns()): cell for cell in cells if counts[point(cell.columns())] < MIN_SAMPLES}
    writer.cut_unfinished()
    if len(short) < len(cells):
        with writer.block(*block.key, parameters, process=process) as append:
            append(row for row in samples if point(row) not in short)
    return list(short.values())


def _parameters(blocks: Sequence[Block], topic: str) -> list[str]:
    """Columns that only this topic's kernels have."""
    columns = {name for b in blocks if b.topic == topic for cell in b.cells for name in cell.columns()}
    return sorted(columns - COLUMNS.keys())
