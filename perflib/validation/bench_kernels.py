"""Plan the comparisons of `perflib bench`: which kernels, on which sizes, for how long, and the rows that result.

Every step is one session. A step is left out where this machine lacks what it needs (a library, a second core).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..hardware.facts import Machine
from ..hardware.limits import copy_elements
from ..kernels.buffers import aligned_empty, aligned_random
from ..kernels.catalog import find
from ..kernels.description import Kernel
from ..kernels.gemm.blocked import default_blocks
from ..kernels.gemm.microkernel import register_tile
from ..kernels.jit.compile import compiled
from ..kernels.jit.simd import lanes, load, splat, total
from ..kernels.probes.peak import FMA_PEAK_OPS
from ..runs.grid import GridPoint
from .head_to_head import Row, Step, of_shape, run_head_to_head, side_by_side

LIBRARY, BEST, PEAK = "matmul / library", "matmul / best library", "matmul / multiply-add peak"
LAYER, TRANSPOSED = "LLM shape / best library", "transposed / best library"
STACK, ALL_SIZES = "stack of small matrices / NumPy", "every size / best library"
DOUBLE_BEST = "float64 matmul / best library"
ODD, DOUBLE, THREADS = "odd shape / NumPy", "float64 matmul / NumPy", "two threads / one"
BLOCKS = "blocks by the model / best of a sweep"
CORE, LOADS = "norm in L1 / 1.5 cycles per 16 elements", "norm in L1 / its loads at the speed of L1"
COPY, STANDARD = "norm, rows in memory / copy bandwidth", "norm / standard"
TORCH, FUSED = "norm / PyTorch", "residual fused / add, then norm"

OURS, PACKED, NORM = "matmul", "matmul_packed", "rms_norm"
"""The fastest variants."""

SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
QUICK_SIZES = (32, 64, 96, 128, 256, 512)
QUICK_SHAPES = ((97, 97, 97), (127, 255, 511), (1000, 37, 513), (640, 1000, 17))  # M, K, N
SHAPES = ((33, 33, 33), *QUICK_SHAPES, (3, 2048, 2048), (2048, 2048, 3))
SHAPES += ((1, 4096, 4096), (513, 513, 513), (1023, 769, 1025))
ROWS = (1, 4, 16, 64, 256)  # tokens that meet the weights of a layer
WEIGHTS = ((768, 2048), (2048, 2048), (4096, 4096), (4096, 11008), (11008, 4096))  # K, N
TRANSPOSED_SIZES = (64, 256, 1024)
STACK_SIZES, STACK_HEIGHT = (8, 16, 32), 10_000
NEAR_SIZES = {n for power in range(4, 12) for n in (2**power - 1, 2**power, 2**power + 1)}
EVERY_SIZE = tuple(sorted({*range(16, 2049, 16), *NEAR_SIZES}))
NORM_SIZES = (512, 1024, 2048, 4096)
WIDTH = 2048  # of the rows of a batch, and of the norm that is compared with the bounds
IN_L1 = 4096  # float32 that L1 holds on every machine, 16 KiB
BLOCK_SIZES = (1024, 2048)
LARGE = 2048  # of the matmul on two threads


def plan(quick: bool, libraries: Sequence[str], machine: Machine) -> list[Step]:
    """Every step in the order of the table; libraries by the prefixes of their kernels."""
    budget_s = 0.3 if quick else 3.0
    sizes, shapes = (QUICK_SIZES, QUICK_SHAPES) if quick else (SIZES, SHAPES)
    steps: list[Step] = [(f"matmul, n = {n}", partial(_square, n, libraries, budget_s)) for n in sizes]
    steps += [(f"matmul, {' x '.join(map(str, shape))}", partial(_odd, shape, budget_s)) for shape in shapes]
    steps += [(f"float64 matmul, n = {n}", partial(_double, n, libraries, budget_s)) for n in sizes]
    layers = [(m, *weights) for weights in (WEIGHTS[:1] if quick else WEIGHTS) for m in ROWS]
    steps += [(f"LLM shape, {' x '.join(map(str, one))}", partial(_layer, one, libraries, budget_s)) for one in layers]
    for n in TRANSPOSED_SIZES[:2] if quick else TRANSPOSED_SIZES:
        steps.append((f"transposed, n = {n}", partial(_transposed, n, libraries, budget_s)))
    stacks = [(n, dtype) for n in STACK_SIZES for dtype in ("float32", "float64")]
    steps += [(f"stack of {n} x {n}, {dtype}", partial(_stack, n, dtype, budget_s)) for n, dtype in stacks]
    every = EVERY_SIZE[::16] if quick else EVERY_SIZE
    steps += [(f"every size, n = {n}", partial(_any_size, n, libraries, budget_s / 3)) for n in every]
    if machine.logical_cpus > 1 and _takes(OURS, "threads"):
        steps.append(("two threads", partial(_two_threads, budget_s)))
    steps += [(f"blocks, n = {n}", partial(_blocks, n, 2 * budget_s)) for n in (BLOCK_SIZES[:1] if quick else BLOCK_SIZES)]
    steps.append(("norm in L1", partial(_in_core, 2 * budget_s)))
    rows = copy_elements(machine) // WIDTH
    steps.append(("norm, rows in memory", partial(_in_memory, rows, 2 * budget_s)))
    steps += [(f"norm against the standard one, n = {n}", partial(_standard, n, budget_s)) for n in NORM_SIZES[:3]]
    if "torch" in libraries:
        steps += [(f"norm against PyTorch, n = {n}", partial(_torch, n, budget_s)) for n in NORM_SIZES]
    if _takes(NORM, "residual"):
        steps.append(("residual fused", partial(_fused, rows, 2 * budget_s)))
    return steps


def _takes(name: str, parameter: str) -> bool:
    """Whether the public function of a kernel has such a parameter."""
    return parameter in inspect.signature(find(name).call).parameters


def calls_ns(libraries: Sequence[str]) -> dict[str, float]:
    """Nanoseconds of a multiplication of 1 x 1 by each library: next to nothing but the call."""
    cells = {name: GridPoint(find(f"{name}_matmul"), 1, "call") for name in libraries}
    contest = run_head_to_head(list(cells.values()), 0.3)
    return {name: contest.session.gross(cell.label).value for name, cell in cells.items()}


def _square(n: int, libraries: Sequence[str], budget_s: float) -> list[Row]:
    """Against every library as a user calls them, and the compiled kernel against the peak, all in the same rounds."""
    ours, inner = (GridPoint(find(OURS), n, scope) for scope in ("call", "kernel"))
    peers = [GridPoint(find(f"{name}_matmul"), n, "call") for name in libraries]
    peak = GridPoint(find("fma_peak"), FMA_PEAK_OPS)
    pairs = [*((peer.label, ours.label) for peer in peers), (peak.label, inner.label)]
    contest = run_head_to_head([ours, inner, *peers, peak], budget_s, pairs)
    best = contest.fastest(peers)
    rows = [contest.row(what, ours, peer) for what, peer in (*((LIBRARY, peer) for peer in peers), (BEST, best))]
    work = inner.kernel.flops(n) / peak.kernel.flops(FMA_PEAK_OPS)
    return [*rows, contest.row(PEAK, inner, peak, contest.speed(inner, peak, work))]


def _pair(what: str, ours: GridPoint, peer: GridPoint, budget_s: float, n: int | str | None = None) -> list[Row]:
    return [run_head_to_head([ours, peer], budget_s).row(what, ours, peer, n=n)]


def _odd(shape: tuple[int, int, int], budget_s: float) -> list[Row]:
    make = of_shape(*shape)
    ours, peer = (GridPoint(replace(find(name), make=make), shape[2], "call") for name in (OURS, "numpy_matmul"))
    return _pair(ODD, ours, peer, budget_s, "x".join(map(str, shape)))


def _double(n: int, libraries: Sequence[str], budget_s: float) -> list[Row]:
    ours, *peers = (GridPoint(find(name), n, "call", "float64") for name in (OURS, *_products(libraries)))
    contest = run_head_to_head([ours, *peers], budget_s)
    return [contest.row(DOUBLE, ours, peers[0]), contest.row(DOUBLE_BEST, ours, contest.fastest(peers))]


def _products(libraries: Sequence[str]) -> list[str]:
    """Names of the multiplications of libraries, NumPy's first."""
    return [f"{name}_matmul" for name in sorted(libraries, key="numpy".__ne__)]


