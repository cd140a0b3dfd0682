/* Products of weights and inputs, as fast as memory delivers the weights. Sums are float32, or exact in integers. Shared by
 * products.c, decode.c and weights.c.
 *
 * Weights are float32, bfloat16, bfloat16 in 12 bits, int8 (a scale for each row) or int4 (a scale and a zero for each 32
 * inputs), stored row by row.
 */
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) || defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#else /* one thread */
#define omp_get_num_threads() 1
#define omp_get_thread_num() 0
#endif

typedef uint16_t bf16;
typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float f32x8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i32x8 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32x8 __attribute__((vector_size(32), aligned(2), may_alias));
typedef int16_t i16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint16_t u16x8 __attribute__((vector_size(16), aligned(2), may_alias));
typedef int8_t i8x16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t u8x16 __attribute__((vector_size(16), aligned(1), may_alias));

enum { BFLOAT16, INT8, INT4, COMPACT, FLOAT32 };
enum { UNIT = 32, PAIR = 2 * UNIT, TILE = 4 };

/* The format of inputs in products. On processors with bfloat16 products it is bfloat16 for all weights except float32. On
 * others it is float32, except for int8 and int4 weights: integers of up to 16 bits with one scale for each row. */
enum { AS_FLOAT32, AS_BFLOAT16, AS_INT16 };

/* Pointers to absent parts are NULL.
 *
 * COMPACT is bfloat16 in 12 bits, without loss: nearly all weights of a matrix have one of 15 high bytes (the sign, and the
 * exponent without its last bit). 64 weights are 64 low bytes, then 32 bytes with two codes each: indices into `high`, whose
 * first entry is 0. A weight with another high byte is zero there and is stored separately: those of row n are
 * rare[rare_from[n] ... rare_from[n + 1] - 1], in the columns rare_at. Only processors with bfloat16 products read it.
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

typedef struct {
    float *out;
    int64_t stride;
    int adds;
} Target;

#define INLINE static inline __attribute__((always_inline))

INLINE float from_bf16(bf16 v) {
    uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

INLINE bf16 to_bf16(float f) { /* rounded to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* Which of 64 weights the i-th byte belongs to: in this order AVX512 can interleave low and high bytes. */
INLINE int place_of(int i) { return i / 16 * 8 + i % 8 + i / 8 % 2 * UNIT; }

INLINE int64_t input_format_of(int64_t kind) {
#ifdef __AVX512BF16__
    return kind == FLOAT32 ? AS_FLOAT32 : AS_BFLOAT16;
#else
    return kind == INT8 || kind == INT4 ? AS_INT16 : AS_FLOAT32;
#endif
}

/* GCC before 12 has no __builtin_shufflevector, and Clang has no __builtin_shuffle. */
#ifdef __clang__
#define MIX4(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define MIX16(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
#define MIX4(a, b, ...) __builtin_shuffle(a, b, (i32x4){__VA_ARGS__})
#define MIX16(a, b, ...) __builtin_shuffle(a, b, (i32x16){__VA_ARGS__})
#endif

/* The sums of four vectors of partial sums. */
INLINE f32x4 sums_of_4(f32x4 a, f32x4 b, f32x4 c, f32x4 d) {
    const f32x4 ab = MIX4(a, b, 0, 4, 1, 5) + MIX4(a, b, 2, 6, 3, 7), cd = MIX4(c, d, 0, 4, 1, 5) + MIX4(c, d, 2, 6, 3, 7);
    return MIX4(ab, cd, 0, 1, 4, 5) + MIX4(ab, cd, 2, 3, 6, 7);
}

INLINE f32x4 halved(f32x8 v) {
    const union { f32x8 whole; f32x4 halves[2]; } parts = {v};
    return parts.halves[0] + parts.halves[1];
}

INLINE f32x4 sums_of_8(f32x8 a, f32x8 b, f32x8 c, f32x8 d) { return sums_of_4(halved(a), halved(b), halved(c), halved(d)); }

INLINE f32x8 load_f32(const float *from) { return *(const f32x8 *)from; }

INLINE f32x8 widened(const bf16 *from) {
#ifdef __AVX2__
    return (f32x8)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16);
#else
    return (f32x8)(__builtin_convertvector(*(const u16x8 *)from, u32x8) << 16);
#endif
}

/* Whether the processor has bfloat16 products; then it also reads 12-bit weights faster than 16-bit ones. */
int64_t multiplies_bf16(void);

/* Packs a row of inputs into 4 · n_in bytes, in the input format of weights of this kind. A row of AS_INT16 has n_in integers,
 * the scale, and the sum of each 32 integers. */
void pack(int64_t kind, const float *x, int64_t n_in, float *to);

INLINE const float *packed_row(const float *x, int64_t row, int64_t n_in) { return x + row * n_in; }

/* out[b][n] (+)= x_b · w_n + bias_n for n in [begin, end), a range from `share` in TILEs; x: packed rows */
void product(const Matrix *w, const float *x, int64_t n_rows, int64_t begin, int64_t end, Target target);

/* Unpacks rows of weights to bfloat16 if the processor has bfloat16 products, otherwise to float32; int8 without its scale. */
void unpack_rows(const Matrix *w, int64_t row, int64_t n_rows, void *to);

/* This thread's part of n items, in whole units; the last unit may be shorter. */
INLINE void share(int64_t n, int64_t unit, int64_t *begin, int64_t *end) {
    const int64_t n_units = (n + unit - 1) / unit, n_threads = omp_get_num_threads(), me = omp_get_thread_num();
    *begin = n_units * me / n_threads * unit;
    *end = n_units * (me + 1) / n_threads * unit;
    if (*end > n) *end = n;
}

#ifdef __AVX512BF16__
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(2), may_alias));
typedef __m512bh numbers; /* 32 bfloat16 */

INLINE f32x16 dot32(f32x16 acc, numbers a, numbers b) { return (f32x16)_mm512_dpbf16_ps((__m512)acc, a, b); }

INLINE numbers load_bf16(const bf16 *from) { return (numbers)_mm512_loadu_si512(from); }

#define LOW(a, b) MIX16(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH(a, b) MIX16(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)

INLINE f32x4 sums_of_16(f32x16 a, f32x16 b, f32x16 c, f32x16 d) {
    const f32x16 ab = LOW(a, b) + HIGH(a, b), cd = LOW(c, d) + HIGH(c, d);
    const f32x16 all = MIX16(ab, cd, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
                     + MIX16(ab, cd, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    return (f32x4)_mm_add_ps(
        _mm_add_ps(_mm512_extractf32x4_ps((__m512)all, 0), _mm512_extractf32x4_ps((__m512)all, 1)),
        _mm_add_ps(_mm512_extractf32x4_ps((__m512)all, 2), _mm512_extractf32x4_ps((__m512)all, 3)));
}
#endif
