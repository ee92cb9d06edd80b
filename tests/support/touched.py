"""Every element that a kernel's loops touch, listed one by one: (array, index), the arrays in the order of the arguments.

touched(name, sizes, chosen, way)   of a product M, N, K or of a norm rows, n; `way` as the fast product takes it
"""

from itertools import product
from types import SimpleNamespace


def touched(name, sizes, chosen, way=None):
    """A list; after the arguments come the buffer of packed products, squares and normalised row of the standard norm."""
    if name == "matmul":
        name = "matmul_packed" if way.packed else "matmul_register_blocked"
        if way.few_rows:  # B's block takes a quarter of the second level
            kc = min(chosen.kc, max(64, min(256, sizes[0] // 16 * 16)))
            columns = chosen.l2_bytes // 4 // (4 * kc)
            chosen = chosen._replace(kc=kc, nc=max(chosen.nr, columns // chosen.nr * chosen.nr))
    else:
        way = SimpleNamespace(copy_a=True, steps=sizes[-1])
    if name == "matmul_packed":
        return list(packed(*sizes, chosen, way.copy_a))
    if name == "matmul_register_blocked":
        return list(in_place(*sizes, chosen, way.steps))
    if name == "rms_norm":
        return list(fast_norm(*sizes, chosen))
    if name.startswith("rms"):
        return list(norm(name, *sizes))
    loops = {"matmul_naive": naive, "matmul_ikj": rows_onto_rows}.get(name, tiled)
    return list(loops(name, *sizes, chosen.tile))


def naive(_, m, n, k, tile):
    for i, j in product(range(m), range(n)):
        for p in range(k):
            yield from ((0, i * k + p), (1, p * n + j))
        yield 2, i * n + j


def rows_onto_rows(_, m, n, k, tile):
    for i in range(m):
        yield from ((2, i * n + j) for j in range(n))
        for p in range(k):
            yield 0, i * k + p
            for j in range(n):
                yield from ((1, p * n + j), (2, i * n + j), (2, i * n + j))


def tiled(name, m, n, k, tile):
    yield from ((2, i) for i in range(m * n))
    for ii, jj, pp in product(range(0, m, tile), range(0, n, tile), range(0, k, tile)):
        columns, steps = range(jj, min(jj + tile, n)), range(pp, min(pp + tile, k))
        for i in range(ii, min(ii + tile, m)):
            if name == "matmul_tiled":
                for j in columns:
                    for p in steps:
                        yield from ((0, i * k + p), (1, p * n + j))
                    yield from ((2, i * n + j), (2, i * n + j))
            else:
                for p in steps:
                    yield 0, i * k + p
                    for j in columns:
                        yield from ((1, p * n + j), (2, i * n + j), (2, i * n + j))


def register_tiles(a, b, c, rows, columns, steps, accumulate, chosen):
    """a(i, p), b(p, j), c(i, j) name elements; j from panel to panel, in each down the rows."""
    for jr in range(0, columns, chosen.nr):
        across, ir = range(jr, min(jr + chosen.nr, columns)), 0
        while ir < rows:
            left = rows - ir
            taken = min(chosen.mr, left)
            if chosen.mr < left < chosen.mr + chosen.mr // 2:  # the last two share
                taken = left - left // 2
            down = range(ir, ir + taken)
            for p in range(steps):
                yield from (b(p, j) for j in across)
                yield from (a(i, p) for i in down)
            for _ in range(2 if accumulate else 1):
                yield from (c(i, j) for i in down for j in across)
            ir += taken


def in_place(m, n, k, chosen, height):
    for pc in range(0, k, height):
        yield from register_tiles(
            lambda i, p, pc=pc: (0, i * k + pc + p),
            lambda p, j, pc=pc: (1, (pc + p) * n + j),
            lambda i, j: (2, i * n + j),
            m,
            n,
            min(height, k - pc),
            pc > 0,
            chosen,
        )


def packed(m, n, k, chosen, copy_a):
    nr, step = chosen.nr, chosen.lanes
    behind = min(chosen.kc, k) * -(-min(chosen.nc, n) // nr) * nr  # the copied rows stand behind the panels
    for jc, pc in product(range(0, n, chosen.nc), range(0, k, chosen.kc)):
        columns, steps = min(chosen.nc, n - jc), min(chosen.kc, k - pc)
        apart = (-(-steps // step) + 1) * step

        def panel(p, j, steps=steps):
            return 3, j // nr * nr * steps + p * nr + j % nr

        for jr, p, v in product(range(0, columns, nr), range(steps), range(0, nr, step)):
            lanes = range(jr + v, jr + v + step)
            yield from ((1, (pc + p) * n + jc + j) for j in lanes if j < columns)
            yield from (panel(p, j) for j in lanes)
        for ic in range(0, m, chosen.mc):
            rows = min(chosen.mc, m - ic)

            def there(i, p, ic=ic, pc=pc):
                return 0, (ic + i) * k + pc + p

            def copied(i, p, apart=apart):
                return 3, behind + i * apart + p

            if copy_a:
                for i, v in product(range(rows), range(0, steps, step)):
                    yield from (there(i, p) for p in range(v, min(v + step, steps)))
                    yield from (copied(i, p) for p in range(v, v + step))
            yield from register_tiles(
                copied if copy_a else there,
                panel,
                lambda i, j, ic=ic, jc=jc: (2, (ic + i) * n + jc + j),
                rows,
                columns,
                steps,
                pc > 0,
                chosen,
            )


def norm(name, rows, n):
    for r in range(rows):
        row = range(r * n, r * n + n)
        if name == "rms_norm_fast":
            yield from ((0, e) for e in row)
            for j, e in enumerate(row):
                yield from ((0, e), (1, j), (2, e))
        else:
            for j, e in enumerate(row):
                yield from ((0, e), (3, j))
            yield from ((3, j) for j in range(n))
            for j, e in enumerate(row):
                yield from ((0, e), (4, j))
            for j, e in enumerate(row):
                yield from ((4, j), (1, j), (2, e))


def fast_norm(rows, n, chosen):
    """Down a row that lies up to half a page behind the weights, else up; a streamed output is not touched."""
    width, streams = chosen.lanes, 4 * rows * n > chosen.stream_bytes and n % chosen.lanes == 0
    for r in range(rows):
        yield from ((0, r * n + j) for j in range(n))
        whole = 0 if streams else n // (4 * width) * (4 * width)
        blocks = [range(first, first + 4 * width) for first in range(0, whole, 4 * width)]
        if 0 < 4 * r * n % 4096 < 2048:
            blocks.reverse()
        for block in blocks + [range(first, min(first + width, n)) for first in range(whole, n, width)]:
            for first in range(block.start, block.stop, width):
                vector = range(first, min(first + width, block.stop))
                yield from ((array, j + r * n * (array == 0)) for array in (0, 1) for j in vector)
            if not streams:
                yield from ((2, r * n + j) for j in block)
