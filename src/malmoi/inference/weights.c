/* A single product, and conversion between bfloat16 and its 12-bit format (products.h describes it). */
#include "products.h"

int64_t multiplies_bf16(void) {
#ifdef __AVX512BF16__
    return 1;
#else
    return 0;
#endif
}

/* out[b] = x_b · weightᵀ + bias; x: (n_rows, n_in), out: (n_rows, n_out); packed: scratch memory of the size of x */
void multiply(const Matrix *w, const float *x, int64_t n_rows, float *out, float *packed, int64_t n_threads) {
#pragma omp parallel num_threads(n_threads)
    {
        int64_t begin, end;
        share(n_rows, 1, &begin, &end);
        for (int64_t row = begin; row < end; row++) pack(w->kind, x + row * w->n_in, w->n_in, packed + row * w->n_in);
#pragma omp barrier
        share(w->n_out, TILE, &begin, &end);
        product(w, packed, n_rows, begin, end, (Target){out, w->n_out, 0});
    }
}

/* Rows [first, first + n_rows) of the weights, (n_rows, n_in), in the format of `unpack_rows`. */
void unpack(const Matrix *w, int64_t first, int64_t n_rows, char *out, int64_t n_threads) {
    const int64_t row_bytes = w->n_in * (multiplies_bf16() ? sizeof(bf16) : sizeof(float));
#pragma omp parallel num_threads(n_threads)
    {
        int64_t begin, end;
        share(n_rows, 1, &begin, &end);
        unpack_rows(w, first + begin, end - begin, out + begin * row_bytes);
    }
}

#ifdef __AVX512BF16__
/* high: 0 and the 15 commonest other high bytes; rare_from: n_out + 1 cumulative counts of the weights, row by row, that have
 * none of these. */
void choose_high(const bf16 *from, int64_t n_out, int64_t n_in, uint8_t *high, int64_t *rare_from, int64_t n_threads) {
    int64_t counts[256] = {0};
#pragma omp parallel for num_threads(n_threads) reduction(+ : counts[ : 256])
    for (int64_t i = 0; i < n_out * n_in; i++) counts[from[i] >> 8]++;
    uint8_t is_rare[256];
    memset(is_rare, 1, sizeof is_rare);
    for (int code = 0, most = 0; code < 16; code++) {
        high[code] = most;
        is_rare[most] = 0;
        most = -1;
        for (int byte = 0; byte < 256; byte++)
            if (is_rare[byte] && (most < 0 || counts[byte] > counts[most])) most = byte;
    }
#pragma omp parallel for num_threads(n_threads)
    for (int64_t row = 0; row < n_out; row++) {
        int64_t n = 0;
        for (int64_t k = 0; k < n_in; k++) n += is_rare[from[row * n_in + k] >> 8];
        rare_from[row + 1] = n;
    }
    rare_from[0] = 0;
    for (int64_t row = 0; row < n_out; row++) rare_from[row + 1] += rare_from[row];
}

/* bfloat16 (n_out, n_in) as COMPACT; high, rare_from: from `choose_high` */
void compact(const bf16 *from, int64_t n_out, int64_t n_in, const uint8_t *high, const int64_t *rare_from, uint8_t *to,
             int32_t *rare_at, bf16 *rare, int64_t n_threads) {
    int8_t codes_of[256]; /* -1: rare */
    memset(codes_of, -1, sizeof codes_of);
    for (int code = 0; code < 16; code++) codes_of[high[code]] = code;
#pragma omp parallel for num_threads(n_threads)
    for (int64_t row = 0; row < n_out; row++) {
        int64_t next = rare_from[row];
        for (int64_t k = 0; k < n_in; k += PAIR) {
            const bf16 *weights = from + row * n_in + k;
            uint8_t *low = to + (row * n_in + k) / 2 * 3, codes[PAIR];
            for (int i = 0; i < PAIR; i++) {
                const bf16 v = weights[place_of(i)];
                const int code = codes_of[v >> 8];
                low[i] = code < 0 ? 0 : v & 255;
                codes[i] = code < 0 ? 0 : code;
            }
            for (int i = 0; i < UNIT; i++) low[PAIR + i] = codes[i] | codes[UNIT + i] << 4;
            for (int i = 0; i < PAIR; i++)
                if (codes_of[weights[i] >> 8] < 0) {
                    rare_at[next] = k + i;
                    rare[next++] = weights[i];
                }
        }
    }
}
#endif
