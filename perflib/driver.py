"""The compiled lane: run a kernel many times inside machine code, so that Python's call costs nothing per run.

    compiled_loop(kernel, reps, args)   for _ in range(reps): kernel(*args)
    empty_loop(reps)                    the same loop around nothing: its cost is the floor of `kernel` scope
    canary(steps)                       a fixed chain of dependent integer steps: sees frequency and stolen time
    compilations()                      context manager: counts what Numba compiles meanwhile

Three guards keep LLVM honest: a barrier after each run, so that runs cannot be merged; a consumer of the returned value, so
that pure work is not deleted; and numbers that are fresh in each run, so that pure work on them is not moved out of the
loop. Without the barrier an empty body costs nothing at all, because it is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, event
from numba.extending import intrinsic, overload

__all__ = ["canary", "compilations", "compiled_loop", "empty_loop"]


@intrinsic
def _barrier(typingctx):
    """Empty assembly that claims to touch all memory: no load or store moves across it."""

    def codegen(context, builder, signature, args):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _consume(typingctx, value):
    """Empty assembly that claims to read the value, by its address on the stack."""

    def codegen(context, builder, signature, args):
        address = cgutils.alloca_once_value(builder, args[0])
        builder.asm(ir.FunctionType(ir.VoidType(), [address.type]), "", "r,~{memory}", [address], True)
        return context.get_dummy_value()

    return types.void(value), codegen


@intrinsic
def _forget(typingctx, numbers):
    """The same tuple of numbers, each by way of memory that assembly claims to change: to LLVM another one per run."""

    def codegen(context, builder, signature, args):
        result = args[0]
        for i in range(len(numbers)):
            address = cgutils.alloca_once_value(builder, builder.extract_value(result, i))
            builder.asm(ir.FunctionType(ir.VoidType(), [address.type]), "", "r,~{memory}", [address], True)
            result = builder.insert_value(result, builder.load(address), i)
        return result

    return numbers(numbers), codegen


def _loop(kernel, reps, args):
    """The body of `compiled_loop`, chosen by the types of the arguments when it is compiled."""


@overload(_loop)
def _choose_loop(kernel, reps, args):
    def loop(kernel, reps, args):
        for _ in range(reps):
            _consume(kernel(*args))
            _barrier()

    def loop_over_numbers(kernel, reps, args):
        for _ in range(reps):
            _consume(kernel(*_forget(args)))
            _barrier()

    only_numbers = all(isinstance(kind, (types.Number, types.Boolean)) for kind in args.types)
    return loop_over_numbers if only_numbers else loop


@njit
def compiled_loop(kernel, reps, args):
    """Run kernel(*args) `reps` times; the kernel is a Numba dispatcher, args a tuple."""
    _loop(kernel, reps, args)


@njit(cache=True)
def empty_loop(reps):
    """The loop of `compiled_loop` around no kernel."""
    for _ in range(reps):
        _barrier()


@njit(cache=True)
def canary(steps):
    """`steps` rounds of Marsaglia's xorshift: six dependent operations each that no compiler can shorten, no memory."""
    state = np.uint64(88172645463325252)
    for _ in range(steps):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
    return state


class _Count:
    """How many compilations were seen."""

    compiled = 0


@contextmanager
def compilations() -> Iterator[_Count]:
    """Count Numba's compile events inside the `with`, read as `.compiled` during and after it."""
    count = _Count()

    class Listener(event.Listener):
        def on_start(self, event: event.Event) -> None:
            count.compiled += 1

        def on_end(self, event: event.Event) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield count
