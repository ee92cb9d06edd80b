"""Measure latency by a pointer chase: each load gives the address of the next one, so nothing can be fetched ahead.

Contract: memory is int64; the element at a place holds the position of the next one. A cursor is an array of one element,
the position of its chain, and moves on; cursors start spaced evenly along the cycle. Fixed strides are fetched ahead by
hardware, a random cycle is not; and it is one cycle, where a random permutation has many, some of them short. With
least-recently-used replacement a cycle that is a line too long for its sets misses all the time: edges are sharp.

    >>> cycle = link(np.zeros(64, np.int64), links=8)
    >>> chase(cycle, steps=8), chase(cycle, steps=16)
    (0, 0)

Source of the cycle: Sattolo, Information Processing Letters 22 (1986). Raises TypeError or ValueError naming the argument.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..caches import LINE_BYTES
from ..checks import positive_integer
from ..jit.compile import compiled

_ITEM = 8


class Cycle(NamedTuple):
    """A random cycle in memory, and where its chains are."""

    memory: np.ndarray
    cursors: tuple[np.ndarray, ...]
    links: int
    stride: int
    """Bytes from place to place."""


@compiled
def _place(number, stride):
    """Element at which a place begins."""
    return number * stride // _ITEM


@compiled
def _link(memory, links, stride):
    """Sattolo's cycle by Marsaglia's xorshift, the same for the same arguments."""
    for i in range(links):
        memory[_place(i, stride)] = _place(i, stride)
    state = np.uint64(88172645463325252)
    for i in range(links - 1, 0, -1):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        j = np.int64(state % np.uint64(i))
        here, there = _place(i, stride), _place(j, stride)
        memory[here], memory[there] = memory[there], memory[here]


@compiled
def _settle(memory, cursors, links):
    """Where the walk ends, which is where it began: a walk that led nowhere would be optimised away."""
    position = np.int64(0)
    for chain in range(len(cursors)):
        cursors[chain][0] = position
        for _ in range(links * chain // len(cursors), links * (chain + 1) // len(cursors)):
            position = memory[position]
    return position


@intrinsic
def _walk(typingctx, memory, cursors, rounds):
    """Every chain one step, `rounds` times; positions stay in registers as far as those reach."""

    def codegen(context, builder, signature, args):
        data = context.make_array(memory)(context, builder, value=args[0]).data
        values = [builder.extract_value(args[1], i) for i in range(cursors.count)]
        starts = [context.make_array(cursors.dtype)(context, builder, value=value).data for value in values]
        chains = [cgutils.alloca_once_value(builder, builder.load(start)) for start in starts]
        with cgutils.for_range(builder, args[2]):
            for chain in chains:
                builder.store(builder.load(builder.gep(data, [builder.load(chain)])), chain)
        total = ir.Constant(ir.IntType(64), 0)
        for chain, start in zip(chains, starts, strict=True):
            position = builder.load(chain)
            builder.store(position, start)
            total = builder.add(total, position)
        return total

    return types.int64(memory, cursors, rounds), codegen


@compiled
def _chase(memory, cursors, steps):
    """The sum of the positions that the chains reach."""
    return _walk(memory, cursors, steps // len(cursors))


def link(memory: np.ndarray, links: int, stride: int = LINE_BYTES, chains: int = 1) -> Cycle:
    """Write a random cycle into memory and walk it once: what fits into a cache is there. stride: at least 8 bytes."""
    positive_integer("links", links)
    if positive_integer("stride", stride) < _ITEM:
        raise ValueError(f"stride must be at least {_ITEM} bytes, got {stride}")
    if positive_integer("chains", chains) > links:
        raise ValueError(f"chains must be at most {links}, the number of links, got {chains}")
    _elements(memory)
    if memory.size < (least := (links - 1) * stride // _ITEM + 1):
        raise ValueError(f"memory must have at least {least} elements, got {memory.size}")
    cycle = Cycle(memory, tuple(np.zeros(1, np.int64) for _ in range(chains)), int(links), int(stride))
    relink(cycle)
    return cycle


def relink(cycle: Cycle) -> None:
    """Write the cycle anew, walk it once from its first place on, and space the cursors evenly along it."""
    _link(cycle.memory, cycle.links, cycle.stride)
    _settle(cycle.memory, cycle.cursors, cycle.links)


def chase(cycle: Cycle, steps: int) -> int:
    """Walk `steps` loads, a multiple of the number of chains; the sum of the positions reached."""
    memory, cursors = cycle.memory, cycle.cursors
    _elements(memory)
    for name, positions in (("memory", memory), *(("cursors", cursor) for cursor in cursors)):
        if positions.min() < 0 or positions.max() >= memory.size:  # compiled code would follow it
            raise ValueError(f"{name} must hold positions from 0 to {memory.size - 1}, got {positions.min()}")
    if positive_integer("steps", steps) % len(cursors):
        raise ValueError(f"steps must be a multiple of {len(cursors)}, the number of chains, got {steps}")
    return _chase(memory, cursors, steps)


def _elements(memory: np.ndarray) -> None:
    if not isinstance(memory, np.ndarray) or memory.dtype != np.int64 or memory.ndim != 1 or not memory.flags.c_contiguous:
        kind = f"{memory.dtype} of shape {memory.shape}" if isinstance(memory, np.ndarray) else type(memory).__name__
        raise TypeError(f"memory must be a contiguous vector of int64, got {kind}")
