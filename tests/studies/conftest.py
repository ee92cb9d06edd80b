"""What tests of studies start from: a run of everything whose times are known, and a folder of data of their own."""

import pytest
from runs import isolate
from synthetic import full


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        return full()


@pytest.fixture
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are drawn, and not turned into pixels."""
    monkeypatch.setattr("perflib.display.figure._png", lambda figure: b"")
