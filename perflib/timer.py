"""Measure time with a stopwatch in integer nanoseconds, and measure what the clock itself costs.

    >>> ticks = iter([1_000, 3_500_000])
    >>> Timer(clock=lambda: next(ticks)).elapsed_ms()
    3.499

Raises `ValueError` where a count of readings is below one.
"""

import time
from collections.abc import Callable
from itertools import pairwise

Clock = Callable[[], int]
"""A function without arguments that returns integer nanoseconds and never runs backwards."""


class Timer:
    """A stopwatch: runs from its creation; as a context manager, from entry to exit.

    Inside `with` the elapsed time grows; after it, the time is frozen.
    """

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._clock = clock
        self._stop: int | None = None
        self._start = clock()

    @classmethod
    def start_timer(cls, clock: Clock = time.perf_counter_ns) -> "Timer":
        """A stopwatch that starts now (the name that the original engine uses)."""
        return cls(clock)

    def elapsed_ns(self) -> int:
        """Integer nanoseconds since the start, or from entry to exit of a finished `with`."""
        return (self._clock() if self._stop is None else self._stop) - self._start

    def elapsed_us(self) -> float:
        """Microseconds, exact to the nanosecond."""
        return self.elapsed_ns() / 1e3

    def elapsed_ms(self) -> float:
        """Milliseconds, exact to the nanosecond."""
        return self.elapsed_ns() / 1e6

    def __repr__(self) -> str:
        return f"Timer: {self.elapsed_ms():.6g} ms{' so far' if self._stop is None else ''}"

    def __enter__(self) -> "Timer":
        self._stop = None
        self._start = self._clock()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop = self._clock()


def clock_step_ns(clock: Clock = time.perf_counter_ns, readings: int = 10_000) -> int:
    """Smallest difference above zero between neighbouring readings; 0 if the clock never moved."""
    steps = [later - earlier for earlier, later in pairwise(_readings(clock, readings)) if later > earlier]
    return min(steps, default=0)


def clock_cost_ns(clock: Clock = time.perf_counter_ns, readings: int = 10_000) -> float:
    """Mean nanoseconds per reading, taken over a row of readings without a pause."""
    values = _readings(clock, readings)
    return (values[-1] - values[0]) / readings


def _readings(clock: Clock, count: int) -> list[int]:
    if count < 1:
        raise ValueError(f"readings must be at least 1, got {count}")
    return [clock() for _ in range(count + 1)]
