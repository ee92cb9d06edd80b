/* The loops of the ladder and of the norms, one scalar access per element, for cachegrind: M, N, K (M rows of a norm), TILE,
   MR, NR, LANES, MC, KC, NC, KERNEL and RUNS are defined on the command line; two runs less one are what a run costs that finds
   the caches as one before has left them, without a program's start and end. Arrays stand as in perflib/simulator.py.
   Sums of a register tile have no address: here every element that it loads goes into one of them, and that into all of C. */
#define PAGES(count) (((count) * 4 + 4095) / 4096 * 1024)
#define ROW PAGES(N)
static float memory[PAGES(M * K) + PAGES(K * N) + PAGES(M * N) + 4 * ROW + 65536] __attribute__((aligned(4096)));
#define a memory
#define b (memory + PAGES(M * K))
#define c (b + PAGES(K * N))
#define panels (c + PAGES(M * N))
#define x memory
#define weight (memory + PAGES(M * N))
#define out (weight + ROW)
#define squares (out + PAGES(M * N))
#define normal (squares + ROW)

static int least(int i, int j) { return i < j ? i : j; }

#if KERNEL == 7 || KERNEL == 8
static void register_tiles(const float *rows, int lda, const float *columns, int ldb, int panel, float *to, int m, int n,
                           int k, int more) {
    int jr, ir, i, j, p, height, width;
    for (jr = 0; jr < n; jr += NR)
        for (ir = 0; ir < m; ir += height) {
            float sum = 0;
            const float *from = columns + jr / NR * panel;
            width = least(NR, n - jr);
            height = m - ir > MR && m - ir < MR + MR / 2 ? (m - ir + 1) / 2 : least(MR, m - ir);
            for (p = 0; p < k; p++) {
                for (j = 0; j < width; j++) sum += from[p * ldb + j];
                for (i = 0; i < height; i++) sum += rows[(ir + i) * lda + p];
            }
            if (more)
                for (i = 0; i < height; i++) for (j = 0; j < width; j++) sum += to[(ir + i) * N + jr + j];
            for (i = 0; i < height; i++) for (j = 0; j < width; j++) to[(ir + i) * N + jr + j] = sum;
        }
}

/* COPY: rows of A are copied too. */
static void packed(void) {
    int jc, pc, ic, i, j, p, v;
    float *copied = panels + least(KC, K) * ((least(NC, N) + NR - 1) / NR * NR);
    for (jc = 0; jc < N; jc += NC)
        for (pc = 0; pc < K; pc += KC) {
            int width = least(NC, N - jc), steps = least(KC, K - pc), apart = (steps + LANES - 1) / LANES * LANES + LANES;
            for (j = 0; j < width; j += NR)
                for (p = 0; p < steps; p++)
                    for (v = 0; v < NR; v++)
                        panels[j * steps + p * NR + v] = j + v < width ? b[(pc + p) * N + jc + j + v] : 0;
            for (ic = 0; ic < M; ic += MC) {
                int height = least(MC, M - ic);
                const float *rows = a + ic * K + pc;
                if (COPY)
                    for (i = 0; i < height; i++)
                        for (p = 0; p < (steps + LANES - 1) / LANES * LANES; p++)
                            copied[i * apart + p] = p < steps ? rows[i * K + p] : 0;
                register_tiles(COPY ? copied : rows, COPY ? apart : K, panels, NR, NR * steps, c + ic * N + jc, height, width,
                               steps, pc > 0);
            }
        }
}
#endif

int main(void) {
    int i, j, p, ii, jj, pp, run;
    for (run = 0; run < RUNS; run++) {
#if KERNEL == 1
    for (i = 0; i < M; i++)
        for (j = 0; j < N; j++) {
            float sum = 0;
            for (p = 0; p < K; p++) sum += a[i * K + p] * b[p * N + j];
            c[i * N + j] = sum;
        }
#elif KERNEL == 2
    for (i = 0; i < M * N; i++) c[i] = 0;
    for (ii = 0; ii < M; ii += TILE) for (jj = 0; jj < N; jj += TILE) for (pp = 0; pp < K; pp += TILE)
        for (i = ii; i < least(ii + TILE, M); i++)
            for (j = jj; j < least(jj + TILE, N); j++) {
                float sum = 0;
                for (p = pp; p < least(pp + TILE, K); p++) sum += a[i * K + p] * b[p * N + j];
                c[i * N + j] += sum;
            }
#elif KERNEL == 3
    for (i = 0; i < M * N; i++) c[i] = 0;
    for (ii = 0; ii < M; ii += TILE) for (jj = 0; jj < N; jj += TILE) for (pp = 0; pp < K; pp += TILE)
        for (i = ii; i < least(ii + TILE, M); i++)
            for (p = pp; p < least(pp + TILE, K); p++) {
                float factor = a[i * K + p];
                for (j = jj; j < least(jj + TILE, N); j++) c[i * N + j] += factor * b[p * N + j];
            }
#elif KERNEL == 4
    for (i = 0; i < M; i++) {
        for (j = 0; j < N; j++) c[i * N + j] = 0;
        for (p = 0; p < K; p++) {
            float factor = a[i * K + p];
            for (j = 0; j < N; j++) c[i * N + j] += factor * b[p * N + j];
        }
    }
#elif KERNEL == 5
    for (i = 0; i < M; i++) {
        float sum = 0, scale;
        for (j = 0; j < N; j++) squares[j] = x[i * N + j] * x[i * N + j];
        for (j = 0; j < N; j++) sum += squares[j];
        scale = 1 / (sum / N + 1e-5f);
        for (j = 0; j < N; j++) normal[j] = x[i * N + j] * scale;
        for (j = 0; j < N; j++) out[i * N + j] = normal[j] * weight[j];
    }
#elif KERNEL == 6
    for (i = 0; i < M; i++) {
        float sum = 0, scale;
        for (j = 0; j < N; j++) sum += x[i * N + j] * x[i * N + j];
        scale = 1 / (sum / N + 1e-5f);
        for (j = 0; j < N; j++) out[i * N + j] = x[i * N + j] * scale * weight[j];
    }
#elif KERNEL == 7
    register_tiles(a, K, b, N, NR, c, M, N, K, 0);
#elif KERNEL == 8
    packed();
#elif KERNEL == 10
    for (i = 0; i < M; i++) {
        float sum = 0, scale;
        int whole = N / (4 * LANES) * (4 * LANES), lag = i * N * 4 % 4096;
        for (j = 0; j < N; j++) sum += x[i * N + j] * x[i * N + j];
        scale = 1 / (sum / N + 1e-5f);
        for (ii = 0; ii < whole; ii += 4 * LANES) {
            int first = lag == 0 || lag >= 2048 ? ii : whole - 4 * LANES - ii;
            for (j = first; j < first + 4 * LANES; j++) out[i * N + j] = x[i * N + j] * scale * weight[j];
        }
        for (j = whole; j < N; j++) out[i * N + j] = x[i * N + j] * scale * weight[j];
    }
#endif
    }
    return memory[N] != 0;
}
