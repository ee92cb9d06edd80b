"""Functions of anybody as kernels of a sweep: their names, their arguments, and what counts their work.

    named([f, g])                           the functions by name
    inputs(make, axes)                      `make` as the description of a kernel has it
    subject("f", f, made, params, keywords) f as a kernel, with the chosen values of its keywords

A name that perflib uses itself is recorded with parentheses behind it, so that no table takes one for the other.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..display.text import on_one_line
from ..kernels.catalog import KERNELS, find
from ..kernels.description import Kernel, uncounted
from ..runs.described import HIDDEN
from ..timing.case import is_compiled
from .axes import Axis

Function = Callable[..., Any] | str | Kernel
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def named(kernels: Mapping[str, Function] | Sequence[Function]) -> dict[str, Function]:
    """The functions by name; ValueError where there are none or two of one name, TypeError for what is no function."""
    if callable(kernels) or isinstance(kernels, str | Kernel):
        raise TypeError(f"kernels must be a dictionary or a list, got {kernels!r}; write {{'name': function}}")
    pairs = kernels.items() if isinstance(kernels, Mapping) else [(_own_name(one), one) for one in kernels]
    by_name: dict[str, Function] = {}
    lines: set[str] = set()
    for name, function in pairs:
        if not callable(function) and not isinstance(function, str | Kernel):
            raise TypeError(f"kernels must be functions, got {type(function).__name__} {function!r}")
        is_taken = isinstance(function, Kernel) and function.name in HIDDEN and function.name == name
        if (
            is_taken
            or (by_name.get(name, function) is not function)
            or (name not in by_name and on_one_line(name) in lines)
        ):
            reason = "which is taken" if is_taken else "twice"
            raise ValueError(f"kernels must have names of their own, got {name!r} {reason}; name them in a dictionary")
        by_name[name] = function
        lines.add(on_one_line(name))
    if not by_name:
        raise ValueError("kernels must not be empty")
    return by_name


def _own_name(function: Function) -> str:
    """The name of a function that is given without one."""
    if isinstance(function, str):
        return function
    if callable(function) and (kernel := find(function)):
        return kernel.name
    return str(getattr(function, "name", getattr(function, "__name__", type(function).__name__)))


def is_described(function: Function, make: Callable[..., Any] | None) -> bool:
    """Whether a description says what the arguments are; ValueError where neither it nor `make` does."""
    if isinstance(function, str | Kernel):
        return True
    if make is None and find(function) is None:
        raise ValueError(
            f"kernels must be described, got {function!r}; pass make=lambda n: ..., which returns its argument"
        )
    return make is None


def recorded(name: str, function: Function) -> str:
    """The name in the table of a run."""
    entry = function if isinstance(function, Kernel) else find(function)
    is_free = name not in HIDDEN and (name not in KERNELS or entry is KERNELS[name])
    return name if is_free or (isinstance(function, Kernel) and function.name == name) else f"{name}()"


def require_keywords(name: str, function: Callable[..., Any], keywords: Iterable[str]) -> None:
    """Refuse a keyword that neither `make` nor the function has."""
    parameters = takes(function)
    if parameters and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        for key in keywords:
            if key not in parameters:
                raise ValueError(f"{key} must be a parameter of make or of {name}, which takes {', '.join(parameters)}")


def inputs(make: Callable[..., Any] | None, axes: Mapping[str, Axis]) -> Callable[..., tuple]:
    """`make(n, dtype, rng, **codes)` for a user's make of (n), (n, rng) or (n, dtype, rng) and keywords that are axes."""
    if make is None:
        return lambda *_, **__: ()
    order = _order(make, axes)

    def made(n: int, dtype: str, rng: Any, **codes: int) -> tuple:
        given = {"n": axes["n"].value(n), "dtype": dtype, "rng": rng}
        chosen = {name: axes[name].value(code) for name, code in codes.items()}
        args = make(*(given[name] for name in order), **chosen)
        if isinstance(args, Iterator):
            raise TypeError(f"make must return arguments that last, got a {type(args).__name__}; return a list of it")
        return args if type(args) is tuple else (args,)

    return made


def takes(function: Callable[..., Any] | None) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function by name; none where Python does not know them."""
    if function is None:
        return {}
    try:
        return inspect.signature(getattr(function, "py_func", function)).parameters
    except (TypeError, ValueError):  # built in
        return {}


def takes_dtype(make: Callable[..., Any] | None, axes: Mapping[str, Axis]) -> bool:
    """Whether a user's make depends on the type of the numbers."""
    return make is not None and "dtype" in _order(make, axes)


def _order(make: Callable[..., Any], axes: Mapping[str, Axis]) -> list[str]:
    """What each positional parameter of a user's make gets: `n`, `dtype` or `rng`."""
    if not callable(make):
        raise TypeError(f"make must be a function of n, got {make!r}; write make=lambda n: ...")
    names = [
        name
        for place, (name, parameter) in enumerate(takes(make).items())
        if parameter.kind in POSITIONAL and name not in axes.keys() - {"n", "dtype"}
        if place == 0 or parameter.default is parameter.empty or name in ("dtype", "rng")
    ]
    if len(names) > 3:
        raise TypeError(f"make must take (n), (n, rng) or (n, dtype, rng), got {', '.join(names)}")
    free = [name for name in (["rng"], ["dtype", "rng"])[len(names) > 2] if name not in names]
    return ["n", *(name if name in ("dtype", "rng") else free.pop(0) for name in names[1:])]


def subject(
    name: str,
    function: Callable[..., Any],
    make: Callable[..., tuple],
    params: Mapping[str, int],
    keywords: Mapping[str, tuple[int, Any]],
    flops: Callable[..., Any] | float | None = None,
    bytes: Callable[..., Any] | float | None = None,
    exact: Callable[..., tuple] | None = None,
    output: int | None = None,
    sizes: Axis | None = None,
) -> Kernel:
    """The function as a kernel. params: codes of what `make` takes; keywords: code and value of what the function takes."""
    values = {key: value for key, (_, value) in keywords.items()}
    kinds = [takes(function).get(key) for key in values]
    count = len(values)
    if count and all(kind is not None and kind.kind in POSITIONAL for kind in kinds):
        call, arrange = function, partial(_bound, function, values)
    else:
        call, arrange = (partial(function, **values) if count else function), lambda *args: args[: len(args) - count]
    return Kernel(
        name,
        call,
        make,
        flops=uncounted if flops is None else partial(_amount, flops, sizes),
        bytes=uncounted if bytes is None else partial(_amount, bytes, sizes),
        compiled=call if is_compiled(call) else None,
        exact=exact,
        output=output,
        params=dict(params),
        tuning={key: code for key, (code, _) in keywords.items()},
        unchecked=arrange,
        native=arrange,
    )


def _bound(function: Callable[..., Any], values: Mapping[str, Any], *args: Any) -> tuple:
    """All arguments by position: compiled code takes no keywords. The codes behind the arguments are dropped."""
    bound = inspect.signature(getattr(function, "py_func", function)).bind(*args[: len(args) - len(values)], **values)
    bound.apply_defaults()
    return bound.args


def _amount(count: Callable[..., Any] | float, sizes: Axis | None, n: int, itemsize: int = 0, **_: int) -> int:
    """A user's count of work: a number, a function of n, or of n and the size of an element."""
    if not callable(count):
        return int(count)
    size = sizes.value(n) if sizes else n
    return int(count(size, itemsize) if itemsize and len(takes(count)) > 1 else count(size))