def _against_best(
    what: str, make: Callable[..., tuple] | None, n: int, label: str | int, libraries: Sequence[str], budget_s: float
) -> list[Row]:
    """A row against the fastest library, all on the arrays of `make`."""
    kernels = (find(name) for name in (OURS, *_products(libraries)))
    ours, *peers = (GridPoint(replace(kernel, make=make or kernel.make), n, "call") for kernel in kernels)
    contest = run_head_to_head([ours, *peers], budget_s)
    return [contest.row(what, ours, contest.fastest(peers), n=label)]


def _layer(shape: tuple[int, int, int], libraries: Sequence[str], budget_s: float) -> list[Row]:
    return _against_best(LAYER, of_shape(*shape), shape[2], "x".join(map(str, shape)), libraries, budget_s)


def _any_size(n: int, libraries: Sequence[str], budget_s: float) -> list[Row]:
    return _against_best(ALL_SIZES, None, n, n, libraries, budget_s)


def _transposed(n: int, libraries: Sequence[str], budget_s: float) -> list[Row]:
    """A^T B, then A B^T."""
    rows = []
    for which, label in ((0, "A^T B"), (1, "A B^T")):
        make = partial(_in_columns, which)
        rows += _against_best(TRANSPOSED, make, n, f"{label}, {n}", libraries, budget_s)
    return rows


