/* Products of weights and bfloat16 inputs, summed in float32, at the speed at which memory gives the weights.
 *
 * Weights are bfloat16, bfloat16 in 12 bits, int8 (a scale a row) or int4 (a scale and a zero for each 32 inputs), rows one
 * after another.
 */
#include <omp.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef uint16_t bf16;
typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float f32x4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(2), may_alias));

enum { BFLOAT16, INT8, INT4, COMPACT };
enum { UNIT = 32, PAIR = 2 * UNIT, TILE = 4, AHEAD = 3 * TILE, MOST_ROWS_AT_ONCE = 6 };

/* Pointers are NULL where there is nothing.
 *
 * COMPACT is bfloat16 in 12 bits, without loss: nearly all weights of a matrix have one of 15 high bytes, which are sign
 * and exponent but for its last bit. 64 weights are 64 bytes, their low bytes, and 32 bytes of two codes each, places in
 * `high`, whose first is 0. What has another high byte is zero there and stands apart: row n's are
 * rare[rare_from[n] ... rare_from[n + 1] - 1] in the columns rare_at.
 */
typedef struct {
    int64_t kind, n_out, n_in;
    const void *weight;
    const float *scale, *zero, *bias;
    const uint8_t *high;
    const int64_t *rare_from;
    const int32_t *rare_at;
    const bf16 *rare;
} Matrix;

#define LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define INLINE static inline __attribute__((always_inline))

INLINE float from_bf16(bf16 v) {
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

INLINE bf16 to_bf16(float f) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* Which of 64 weights the i-th byte belongs to: so that AVX512 interleaves low and high bytes in the weights' order. */
INLINE int place_of(int i) { return i / 16 * 8 + i % 8 + i / 8 % 2 * UNIT; }

INLINE int64_t bits_of(int64_t kind) { return kind == BFLOAT16 ? 16 : kind == COMPACT ? 12 : kind == INT8 ? 8 : 4; }

/* How many weights are read at once. */
INLINE int64_t step_of(int64_t kind) { return kind == COMPACT ? PAIR : UNIT; }

/* The sums of four vectors of partial sums. */
INLINE f32x4 sums_of(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
    f32x16 ab = LOW(a, b) + HIGH(a, b), cd = LOW(c, d) + HIGH(c, d);
    f32x16 all = __builtin_shufflevector(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
               + __builtin_shufflevector(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    return __builtin_shufflevector(all, all, 0, 1, 2, 3) + __builtin_shufflevector(all, all, 4, 5, 6, 7)
         + __builtin_shufflevector(all, all, 8, 9, 10, 11) + __builtin_shufflevector(all, all, 12, 13, 14, 15);
}

#ifdef __AVX512BF16__
typedef __m512bh numbers; /* 32 of them, bfloat16 */

INLINE f32x16 dot32(f32x16 acc, numbers a, numbers b) { return (f32x16)_mm512_dpbf16_ps((__m512)acc, a, b); }

INLINE numbers load_bf16(const bf16 *from) { return (numbers)_mm512_loadu_si512(from); }

INLINE numbers load_int8(const int8_t *from) {
    const __m512i low = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from));
    const __m512i high = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from + 1));
    return _mm512_cvtne2ps_pbh(_mm512_cvtepi32_ps(high), _mm512_cvtepi32_ps(low));
}

INLINE numbers load_int4(const uint8_t *from, float scale, float zero) {
    const __m128i both = _mm_loadu_si128((const __m128i *)from);
    const __m512i wide = _mm512_cvtepu8_epi32(both);
    const __m512 low = _mm512_cvtepi32_ps(_mm512_and_si512(wide, _mm512_set1_epi32(15)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_srli_epi32(wide, 4));
    const __m512 by = _mm512_set1_ps(scale), more = _mm512_set1_ps(zero);
    return _mm512_cvtne2ps_pbh(_mm512_fmadd_ps(high, by, more), _mm512_fmadd_ps(low, by, more));
}

INLINE void load_compact(const uint8_t *from, const uint8_t *high, numbers *to) {
    const __m512i both = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(from + PAIR)));
    const __m512i moved = _mm512_srlv_epi64(both, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
    const __m512i codes = _mm512_and_si512(moved, _mm512_set1_epi8(15));
    const __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)high));
    const __m512i upper = _mm512_shuffle_epi8(table, codes), lower = _mm512_loadu_si512(from);
    to[0] = (numbers)_mm512_unpacklo_epi8(lower, upper);
    to[1] = (numbers)_mm512_unpackhi_epi8(lower, upper);
}

