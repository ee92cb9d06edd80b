/* The loops of the ladder and of the norms, one scalar access per element, for cachegrind: N, TILE, KERNEL
   and RUNS are defined on the command line; two runs less one are what a run costs that finds the caches as one before has
   left them, without a program's start and end. Arrays stand as in perflib/simulator.py. */
#define PAGES(count) (((count) * 4 + 4095) / 4096 * 1024)
#define SQUARE PAGES(N * N)
#define ROW PAGES(N)
static float memory[3 * SQUARE + 3 * ROW] __attribute__((aligned(4096)));
#define a memory
#define b (memory + SQUARE)
#define c (memory + 2 * SQUARE)
#define x memory
#define weight (memory + SQUARE)
#define out (memory + SQUARE + ROW)
#define squares (memory + 2 * SQUARE + ROW)
#define normal (memory + 2 * SQUARE + 2 * ROW)

static int least(int i, int j) { return i < j ? i : j; }

int main(void) {
    int i, j, p, ii, jj, pp, run;
    for (run = 0; run < RUNS; run++) {
#if KERNEL == 1
    for (i = 0; i < N; i++)
        for (j = 0; j < N; j++) {
            float sum = 0;
            for (p = 0; p < N; p++) sum += a[i * N + p] * b[p * N + j];
            c[i * N + j] = sum;
        }
#elif KERNEL == 2
    for (i = 0; i < N * N; i++) c[i] = 0;
    for (ii = 0; ii < N; ii += TILE) for (jj = 0; jj < N; jj += TILE) for (pp = 0; pp < N; pp += TILE)
        for (i = ii; i < least(ii + TILE, N); i++)
            for (j = jj; j < least(jj + TILE, N); j++) {
                float sum = 0;
                for (p = pp; p < least(pp + TILE, N); p++) sum += a[i * N + p] * b[p * N + j];
                c[i * N + j] += sum;
            }
#elif KERNEL == 3
    for (i = 0; i < N * N; i++) c[i] = 0;
    for (ii = 0; ii < N; ii += TILE) for (jj = 0; jj < N; jj += TILE) for (pp = 0; pp < N; pp += TILE)
        for (i = ii; i < least(ii + TILE, N); i++)
            for (p = pp; p < least(pp + TILE, N); p++) {
                float factor = a[i * N + p];
                for (j = jj; j < least(jj + TILE, N); j++) c[i * N + j] += factor * b[p * N + j];
            }
#elif KERNEL == 4
    for (i = 0; i < N; i++) {
        for (j = 0; j < N; j++) c[i * N + j] = 0;
        for (p = 0; p < N; p++) {
            float factor = a[i * N + p];
            for (j = 0; j < N; j++) c[i * N + j] += factor * b[p * N + j];
        }
    }
#elif KERNEL == 5
    for (i = 0; i < N; i++) {
        float sum = 0, scale;
        for (j = 0; j < N; j++) squares[j] = x[i * N + j] * x[i * N + j];
        for (j = 0; j < N; j++) sum += squares[j];
        scale = 1 / (sum / N + 1e-5f);
        for (j = 0; j < N; j++) normal[j] = x[i * N + j] * scale;
        for (j = 0; j < N; j++) out[i * N + j] = normal[j] * weight[j];
    }
#elif KERNEL == 6
    for (i = 0; i < N; i++) {
        float sum = 0, scale;
        for (j = 0; j < N; j++) sum += x[i * N + j] * x[i * N + j];
        scale = 1 / (sum / N + 1e-5f);
        for (j = 0; j < N; j++) out[i * N + j] = x[i * N + j] * scale * weight[j];
    }
#endif
    }
    return memory[N] != 0;
}
