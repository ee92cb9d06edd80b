"""What every test starts from: no run chosen by the environment, the same examples each time, errors of one line."""

import os
import re
from contextlib import contextmanager

import pytest
from hypothesis import settings

os.environ.pop("PERFLIB_RUN", None)

settings.register_profile("perflib", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("perflib")


@pytest.fixture
def refused():
    """`with refused(ValueError, "tile", "got 0"): ...`: exactly this error, with these words, on one line."""

    @contextmanager
    def expect(kind, *words):
        with pytest.raises(kind, match=".*".join(map(re.escape, words))) as caught:
            yield
        assert caught.type is kind
        assert "\n" not in str(caught.value)

    return expect


class HandClock:
    """A clock that moves when it is told to, and by `tick_ns` at each reading."""

    def __init__(self, tick_ns=0):
        self.now_ns = 0
        self.tick_ns = tick_ns

    def __call__(self):
        self.now_ns += self.tick_ns
        return self.now_ns

    def arm(self, cost_ns):
        """A function of a number of runs that moves the clock by `cost_ns` for each; a callable is asked each time."""

        def run(reps):
            self.now_ns += round(reps * (cost_ns() if callable(cost_ns) else cost_ns))

        return run


@pytest.fixture
def hand_clock():
    return HandClock()