INLINE void store(bf16 *to, numbers from) { _mm512_storeu_si512(to, (__m512i)from); }
#else
typedef struct { f32x16 even, odd; } numbers;

INLINE f32x16 dot32(f32x16 acc, numbers a, numbers b) { return acc + a.even * b.even + a.odd * b.odd; }

INLINE numbers load_bf16(const bf16 *from) {
    const u32x16 pairs = *(const u32x16 *)from;
    return (numbers){(f32x16)(pairs << 16), (f32x16)(pairs & 0xffff0000u)};
}

INLINE numbers load_int8(const int8_t *from) {
    numbers found;
    for (int i = 0; i < 16; i++) {
        found.even[i] = from[2 * i];
        found.odd[i] = from[2 * i + 1];
    }
    return found;
}

INLINE void store(bf16 *to, numbers from) {
    for (int i = 0; i < 16; i++) {
        to[2 * i] = to_bf16(from.even[i]);
        to[2 * i + 1] = to_bf16(from.odd[i]);
    }
}

INLINE numbers load_int4(const uint8_t *from, float scale, float zero) {
    bf16 found[UNIT];
    for (int i = 0; i < UNIT / 2; i++) {
        found[i] = to_bf16((from[i] & 15) * scale + zero);
        found[i + UNIT / 2] = to_bf16((from[i] >> 4) * scale + zero);
    }
    return load_bf16(found);
}

INLINE void load_compact(const uint8_t *from, const uint8_t *high, numbers *to) {
    bf16 found[PAIR];
    for (int i = 0; i < PAIR; i++) found[place_of(i)] = high[from[PAIR + i % UNIT] >> i / UNIT * 4 & 15] << 8 | from[i];
    to[0] = load_bf16(found);
    to[1] = load_bf16(found + UNIT);
}
#endif

/* `step_of(kind)` weights from the k-th of a row on; int8 waits for its scale until the products are summed. */
INLINE void read_weights(const Matrix *w, const int64_t kind, int64_t row, int64_t k, numbers *to) {
    const int64_t at = row * w->n_in + k;
    if (kind == BFLOAT16) *to = load_bf16((const bf16 *)w->weight + at);
    else if (kind == INT8) *to = load_int8((const int8_t *)w->weight + at);
    else if (kind == INT4) *to = load_int4((const uint8_t *)w->weight + at / 2, w->scale[at / UNIT], w->zero[at / UNIT]);
    else load_compact((const uint8_t *)w->weight + at / 2 * 3, w->high, to);
}

typedef struct {
    float *out;
    int64_t stride;
    int adds;
} Target;

/* What is read next, and how many bytes of it while UNIT weights are multiplied. */
typedef struct {
    const char *from;
    int64_t stride;
} Ahead;

/* TILE rows of weights times `n_rows` inputs; kind and n_rows are constants wherever this is inlined */
INLINE void dots(const Matrix *w, const int64_t kind, int64_t row, int64_t place, const bf16 *x, const int n_rows,
                 Ahead next, Target target) {
    const int64_t n_in = w->n_in;
    f32x16 acc[TILE][MOST_ROWS_AT_ONCE];
#pragma GCC unroll 8
    for (int i = 0; i < TILE; i++)
#pragma GCC unroll 8
        for (int m = 0; m < n_rows; m++) acc[i][m] = (f32x16){0};
    const int n_units = step_of(kind) / UNIT;
    for (int64_t k = 0; k < n_in; k += step_of(kind)) {
        numbers inputs[2][MOST_ROWS_AT_ONCE], weights[2];
#pragma GCC unroll 2
        for (int u = 0; u < n_units; u++)
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) inputs[u][m] = load_bf16(x + m * n_in + k + u * UNIT);
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) {
            read_weights(w, kind, row + i, k, weights);
#pragma GCC unroll 2
            for (int u = 0; u < n_units; u++) {
                /* what no processor does by itself across pages */
                __builtin_prefetch(next.from + (i * n_in + k + u * UNIT) / UNIT * next.stride);
#pragma GCC unroll 8
                for (int m = 0; m < n_rows; m++) acc[i][m] = dot32(acc[i][m], weights[u], inputs[u][m]);
            }
        }
    }
    if (kind == COMPACT)
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++)
            for (int64_t e = w->rare_from[row + i]; e < w->rare_from[row + i + 1]; e++)
