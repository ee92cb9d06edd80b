"""The stopwatch, driven by hand: exact integers, no waiting."""

import time

import pytest

from perflib.timer import Timer, clock_cost_ns, clock_step_ns


def readings(*values_ns):
    """A clock that shows these values one after another."""
    values = iter(values_ns)
    return lambda: next(values)


def test_elapsed_nanoseconds_are_the_difference_of_two_readings():
    timer = Timer(clock=readings(1_000, 3_500))

    elapsed = timer.elapsed_ns()

    assert elapsed == 2_500
    assert type(elapsed) is int


@pytest.mark.parametrize(
    ("unit", "expected"), [("elapsed_ns", 1_234_567), ("elapsed_us", 1_234.567), ("elapsed_ms", 1.234567)]
)
def test_every_unit_is_exact_to_the_nanosecond(unit, expected):
    timer = Timer(clock=readings(5, 1_234_572))

    assert getattr(timer, unit)() == expected


def test_elapsed_time_keeps_growing_until_it_is_stopped():
    timer = Timer(clock=readings(10, 11, 14, 20))

    assert [timer.elapsed_ns() for _ in range(3)] == [1, 4, 10]


def test_start_timer_starts_now():
    timer = Timer.start_timer(clock=readings(7, 9))

    assert isinstance(timer, Timer)
    assert timer.elapsed_ns() == 2


def test_a_with_block_is_timed_from_entry_to_exit():
    """Creation is the first reading; it does not count."""
    with Timer(clock=readings(0, 100, 130, 175)) as timer:
        inside = timer.elapsed_ns()

    assert inside == 30
    assert [timer.elapsed_ns(), timer.elapsed_ns()] == [75, 75]


def test_a_with_block_that_raises_is_timed_and_raises():
    timer = Timer(clock=readings(0, 100, 175))

    with pytest.raises(KeyError), timer:
        raise KeyError("stop")

    assert timer.elapsed_ns() == 75


def test_a_timer_may_be_entered_again():
    timer = Timer(clock=readings(0, 1, 2, 10, 30))
    with timer:
        pass

    with timer:
        pass

    assert timer.elapsed_ns() == 20


def test_a_timer_shows_its_time_and_whether_it_runs():
    timer = Timer(clock=iter([0, 1_500_000, 2_000_000]).__next__)

    assert repr(timer) == "Timer: 1.5 ms so far"
    with timer.__class__(clock=iter([0, 0, 2_000_000]).__next__) as stopped:
        pass
    assert repr(stopped) == "Timer: 2 ms"


def test_a_clock_that_stands_still_elapses_nothing():
    assert Timer(clock=readings(5, 5)).elapsed_ns() == 0


def test_large_readings_lose_nothing():
    """A monotonic clock may start anywhere: beyond 2^53 a float would round."""
    start = 2**60

    assert Timer(clock=readings(start, start + 1)).elapsed_ns() == 1


def test_the_clock_of_the_system_never_runs_backwards():
    timer = Timer()

    assert 0 <= timer.elapsed_ns() <= timer.elapsed_ns()


def test_the_smallest_step_ignores_readings_that_stand_still():
    clock = readings(0, 0, 40, 40, 65, 165)

    assert clock_step_ns(clock, readings=5) == 25


def test_a_clock_that_never_moves_has_no_step():
    assert clock_step_ns(lambda: 3, readings=100) == 0


def test_a_step_backwards_is_no_step():
    assert clock_step_ns(readings(10, 4, 9), readings=2) == 5


def test_the_cost_of_a_reading_is_a_mean():
    assert clock_cost_ns(readings(100, 130, 150, 220), readings=3) == 40


def test_the_costs_of_the_system_clock_are_plausible():
    """Ceilings a hundred times above what any supported system shows."""
    assert 0 < clock_step_ns(readings=1000) < 100_000
    assert 0 < clock_cost_ns(time.perf_counter_ns, readings=1000) < 100_000


@pytest.mark.parametrize("count", [0, -1])
@pytest.mark.parametrize("what", [clock_step_ns, clock_cost_ns])
def test_fewer_than_one_reading_is_refused(refused, what, count):
    with refused(ValueError, "readings must be at least 1", f"got {count}"):
        what(readings=count)
