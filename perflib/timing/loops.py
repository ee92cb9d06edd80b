"""The compiled lane: run a kernel many times inside machine code, so that Python's call costs nothing per run.

Three guards keep LLVM honest: a barrier after each run, so that runs cannot be merged; a consumer of the returned value, so
that pure work is not deleted; and numbers that are fresh in each run, so that pure work on them is not moved out of the
loop. Without the barrier an empty body costs nothing at all, because it is gone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, event
from numba.core.compiler import CompileResult
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload

from ..kernels.jit.compile import cached
from ..kernels.jit.vector import architecture

LONGEST_INLINED = 1000
"""Instructions of a kernel up to which it is compiled into the loop. LLVM inlines some tens."""


@intrinsic
def _barrier(typingctx):
    """Empty assembly that claims to touch all memory: no load or store moves across it."""

    def codegen(context, builder, signature, args):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        return context.get_dummy_value()

    return types.void(), codegen


def _register(kind):
    """The assembler's letter for the registers that hold such a number; None for anything that is no plain number."""
    if isinstance(kind, types.Integer):
        return "r"
    return {"x86_64": "x", "aarch64": "w"}.get(architecture()) if isinstance(kind, types.Float) else None


@intrinsic
def _consume(typingctx, value):
    """Empty assembly that claims to read the value: a number in its register, anything else by its address on the stack."""

    def codegen(context, builder, signature, args):
        if value == types.none:
            return context.get_dummy_value()
        operand, register = args[0], _register(value)
        if register is None:
            operand = cgutils.alloca_once_value(builder, operand)
        reads = f"{register or 'r'},~{{memory}}"
        builder.asm(ir.FunctionType(ir.VoidType(), [operand.type]), "", reads, [operand], True)
        return context.get_dummy_value()

    return types.void(value), codegen


@intrinsic
def _forget(typingctx, numbers):
    """The same tuple; if all are numbers, each by way of memory that assembly claims to change: to LLVM another per run."""
    are_numbers = all(isinstance(kind, types.Number | types.Boolean) for kind in numbers.types)

    def codegen(context, builder, signature, args):
        result = args[0]
        for i in range(len(numbers) if are_numbers else 0):
            address = cgutils.alloca_once_value(builder, builder.extract_value(result, i))
            builder.asm(ir.FunctionType(ir.VoidType(), [address.type]), "", "r,~{memory}", [address], True)
            result = builder.insert_value(result, builder.load(address), i)
        return result if are_numbers else impl_ret_borrowed(context, builder, numbers, result)

    return numbers(numbers), codegen


@intrinsic
def _opaque(typingctx, value):
    """The same value; a number goes through a register that assembly claims to change, so LLVM cannot foresee it."""
    register = _register(value)

    def codegen(context, builder, signature, args):
        if register is None:
            return impl_ret_borrowed(context, builder, value, args[0])
        kind = args[0].type
        return builder.asm(ir.FunctionType(kind, [kind]), "", f"={register},0", args, True)

    return value(value), codegen


@intrinsic
def _move(typingctx, args, offset, moves):
    """The tuple with the data of the arrays `offset` bytes further on, unless `moves` is 0: views without an owner."""

    are_chosen = isinstance(moves, types.UniTuple)

    def codegen(context, builder, signature, values):
        result, offset, moves = values
        for i, kind in enumerate(args):
            element = builder.extract_value(result, i)
            if isinstance(kind, types.Array):
                distance = builder.mul(offset, builder.extract_value(moves, i)) if are_chosen else offset
                array = context.make_array(kind)(context, builder, value=element)
                start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
                array.data = builder.bitcast(builder.gep(start, [distance]), array.data.type)
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                result = builder.insert_value(result, array._getvalue(), i)
            else:
                context.nrt.incref(builder, kind, element)
        return result

    return args(args, types.intp, moves), codegen


def _instructions(code: CompileResult) -> Iterator:
    """Of LLVM, in all functions that the code brings with it."""
    module = code.library._get_module_for_linking()
    return (instruction for function in module.functions for block in function.blocks for instruction in block.instructions)


@intrinsic
def _call(typingctx, kernel, args):
    """kernel(*args), by the address of its code."""
    signature = typingctx.resolve_function_type(kernel, args.types, {})
    code = kernel.dispatcher.overloads[args.types]

    def codegen(context, builder, _, values):
        address = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
        kind = context.call_conv.get_function_type(code.fndesc.restype, code.fndesc.argtypes)
        start = builder.inttoptr(context.get_constant(types.uintp, address), kind.as_pointer())
        values = cgutils.unpack_tuple(builder, values[1])
        status, result = context.call_conv.call_function(builder, start, signature.return_type, signature.args, values)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return signature.return_type(kernel, args), codegen


