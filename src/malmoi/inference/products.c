/* The products of products.h. TILE rows of weights are multiplied with a few rows of inputs at once, so that each loaded
 * weight and each loaded input is used several times.
 */
#include "products.h"

enum { AHEAD = 3 * TILE };

/* The weights to prefetch, and their bytes for each UNIT of weights that is multiplied. */
typedef struct {
    const char *from;
    int64_t stride;
} Ahead;

INLINE int64_t bits_of(int64_t kind) {
    return kind == FLOAT32 ? 32 : kind == BFLOAT16 ? 16 : kind == COMPACT ? 12 : kind == INT8 ? 8 : 4;
}

/* Processors prefetch within a page only. */
INLINE void prefetch(Ahead next, int64_t unit) {
    __builtin_prefetch(next.from + unit * next.stride);
    if (next.stride > 64) __builtin_prefetch(next.from + unit * next.stride + 64);
}

INLINE void store(const Matrix *w, int64_t place, f32x4 found, int64_t row, Target target) {
    if (w->bias) found += *(const f32x4 *)(w->bias + place);
    f32x4 *to = (f32x4 *)(target.out + row * target.stride + place);
    if (target.adds) *to += found;
    else *to = found;
}

/* The largest 16-bit input for rows of this length whose products with int8 never overflow a 32-bit sum. */
INLINE float most_of(int64_t n_in) {
    const int64_t most = ((int64_t)1 << 27) / n_in;
    return most < 32767 ? most : 32767;
}

INLINE const float *scale_of_row(const float *x, int64_t n_in) { return x + n_in / 2; }

static void pack_as_int16(const float *x, int64_t n_in, float *to) {
    int16_t *integers = (int16_t *)to;
    float *scale = to + n_in / 2, most = 0;
    for (int64_t k = 0; k < n_in; k++) {
        const float size = x[k] < 0 ? -x[k] : x[k];
        most = size > most ? size : most;
    }
    *scale = most / most_of(n_in);
    const float by = most > 0 ? most_of(n_in) / most : 0;
    for (int64_t group = 0; group < n_in / UNIT; group++) {
        int32_t sum = 0;
        for (int64_t k = group * UNIT; k < (group + 1) * UNIT; k++) {
            const float scaled = x[k] * by;
            integers[k] = (int16_t)(int32_t)(scaled + (scaled < 0 ? -0.5f : 0.5f));
            sum += integers[k];
        }
        scale[1 + group] = sum;
    }
}

void pack(int64_t kind, const float *x, int64_t n_in, float *to) {
    switch (input_format_of(kind)) {
    case AS_INT16: pack_as_int16(x, n_in, to); break;
    case AS_BFLOAT16: for (int64_t k = 0; k < n_in; k++) ((bf16 *)to)[k] = to_bf16(x[k]); break;
    default: memcpy(to, x, n_in * sizeof(float));
    }
}

/* float32 inputs ------------------------------------------------------------------------------------------------- */

enum { FLOAT_ROWS = 3 }; /* with TILE rows of weights: 12 sums, 3 inputs and a weight fill the 16 registers of AVX2 */

INLINE void dots_of_floats(const Matrix *w, const int64_t kind, int64_t row, int64_t place, const float *x,
                           const int n_rows, Ahead next, Target target) {
    const int64_t n_in = w->n_in;
    f32x8 acc[TILE][FLOAT_ROWS] = {0};
    for (int64_t k = 0; k < n_in; k += UNIT) {
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) prefetch(next, (i * n_in + k) / UNIT);
#pragma GCC unroll 8
        for (int u = 0; u < UNIT; u += 8) {
            f32x8 inputs[FLOAT_ROWS];
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) inputs[m] = load_f32(x + m * n_in + k + u);
#pragma GCC unroll 8
            for (int i = 0; i < TILE; i++) {
                const int64_t at = (row + i) * n_in + k + u;
                const f32x8 weights = kind == FLOAT32 ? load_f32((const float *)w->weight + at)
                                                      : widened((const bf16 *)w->weight + at);
#pragma GCC unroll 8
                for (int m = 0; m < n_rows; m++) acc[i][m] += weights * inputs[m];
            }
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
        store(w, place, sums_of_8(acc[0][m], acc[1][m], acc[2][m], acc[3][m]), m, target);
}

#define FOR_FLOATS(kind) \
    switch (n_now) { \
    case 1: dots_of_floats(from, kind, row, place, inputs, 1, next, part); break; \
    case 2: dots_of_floats(from, kind, row, place, inputs, 2, next, part); break; \
    default: dots_of_floats(from, kind, row, place, inputs, 3, next, part); \
    }

