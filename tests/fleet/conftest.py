"""Real schedulers and workers, as processes on loopback."""

import pytest


@pytest.fixture
def machines(tmp_path):
    """A scheduler; workers come when a test starts them."""
    pytest.importorskip("distributed", reason="distributed is not installed; pip install 'perflib[fleet]'")
    from fleets import Machines

    with Machines(tmp_path) as machines:
        yield machines