def _run(kernel, args):
    """kernel(*args) in one of two ways, chosen when the loop is compiled."""


@overload(_run, inline="always")
def _choose_run(kernel, args):
    """Short code becomes part of the loop where LLVM likes. Long code, which it never inlines, stays where it lies: a loop
    linked with a copy of it would take as long to compile as the kernel did, 6 s and more.
    """
    kernel.dispatcher.get_call_template(args.types, {})  # compiles
    code = kernel.dispatcher.overloads.get(args.types)  # none with arguments of any number or left to their defaults
    if code and len(list(islice(_instructions(code), LONGEST_INLINED + 1))) > LONGEST_INLINED:
        return lambda kernel, args: _call(kernel, args)
    return lambda kernel, args: kernel(*args)


@njit
def compiled_loop(kernel, reps, args):
    """Run kernel(*args) `reps` times; the kernel is a Numba dispatcher, args a tuple."""
    for _ in range(reps):
        _consume(_run(kernel, _forget(args)))
        _barrier()


@njit
def alternating_loop(kernel, reps, args, swapped):
    """Run kernel(*args) and kernel(*swapped) in turn, `reps` runs in all."""
    for i in range(reps):
        if i & 1:
            _consume(_run(kernel, swapped))
        else:
            _consume(_run(kernel, args))
        _barrier()


@njit
def chained_loop(kernel, reps, first, rest):
    """Feed the result of each run to the next as its first argument; returns the last one."""
    value = first
    for _ in range(reps):
        value = _run(kernel, (_opaque(value), *rest))
        _barrier()
    return value


@njit
def rotating_loop(kernel, reps, args, offsets, start, moves=()):
    """Run the kernel on one set of arrays after another; returns where the next batch goes on.

    moves: 0 for arrays that all sets share, 1 for the others.
    """
    position = start
    for _ in range(reps):
        _consume(_run(kernel, _move(args, offsets[position], moves)))
        _barrier()
        position += 1
        if position == len(offsets):
            position = 0
    return position


@njit
def _copy_row(room, contents, row):
    """By words: slices are copied byte by byte."""
    for j in range(len(room)):
        room[j] = contents[row, j]


@njit
def refilling_loop(kernel, reps, args, room, contents):
    """Fill the room of the arguments from the next row of `contents` before each run."""
    for i in range(reps):
        _copy_row(room, contents, i % len(contents))
        _barrier()
        _consume(_run(kernel, args))
        _barrier()


@njit
def copying_loop(reps, room, contents):
    """`refilling_loop` without the kernel."""
    for i in range(reps):
        _copy_row(room, contents, i % len(contents))
        _barrier()


def call_refilled(fn: Callable, reps: int, args: tuple, kwargs: dict, room: np.ndarray, contents: np.ndarray) -> None:
    """The same from Python."""
    for i in range(reps):
        np.copyto(room, contents[i % len(contents)])
        fn(*args, **kwargs)


def copy_each(reps: int, room: np.ndarray, contents: np.ndarray) -> None:
    """`call_refilled` without the call."""
    for i in range(reps):
        np.copyto(room, contents[i % len(contents)])


def call_each(fn: Callable, runs: Iterable[tuple]) -> None:
    """Call fn(*args) for each `args` of `runs`: the loop of `call` scope."""
    for args in runs:
        fn(*args)


def call_each_with(fn: Callable, runs: Iterable[tuple[tuple, dict]]) -> None:
    """Call fn(*args, **kwargs) for each pair of `runs`."""
    for args, kwargs in runs:
        fn(*args, **kwargs)


@cached
def empty_loop(reps):
    """The loop of `compiled_loop` around no kernel."""
    for _ in range(reps):
        _barrier()


@cached
def canary(steps):
    """`steps` rounds of Marsaglia's xorshift: six dependent operations each that no compiler can shorten, no memory."""
    state = np.uint64(88172645463325252)
    for _ in range(steps):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
    return state


def entry_point(loop: Callable, *args: Any) -> Callable:
    """The machine code of a loop for arguments of these types.

    Calling the loop by its name takes 6 us, and some tens after other work, to find the types of a dispatcher and a tuple:
    up to 3 % of a batch of a millisecond. The entry point takes 0.3 us.
    """
    signature = tuple(map(loop.typeof_pyval, args))
    loop.compile(signature)
    return loop.overloads[signature].entry_point


class _Count(event.Listener):
    """How many compilations were seen."""

    compiled = 0

    def on_start(self, event: event.Event) -> None:
        self.compiled += 1

    def on_end(self, event: event.Event) -> None:
        pass


@contextmanager
def compilations() -> Iterator[_Count]:
    """Count Numba's compile events inside the `with`, read as `.compiled` during and after it."""
    count = _Count()
    with event.install_listener("numba:compile", count):
        yield count