/* 16-bit integer inputs ------------------------------------------------------------------------------------------ */

#ifndef __AVX512BF16__
INLINE i32x8 sums_of_pairs(i16x16 a, i16x16 b) {
#ifdef __AVX2__
    return (i32x8)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    const i32x8 p = (i32x8)a, q = (i32x8)b;
    return ((p << 16) >> 16) * ((q << 16) >> 16) + (p >> 16) * (q >> 16);
#endif
}

INLINE f32x8 as_floats(i32x8 v) {
#ifdef __AVX2__
    return (f32x8)_mm256_cvtepi32_ps((__m256i)v);
#else
    return __builtin_convertvector(v, f32x8);
#endif
}

INLINE i16x16 load_int8(const int8_t *from) {
#ifdef __AVX2__
    return (i16x16)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from));
#else
    return __builtin_convertvector(*(const i8x16 *)from, i16x16);
#endif
}

INLINE i16x16 load_bytes(const uint8_t *from) {
#ifdef __AVX2__
    return (i16x16)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from));
#else
    return __builtin_convertvector(*(const u8x16 *)from, i16x16);
#endif
}

/* Sums in integers over the whole row, and converts to float at the end. */
INLINE void dots_of_int8(const Matrix *w, int64_t row, int64_t place, const float *x, const int n_rows, Ahead next,
                         Target target) {
    const int64_t n_in = w->n_in;
    i32x8 acc[TILE][FLOAT_ROWS] = {0};
    for (int64_t k = 0; k < n_in; k += UNIT) {
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) prefetch(next, (i * n_in + k) / UNIT);
#pragma GCC unroll 2
        for (int u = 0; u < UNIT; u += 16) {
            i16x16 inputs[FLOAT_ROWS];
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) inputs[m] = *(const i16x16 *)((const int16_t *)(x + m * n_in) + k + u);
#pragma GCC unroll 8
            for (int i = 0; i < TILE; i++) {
                const i16x16 weights = load_int8((const int8_t *)w->weight + (row + i) * n_in + k + u);
#pragma GCC unroll 8
                for (int m = 0; m < n_rows; m++) acc[i][m] += sums_of_pairs(weights, inputs[m]);
            }
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++) {
        const f32x4 sums = sums_of_8(as_floats(acc[0][m]), as_floats(acc[1][m]), as_floats(acc[2][m]), as_floats(acc[3][m]));
        store(w, place, sums * *scale_of_row(x + m * n_in, n_in) * *(const f32x4 *)(w->scale + place), m, target);
    }
}

INLINE void dots_of_int4(const Matrix *w, int64_t row, int64_t place, const float *x, const int n_rows, Ahead next,
                         Target target) {
    const int64_t n_in = w->n_in, n_groups = n_in / UNIT;
    f32x8 acc[TILE][FLOAT_ROWS] = {0};
    for (int64_t g = 0; g < n_groups; g++) {
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) {
            const int64_t group = (row + i) * n_groups + g;
            prefetch(next, i * n_groups + g);
            const i16x16 both = load_bytes((const uint8_t *)w->weight + group * (UNIT / 2));
            const i16x16 low = both & 15, high = both >> 4;
            const float scale = w->scale[group];
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) {
                const int16_t *inputs = (const int16_t *)(x + m * n_in) + g * UNIT;
                const i32x8 sums = sums_of_pairs(low, *(const i16x16 *)inputs) + sums_of_pairs(high, *(const i16x16 *)(inputs + 16));
                acc[i][m] += as_floats(sums) * scale;
            }
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++) {
        const float *scale = scale_of_row(x + m * n_in, n_in), *inputs = scale + 1, *zero = w->zero + row * n_groups;
        int64_t g = 0;
        for (; g + 8 <= n_groups; g += 8) /* the zero of each group times the sum of its inputs */
#pragma GCC unroll 8
            for (int i = 0; i < TILE; i++) acc[i][m] += load_f32(zero + i * n_groups + g) * load_f32(inputs + g);
        f32x4 sums = sums_of_8(acc[0][m], acc[1][m], acc[2][m], acc[3][m]);
        for (; g < n_groups; g++)
            for (int i = 0; i < TILE; i++) sums[i] += zero[i * n_groups + g] * inputs[g];
        store(w, place, sums * *scale, m, target);
    }
}