#pragma GCC unroll 8
                for (int m = 0; m < n_rows; m++)
                    acc[i][m] += (f32x16){from_bf16(w->rare[e]) * from_bf16(x[m * n_in + w->rare_at[e]])};
    f32x4 scale = {1, 1, 1, 1}, bias = {0, 0, 0, 0};
    if (w->kind == INT8) scale = *(const f32x4 *)(w->scale + place);
    if (w->bias) bias = *(const f32x4 *)(w->bias + place);
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++) {
        const f32x4 found = sums_of(acc[0][m], acc[1][m], acc[2][m], acc[3][m]) * scale + bias;
        f32x4 *to = (f32x4 *)(target.out + m * target.stride + place);
        if (target.adds) *to += found;
        else *to = found;
    }
}

#define FOR_ROWS(kind) \
    switch (n_now) { \
    case 1: dots(from, kind, row, n, inputs, 1, next, part); break; \
    case 2: dots(from, kind, row, n, inputs, 2, next, part); break; \
    case 3: dots(from, kind, row, n, inputs, 3, next, part); break; \
    case 4: dots(from, kind, row, n, inputs, 4, next, part); break; \
    case 5: dots(from, kind, row, n, inputs, 5, next, part); break; \
    default: dots(from, kind, row, n, inputs, 6, next, part); \
    }

INLINE void unpack_all(const Matrix *w, const int64_t kind, int64_t row, int64_t n_rows, bf16 *to) {
    for (int64_t k = 0; k < n_rows * w->n_in; k += step_of(kind)) {
        numbers weights[2];
        read_weights(w, kind, row, k, weights);
#pragma GCC unroll 2
        for (int u = 0; u < step_of(kind) / UNIT; u++) store(to + k + u * UNIT, weights[u]);
    }
}

/* Rows of weights as bfloat16; int8 waits for its scale. */
static void unpack_rows(const Matrix *w, int64_t row, int64_t n_rows, bf16 *to) {
    switch (w->kind) {
    case BFLOAT16: unpack_all(w, BFLOAT16, row, n_rows, to); break;
    case INT8: unpack_all(w, INT8, row, n_rows, to); break;
    case INT4: unpack_all(w, INT4, row, n_rows, to); break;
    default:
        unpack_all(w, COMPACT, row, n_rows, to);
        for (int64_t i = 0; i < n_rows; i++)
            for (int64_t e = w->rare_from[row + i]; e < w->rare_from[row + i + 1]; e++)
                to[i * w->n_in + w->rare_at[e]] = w->rare[e];
    }
}

/* out[b][n] (+)= x_b · w_n + bias_n for n in [begin, end), multiples of TILE; x: (n_rows, n_in) */
static void product(const Matrix *w, const bf16 *x, int64_t n_rows, int64_t begin, int64_t end, Target target) {
    /* What more than two parts of the rows are multiplied with is made bfloat16 once. COMPACT leaves registers for fewer
     * rows: it has twice as many weights in hand. */
    const int64_t at_once = w->kind == COMPACT ? MOST_ROWS_AT_ONCE - 2 : MOST_ROWS_AT_ONCE;
    const int is_unpacked = w->kind != BFLOAT16 && n_rows > 2 * at_once;
    const int64_t most = is_unpacked ? MOST_ROWS_AT_ONCE : at_once, n_parts = (n_rows + most - 1) / most;
    bf16 tile[is_unpacked ? TILE * w->n_in : 1] __attribute__((aligned(64)));
    Matrix unpacked = *w;
    unpacked.weight = tile;
    const Matrix *from = is_unpacked ? &unpacked : w;
    const int64_t stride = bits_of(w->kind) * UNIT / 8;
    for (int64_t n = begin; n < end; n += TILE) {
        if (is_unpacked) unpack_rows(w, n, TILE, tile);
        const int64_t row = is_unpacked ? 0 : n;
        const Ahead next = {(const char *)w->weight + (n + AHEAD) * w->n_in / UNIT * stride, stride};
        for (int64_t p = 0; p < n_parts; p++) {
            const int64_t first = n_rows * p / n_parts, n_now = n_rows * (p + 1) / n_parts - first;
            const bf16 *inputs = x + first * w->n_in;
            const Target part = {target.out + first * target.stride, target.stride, target.adds};
            if (is_unpacked || w->kind == BFLOAT16) FOR_ROWS(BFLOAT16)
            else if (w->kind == INT8) FOR_ROWS(INT8)
            else if (w->kind == INT4) FOR_ROWS(INT4)
            else FOR_ROWS(COMPACT)
        }
    }
}

/* This thread's part of n things, in whole units. */
INLINE void share(int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    const int64_t n_units = n / unit, n_threads = omp_get_num_threads(), me = omp_get_thread_num();
    *begin = n_units * me / n_threads * unit;
    *end = n_units * (me + 1) / n_threads * unit;
}
