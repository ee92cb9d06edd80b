"""Memory on pages of a known size: aligned, shared, and honest about the pages that the system gave."""

import mmap
import sys

import numpy as np
import pytest

from perflib.kernels import buffers as arena_module
from perflib.kernels.buffers import BASE_KIB, HUGE_KIB, arena, huge_share, page_sizes_kib

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages it gave")


@pytest.mark.parametrize("size", [1, 4096, (2 << 20) + 1])
def test_an_arena_starts_on_two_mebibytes_and_is_as_long_as_asked(size):
    memory = arena(size)

    assert memory.ctypes.data % (2 << 20) == 0
    assert (memory.size, memory.dtype) == (size, np.uint8)


def test_those_who_ask_for_the_same_share_one_arena_and_it_goes_with_the_last():
    first, second = arena(5 << 20), arena(6 << 20)
    first[0] = 77

    assert np.shares_memory(first, second)
    assert second[0] == 77
    del first, second
    assert (8 << 20, BASE_KIB) not in arena_module._shared


@needs_linux
def test_base_pages_are_base_pages():
    assert huge_share(arena(4 << 20, BASE_KIB)) == 0


@needs_linux
@pytest.mark.skipif(HUGE_KIB not in page_sizes_kib(), reason="this system gives no huge pages")
def test_huge_pages_are_huge():
    assert huge_share(arena(4 << 20, HUGE_KIB)) == 1


def test_pages_that_the_system_does_not_give_are_refused(monkeypatch, refused):
    monkeypatch.setattr(arena_module, "page_sizes_kib", lambda: (BASE_KIB,))

    with refused(ValueError, f"page_kib must be one of {BASE_KIB} here", f"got {HUGE_KIB}"):
        arena(4096, HUGE_KIB)


def test_huge_pages_that_are_promised_and_not_given_do_not_count(monkeypatch):
    monkeypatch.setattr(arena_module, "huge_share", lambda memory: 0.5)

    assert page_sizes_kib.__wrapped__() == (BASE_KIB,)


def test_a_system_that_refuses_the_advice_still_gives_memory(monkeypatch):
    class Refusing(mmap.mmap):
        def madvise(self, *_):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Refusing)

    assert arena_module.mapped(2 << 20, HUGE_KIB).size == 2 << 20
