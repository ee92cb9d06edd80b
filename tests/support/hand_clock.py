"""A clock that tests drive by hand."""


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