#define FOR_INTEGERS(dots) \
    switch (n_now) { \
    case 1: dots(w, row, place, inputs, 1, next, part); break; \
    case 2: dots(w, row, place, inputs, 2, next, part); break; \
    default: dots(w, row, place, inputs, 3, next, part); \
    }

void unpack_rows(const Matrix *w, int64_t row, int64_t n_rows, void *to) {
    float *out = to;
    for (int64_t at = row * w->n_in; at < (row + n_rows) * w->n_in; at += UNIT, out += UNIT)
        if (w->kind == BFLOAT16)
            for (int i = 0; i < UNIT; i++) out[i] = from_bf16(((const bf16 *)w->weight)[at + i]);
        else if (w->kind == INT8)
            for (int i = 0; i < UNIT; i++) out[i] = ((const int8_t *)w->weight)[at + i];
        else if (w->kind == INT4) {
            const uint8_t *codes = (const uint8_t *)w->weight + at / 2;
            const float scale = w->scale[at / UNIT], zero = w->zero[at / UNIT];
            for (int i = 0; i < UNIT / 2; i++) {
                out[i] = (codes[i] & 15) * scale + zero;
                out[i + UNIT / 2] = (codes[i] >> 4) * scale + zero;
            }
        }
}
#endif

/* bfloat16 inputs ------------------------------------------------------------------------------------------------ */

#ifdef __AVX512BF16__
enum { MOST_ROWS_AT_ONCE = 6 };

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

/* The number of weights that `read_weights` reads. */
INLINE int64_t step_of(int64_t kind) { return kind == COMPACT ? PAIR : UNIT; }

/* `step_of(kind)` weights of a row from its k-th on; the scale of int8 is applied to the sums later. */
INLINE void read_weights(const Matrix *w, const int64_t kind, int64_t row, int64_t k, numbers *to) {
    const int64_t at = row * w->n_in + k;
    if (kind == BFLOAT16) *to = load_bf16((const bf16 *)w->weight + at);
    else if (kind == INT8) *to = load_int8((const int8_t *)w->weight + at);
    else if (kind == INT4) *to = load_int4((const uint8_t *)w->weight + at / 2, w->scale[at / UNIT], w->zero[at / UNIT]);
    else load_compact((const uint8_t *)w->weight + at / 2 * 3, w->high, to);
}