def _in_columns(which: int, n: int, dtype: str, rng: np.random.Generator) -> tuple:
    """Square matrices of which this one lies in columns."""
    factors = [aligned_random((n, n), dtype, rng) for _ in range(2)]
    factors[which] = factors[which].T
    return *factors, aligned_empty((n, n), dtype)


def _stack(n: int, dtype: str, budget_s: float) -> list[Row]:
    """Ten thousand pairs of n x n matrices in one call."""

    def make(n: int, dtype: str, rng: np.random.Generator) -> tuple:
        shape = STACK_HEIGHT, n, n
        return aligned_random(shape, dtype, rng), aligned_random(shape, dtype, rng), aligned_empty(shape, dtype)

    ours, peer = (
        GridPoint(replace(find(name), make=make, exact=_stack_exact), n, "call", dtype) for name in (OURS, "numpy_matmul")
    )
    return _pair(STACK, ours, peer, budget_s, f"{STACK_HEIGHT} of {n}x{n}")


def _stack_exact(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As for two matrices."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    return a64 @ b64, (a.shape[-1] + 2) * np.finfo(a.dtype).eps * (abs(a64) @ abs(b64))


def _two_threads(budget_s: float) -> list[Row]:
    one = find(OURS)
    two = GridPoint(replace(one, name=f"{OURS}, two threads", call=partial(one.call, threads=2)), LARGE, "call")
    single = GridPoint(replace(one, name=f"{OURS}, one thread"), LARGE, "call")
    return [run_head_to_head([two, single], budget_s, threads=2).row(THREADS, two, single)]


def _blocks(n: int, budget_s: float) -> list[Row]:
    """The packed matmul with the blocks of the model, against the best of a sweep around them."""
    kernel, model = find(PACKED), default_blocks(np.dtype("float32"))
    values = (dict(zip(kernel.tuning, blocks, strict=True)) for blocks in dict.fromkeys(_around(model)))
    ours, *others = (GridPoint(kernel, n, values=each) for each in values)
    contest = run_head_to_head([ours, *others], budget_s)
    best = contest.fastest(others)
    name = f"{PACKED}, {' x '.join(str(best.values[name]) for name in kernel.tuning)}"
    return [contest.row(BLOCKS, ours, name, contest.speed(ours, best))]


def _around(model: Sequence[int]) -> list[tuple[int, ...]]:
    """The blocks of the model first, then MC, KC and NC by other factors, in whole register tiles."""
    mr, nr = register_tile("float32")
    factors = [(1, 1, 1), (0.5, 1, 1), (2, 1, 1), (1, 0.25, 1), (1, 0.5, 1), (1, 2, 1), (1, 1, 0.25), (1, 1, 0.5)]
    factors += [(1, 1, 2), (2, 0.5, 1), (0.5, 2, 1), (1, 0.5, 2), (1, 2, 0.5)]
    sizes = [tuple(round(b * f) for b, f in zip(model, each, strict=True)) for each in factors]
    return [tuple(max(u, b // u * u) for u, b in zip((mr, 16, nr), blocks, strict=True)) for blocks in sizes]


def _in_core(budget_s: float) -> list[Row]:
    """A row that stays in L1, against a bound counted in cycles and against what L1 was seen to deliver."""
    ours = GridPoint(replace(find(NORM), make=side_by_side), WIDTH)
    loads = GridPoint(L1_LOADS, IN_L1)
    contest = run_head_to_head([ours, loads], budget_s)
    work = 3 * WIDTH * 4 / L1_LOADS.bytes(IN_L1, 4)  # x twice, the weights once
    core = contest.row(CORE, ours, "bound", contest.share_of(1.5 * WIDTH / 16, ours))
    return [core, contest.row(LOADS, ours, loads, contest.speed(ours, loads, work))]


def _in_memory(rows: int, budget_s: float) -> list[Row]:
    """A batch that no cache holds, counted bytes per second against those of every copy there is."""
    ours = GridPoint(find(NORM), WIDTH, values={"rows": rows})
    elements = rows * WIDTH
    plain = find("copy_loop")
    explicit = [replace(plain, name=name, compiled=find(name).compiled) for name in ("memory_copy", "memory_copy_nt")]
    copies = [*(GridPoint(copy, elements) for copy in (plain, *explicit)), GridPoint(find("numpy_copy"), elements, "call")]
    contest = run_head_to_head([ours, *copies], budget_s)
    best = contest.fastest(copies)
    work = ours.kernel.bytes(WIDTH, 4, rows=rows) / best.kernel.bytes(elements, 4)
    return [contest.row(COPY, ours, best, contest.speed(ours, best, work), f"{rows}x{WIDTH}")]


def _standard(n: int, budget_s: float) -> list[Row]:
    cells = (GridPoint(replace(find(name), make=side_by_side), n) for name in (NORM, "rms_norm_standard"))
    return _pair(STANDARD, *cells, budget_s)


def _torch(n: int, budget_s: float) -> list[Row]:
    return _pair(TORCH, *(GridPoint(find(name), n, "call") for name in (NORM, "torch_rms_norm")), budget_s)


def _fused(rows: int, budget_s: float) -> list[Row]:
    """The residual updated and normalised row by row, against all of it updated and then normalised, out of every cache."""
    norm = find(NORM).call

    def fused(x: np.ndarray, weight: np.ndarray, eps: float, residual: np.ndarray, out: np.ndarray) -> None:
        norm(x, weight, eps, out, residual=residual)

    def one_after_the_other(x: np.ndarray, weight: np.ndarray, eps: float, residual: np.ndarray, out: np.ndarray) -> None:
        _add(x, residual)
        norm(residual, weight, eps, out)

    both = replace(
        find(NORM),
        name=f"{NORM}, residual",
        call=fused,
        make=_with_residual,
        exact=lambda x, weight, eps, residual, out: find(NORM).exact(x + residual, weight, eps, out),
        output=4,
        prepare=lambda x, weight, eps, residual, out: residual.fill(1),
    )
    apart = replace(both, name=f"add, then {NORM}", call=one_after_the_other)
    return _pair(FUSED, *(GridPoint(kernel, WIDTH, "call", values={"rows": rows}) for kernel in (both, apart)), budget_s)


def _with_residual(n: int, dtype: str, rng: np.random.Generator, rows: int) -> tuple:
    """x, weight, eps, a residual of ones, to which every run adds x once more, and out."""
    x, weight, eps, out = find(NORM).make(n, dtype, rng, rows=rows)
    residual = aligned_empty(x.shape, dtype)
    residual.fill(1)
    return x, weight, eps, residual, out


@compiled
def _add(x, residual):
    """residual += x, (rows, n), with the plain stores that the fused one has too."""
    for r in range(x.shape[0]):
        added, total = x[r], residual[r]
        for j in range(x.shape[1]):
            total[j] += added[j]


@compiled
def _loads(x, passes):
    """The sum of x, (n,), again and again from L1, eight sums in flight; n in steps of eight vectors."""
    step = lanes(x)
    s0, s1, s2, s3 = splat(0, x), splat(0, x), splat(0, x), splat(0, x)
    s4, s5, s6, s7 = splat(0, x), splat(0, x), splat(0, x), splat(0, x)
    for _ in range(passes):
        for i in range(0, x.size, 8 * step):
            j = i + 4 * step
            s0, s1, s2, s3 = s0 + load(x, i), s1 + load(x, i + step), s2 + load(x, i + 2 * step), s3 + load(x, i + 3 * step)
            s4, s5, s6, s7 = s4 + load(x, j), s5 + load(x, j + step), s6 + load(x, j + 2 * step), s7 + load(x, j + 3 * step)
    return total(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))


PASSES = 16  # the sum of the lanes is then below a hundredth of it
L1_LOADS = Kernel(
    "L1 loads",
    _loads,
    compiled=_loads,
    make=lambda n, dtype, rng: (aligned_random(n, dtype, rng), PASSES),
    exact=lambda x, passes: (
        np.array(passes * x.sum(dtype=np.float64)),
        passes * x.size * np.finfo(x.dtype).eps * abs(x).sum(dtype=np.float64),
    ),
    flops=lambda n: PASSES * n,
    bytes=lambda n, itemsize: PASSES * n * itemsize,
)
