"""Trace the loops of the textbook kernels: every element that they load or store, in the order of the source.

    matmul_naive, matmul_ikj, matmul_tiled, matmul_tiled_vectorised, rms_norm_standard, rms_norm_fast

A trace takes (sizes, choices, item, bases, l1, memory): sizes are M, N, K, or rows, n, 1; of `choices` these want the tile;
item is bytes per element; bases are the addresses of a, b, out, or of x, weight, out and two temporaries; the caches are
those of `lru`. It returns how many accesses that were: sums and scales stay in registers.
"""

from .lru import access, counted, each, updates


@counted
def matmul_naive(sizes, choices, item, bases, l1, memory):
    """For each element of C: a row of A and a column of B, then the element."""
    m, n, k = sizes
    a, b, out = bases[0], bases[1], bases[2]
    for i in range(m):
        for j in range(n):
            for p in range(k):
                access(a + (i * k + p) * item, l1, memory)
                access(b + (p * n + j) * item, l1, memory)
            access(out + (i * n + j) * item, l1, memory)
    return m * n * (2 * k + 1)


@counted
def matmul_ikj(sizes, choices, item, bases, l1, memory):
    """For each element of A: a row of B onto a row of C, which begins as zeros."""
    m, n, k = sizes
    a, b, out = bases[0], bases[1], bases[2]
    for i in range(m):
        each(out + i * n * item, n, item, l1, memory)
        for p in range(k):
            access(a + (i * k + p) * item, l1, memory)
            updates(b + p * n * item, out + i * n * item, n, item, l1, memory)
    return m * (n + k + 3 * n * k)


@counted
def matmul_tiled(sizes, choices, item, bases, l1, memory):
    """`matmul_naive` in tiles: C begins as zeros, and each of its elements is loaded and stored once per tile of k."""
    m, n, k = sizes
    tile = choices.tile
    a, b, out = bases[0], bases[1], bases[2]
    each(out, m * n, item, l1, memory)
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    for j in range(jj, min(jj + tile, n)):
                        for p in range(pp, min(pp + tile, k)):
                            access(a + (i * k + p) * item, l1, memory)
                            access(b + (p * n + j) * item, l1, memory)
                        access(out + (i * n + j) * item, l1, memory)
    return m * n * (1 + 2 * k + 2 * -(-k // tile))


@counted
def matmul_tiled_vectorised(sizes, choices, item, bases, l1, memory):
    """The same tiles, in each of them rows of B onto rows of C."""
    m, n, k = sizes
    tile = choices.tile
    a, b, out = bases[0], bases[1], bases[2]
    each(out, m * n, item, l1, memory)
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    for p in range(pp, min(pp + tile, k)):
                        access(a + (i * k + p) * item, l1, memory)
                        width = min(tile, n - jj)
                        updates(b + (p * n + jj) * item, out + (i * n + jj) * item, width, item, l1, memory)
    return m * (n + 3 * n * k + k * -(-n // tile))


@counted
def rms_norm_standard(sizes, choices, item, bases, l1, memory):
    """Four loops a row: squares, their sum, normalised elements, and these times the weights."""
    rows, n, _ = sizes
    x, weight, out, squares, normalised = bases[0], bases[1], bases[2], bases[3], bases[4]
    for r in range(rows):
        row = r * n * item
        for j in range(n):
            access(x + row + j * item, l1, memory)
            access(squares + j * item, l1, memory)
        each(squares, n, item, l1, memory)
        for j in range(n):
            access(x + row + j * item, l1, memory)
            access(normalised + j * item, l1, memory)
        for j in range(n):
            access(normalised + j * item, l1, memory)
            access(weight + j * item, l1, memory)
            access(out + row + j * item, l1, memory)
    return 8 * rows * n


@counted
def rms_norm_fast(sizes, choices, item, bases, l1, memory):
    """Two loops a row: the sum of squares, then all the rest."""
    rows, n, _ = sizes
    x, weight, out = bases[0], bases[1], bases[2]
    for r in range(rows):
        row = r * n * item
        each(x + row, n, item, l1, memory)
        for j in range(n):
            access(x + row + j * item, l1, memory)
            access(weight + j * item, l1, memory)
            access(out + row + j * item, l1, memory)
    return 4 * rows * n