/* TILE rows of weights times `n_rows` inputs; kind and n_rows are constants in each inlined copy */
INLINE void dots_of_bf16(const Matrix *w, const int64_t kind, int64_t row, int64_t place, const bf16 *x, const int n_rows,
                         Ahead next, Target target) {
    const int64_t n_in = w->n_in, stride = 2 * n_in;
    f32x16 acc[TILE][MOST_ROWS_AT_ONCE] = {0};
    const int n_units = step_of(kind) / UNIT;
    for (int64_t k = 0; k < n_in; k += step_of(kind)) {
        numbers inputs[2][MOST_ROWS_AT_ONCE], weights[2];
#pragma GCC unroll 2
        for (int u = 0; u < n_units; u++)
#pragma GCC unroll 8
            for (int m = 0; m < n_rows; m++) inputs[u][m] = load_bf16(x + m * stride + k + u * UNIT);
#pragma GCC unroll 8
        for (int i = 0; i < TILE; i++) {
            read_weights(w, kind, row + i, k, weights);
#pragma GCC unroll 2
            for (int u = 0; u < n_units; u++) {
                prefetch(next, (i * n_in + k + u * UNIT) / UNIT);
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
                    acc[i][m] += (f32x16){from_bf16(w->rare[e]) * from_bf16(x[m * stride + w->rare_at[e]])};
    f32x4 scale = {1, 1, 1, 1};
    if (w->kind == INT8) scale = *(const f32x4 *)(w->scale + place);
#pragma GCC unroll 8
    for (int m = 0; m < n_rows; m++)
        store(w, place, sums_of_16(acc[0][m], acc[1][m], acc[2][m], acc[3][m]) * scale, m, target);
}

#define FOR_BF16(kind) \
    switch (n_now) { \
    case 1: dots_of_bf16(from, kind, row, place, inputs, 1, next, part); break; \
    case 2: dots_of_bf16(from, kind, row, place, inputs, 2, next, part); break; \
    case 3: dots_of_bf16(from, kind, row, place, inputs, 3, next, part); break; \
    case 4: dots_of_bf16(from, kind, row, place, inputs, 4, next, part); break; \
    case 5: dots_of_bf16(from, kind, row, place, inputs, 5, next, part); break; \
    default: dots_of_bf16(from, kind, row, place, inputs, 6, next, part); \
    }

INLINE void unpack_all(const Matrix *w, const int64_t kind, int64_t row, int64_t n_rows, bf16 *to) {
    for (int64_t k = 0; k < n_rows * w->n_in; k += step_of(kind)) {
        numbers weights[2];
        read_weights(w, kind, row, k, weights);
#pragma GCC unroll 2
        for (int u = 0; u < step_of(kind) / UNIT; u++) _mm512_storeu_si512(to + k + u * UNIT, (__m512i)weights[u]);
    }
}

void unpack_rows(const Matrix *w, int64_t row, int64_t n_rows, void *to) {
    switch (w->kind) {
    case BFLOAT16: unpack_all(w, BFLOAT16, row, n_rows, to); break;
    case INT8: unpack_all(w, INT8, row, n_rows, to); break;
    case INT4: unpack_all(w, INT4, row, n_rows, to); break;
    default:
        unpack_all(w, COMPACT, row, n_rows, to);
        for (int64_t i = 0; i < n_rows; i++)
            for (int64_t e = w->rare_from[row + i]; e < w->rare_from[row + i + 1]; e++)
                ((bf16 *)to)[i * w->n_in + w->rare_at[e]] = w->rare[e];
    }
}
#endif

/* ---------------------------------------------------------------------------------------------------------------- */

void product(const Matrix *w, const float *x, int64_t n_rows, int64_t begin, int64_t end, Target target) {
    const int64_t form = input_format_of(w->kind);
    /* Weights are unpacked once if more than two parts of the input rows would unpack them. COMPACT has registers for fewer
     * rows, because it holds twice as many weights. Integers are unpacked quickly, so they are never unpacked ahead. */
#ifdef __AVX512BF16__
    const int64_t at_once = form == AS_FLOAT32 ? FLOAT_ROWS : w->kind == COMPACT ? MOST_ROWS_AT_ONCE - 2 : MOST_ROWS_AT_ONCE;
    const int is_unpacked = form == AS_BFLOAT16 && w->kind != BFLOAT16 && n_rows > 2 * at_once;
    const int64_t most = is_unpacked ? MOST_ROWS_AT_ONCE : at_once;
#else
    const int64_t most = FLOAT_ROWS;
    const int is_unpacked = w->kind == BFLOAT16 && n_rows > 2 * FLOAT_ROWS;
#endif
    const int64_t n_parts = (n_rows + most - 1) / most;
    float tile[is_unpacked ? TILE * w->n_in : 1] __attribute__((aligned(64)));
    Matrix unpacked = *w;
    unpacked.weight = tile;
    const Matrix *from = is_unpacked ? &unpacked : w;
    const int64_t stride = bits_of(w->kind) * UNIT / 8;
    for (int64_t n = begin; n < end; n += TILE) {
        /* If TILE does not divide the width, the last tile computes some outputs of the tile before it again. */
        const int64_t place = n + TILE > w->n_out ? w->n_out - TILE : n;
        if (is_unpacked) unpack_rows(w, place, TILE, tile);
        const int64_t row = is_unpacked ? 0 : place;
        const Ahead next = {(const char *)w->weight + (place + AHEAD) * w->n_in / UNIT * stride, stride};
        for (int64_t p = 0; p < n_parts; p++) {
            const int64_t first = n_rows * p / n_parts, n_now = n_rows * (p + 1) / n_parts - first;
            const Target part = {target.out + first * target.stride, target.stride, target.adds};
#ifdef __AVX512BF16__
            if (form == AS_FLOAT32) {
                const float *inputs = packed_row(x, first, w->n_in);
                FOR_FLOATS(FLOAT32)
            } else {
                const bf16 *inputs = (const bf16 *)packed_row(x, first, w->n_in);
                if (is_unpacked || w->kind == BFLOAT16) FOR_BF16(BFLOAT16)
                else if (w->kind == INT8) FOR_BF16(INT8)
                else if (w->kind == INT4) FOR_BF16(INT4)
                else FOR_BF16(COMPACT)
            }
#else
            const float *inputs = packed_row(x, first, w->n_in);
            if (is_unpacked || w->kind == FLOAT32) FOR_FLOATS(FLOAT32)
            else if (w->kind == BFLOAT16) FOR_FLOATS(BFLOAT16)
            else if (w->kind == INT8) FOR_INTEGERS(dots_of_int8)
            else FOR_INTEGERS(dots_of_int4)
#endif
        }
    }
    (void)form;
}
