/* Decodes one new token for each of several rows, or reads a few tokens of each, through all layers of a network with RMSNorm,
 * rotary positions and SwiGLU.
 *
 * Decoding a token reads every weight once: the products read them at the speed of memory (products.h), and everything
 * between two products costs little. The residual stream, norms, softmax and sums are float32. If the processor has bfloat16
 * products and the weights are not float32, keys, values and activations are bfloat16. Otherwise they are float32, and int8
 * and int4 weights have inputs of 16-bit integers. `inference/compiled.py` compiles it, `inference/native.py` calls it.
 */
#include <math.h>

#include "products.h"

enum { MOST_HEADS_AT_ONCE = 4 };

typedef struct {
    Matrix qkv, o, gate_up, down;
    const float *input_norm, *ff_norm, *q_norm, *k_norm;
    int64_t is_rotated; /* whether rotary positions apply */
} Layer;

typedef struct {
    int64_t n_layer, n_head, n_kv_head, head_dim, width, n_ff, n_threads;
    float norm_eps;
    const Layer *layers;
    const float *norm, *cos, *sin; /* cos, sin: (positions, head_dim), the first half of the sines negative */
    Matrix head;
} Network;

typedef struct {
    void *keys, *values; /* (n_layer, rows, n_kv_head, positions, head_dim), float32 or bfloat16 like the network's inputs */
    int64_t layer_stride, row_stride, head_stride;
    const int64_t *at;   /* position of each token, which is how many of its row come before it */
    const int64_t *rows; /* the row of each token; NULL: there is one token a row, in order */
} Cache;

INLINE float exp_of(float x) { /* 2^n · p(r), exact to 1e-7; unlike expf it vectorises */
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float n = __builtin_roundf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (1.6666667e-1f + r * (4.1666668e-2f + r * (8.3334e-3f + r * 1.3888e-3f)))));
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

INLINE float rms_scale(const float *x, int64_t width, float eps) { /* 1 / rms(x) */
    float squares = 0;
    for (int64_t i = 0; i < width; i++) squares += x[i] * x[i];
    return 1.0f / sqrtf(squares / width + eps);
}

static void normalise(const float *x, const float *weight, int64_t width, float eps, float *out) {
    const float scale = rms_scale(x, width, eps);
    for (int64_t i = 0; i < width; i++) out[i] = x[i] * scale * weight[i];
}

static void normalise_packed(const float *x, const float *weight, int64_t width, float eps, int64_t kind, float *out) {
    float plain[width];
    normalise(x, weight, width, eps, plain);
    pack(kind, plain, width, out);
}

/* One head's query or key, normalised and rotated if the network does that. out may not be x. */
static void rotate(const Network *net, const Layer *layer, const float *x, const float *norm, int64_t position, float *out) {
    const int64_t size = net->head_dim, half = size / 2;
    float plain[size];
    if (norm) normalise(x, norm, size, net->norm_eps, plain);
    else memcpy(plain, x, size * sizeof(float));
    if (!layer->is_rotated) {
        memcpy(out, plain, size * sizeof(float));
        return;
    }
    const float *cos = net->cos + position * size, *sin = net->sin + position * size;
    for (int64_t i = 0; i < half; i++) {
        out[i] = plain[i] * cos[i] + plain[i + half] * sin[i];
        out[i + half] = plain[i + half] * cos[i + half] + plain[i] * sin[i + half];
    }
}

/* Softmax of `n_head` rows of n_seen scores, n_seen + 4 floats from row to row, without the division by `total`. */
INLINE void exponentials(float *scores, int64_t n_seen, const int n_head, float *total) {
    for (int h = 0; h < n_head; h++) {
        float *of = scores + h * (n_seen + 4), most = -INFINITY, all = 0;
        for (int64_t t = 0; t < n_seen; t++) most = of[t] > most ? of[t] : most;
        for (int64_t t = 0; t < n_seen; t++) {
            of[t] = exp_of(of[t] - most);
            all += of[t];
        }
        total[h] = all;
    }
}

/* softmax(q · keys) values for `n_head` queries of `size` numbers that share keys and values, all float32.
 *
 * queries: (n_head, size), scaled; scores: (n_head, n_seen + 4) scratch; out: (n_head, size)
 */
INLINE void attend(const float *queries, const float *keys, const float *values, int64_t n_seen, const int n_head,
                   int64_t size, float *scores, float *out) {
    float total[MOST_HEADS_AT_ONCE];
    for (int64_t t = 0; t < n_seen; t += 4) {
        const float *key[4];
        for (int i = 0; i < 4; i++) key[i] = keys + (t + i < n_seen ? t + i : n_seen - 1) * size;
#pragma GCC unroll 8
        for (int h = 0; h < n_head; h++) {
            f32x8 acc[4] = {{0}, {0}, {0}, {0}};
            for (int64_t k = 0; k < size; k += 8) {
                const f32x8 query = load_f32(queries + h * size + k);
#pragma GCC unroll 8
                for (int i = 0; i < 4; i++) acc[i] += load_f32(key[i] + k) * query;
            }
            *(f32x4 *)(scores + h * (n_seen + 4) + t) = sums_of_8(acc[0], acc[1], acc[2], acc[3]);
        }
    }
    exponentials(scores, n_seen, n_head, total);
    for (int64_t k = 0; k < size; k += 16) {
        f32x8 left[MOST_HEADS_AT_ONCE], right[MOST_HEADS_AT_ONCE];
#pragma GCC unroll 8
        for (int h = 0; h < n_head; h++) left[h] = right[h] = (f32x8){0};
        for (int64_t t = 0; t < n_seen; t++) {
            const f32x8 first = load_f32(values + t * size + k), second = load_f32(values + t * size + k + 8);
#pragma GCC unroll 8
            for (int h = 0; h < n_head; h++) {
                const float score = scores[h * (n_seen + 4) + t];
                left[h] += score * first;
                right[h] += score * second;
            }
        }
        for (int h = 0; h < n_head; h++) {
            *(f32x8 *)(out + h * size + k) = left[h] / total[h];
            *(f32x8 *)(out + h * size + k + 8) = right[h] / total[h];
        }
    }
}

#ifdef __AVX512BF16__
/* `attend` in bfloat16. */
INLINE void attend_bf16(const bf16 *queries, const bf16 *keys, const bf16 *values, int64_t n_seen, const int n_head,
                        int64_t size, float *scores, bf16 *out) {
    float total[MOST_HEADS_AT_ONCE];
    for (int64_t t = 0; t < n_seen; t += 4) {
        const bf16 *key[4];
        for (int i = 0; i < 4; i++) key[i] = keys + (t + i < n_seen ? t + i : n_seen - 1) * size;
#pragma GCC unroll 8
        for (int h = 0; h < n_head; h++) {
            f32x16 acc[4] = {{0}, {0}, {0}, {0}};
            for (int64_t k = 0; k < size; k += UNIT) {
                const numbers query = load_bf16(queries + h * size + k);
#pragma GCC unroll 8
                for (int i = 0; i < 4; i++) acc[i] = dot32(acc[i], load_bf16(key[i] + k), query);
            }
            *(f32x4 *)(scores + h * (n_seen + 4) + t) = sums_of_16(acc[0], acc[1], acc[2], acc[3]);
        }
    }
    exponentials(scores, n_seen, n_head, total);
    for (int64_t k = 0; k < size; k += UNIT) {
        f32x16 low[MOST_HEADS_AT_ONCE], high[MOST_HEADS_AT_ONCE];
#pragma GCC unroll 8
        for (int h = 0; h < n_head; h++) low[h] = high[h] = (f32x16){0};
        for (int64_t t = 0; t < n_seen; t++) {
            const u32x16 pairs = *(const u32x16 *)(values + t * size + k);
            const f32x16 even = (f32x16)(pairs << 16), odd = (f32x16)(pairs & 0xffff0000u);
#pragma GCC unroll 8
            for (int h = 0; h < n_head; h++) {
                const float score = scores[h * (n_seen + 4) + t];
                low[h] += score * even;
                high[h] += score * odd;
            }
        }
        for (int h = 0; h < n_head; h++)
            for (int i = 0; i < 16; i++) {
                out[h * size + k + 2 * i] = to_bf16(low[h][i] / total[h]);
                out[h * size + k + 2 * i + 1] = to_bf16(high[h][i] / total[h]);
            }
    }
}
#else
#define attend_bf16(queries, keys, values, n_seen, n_head, size, scores, out) ((void)0)
#endif

#define ATTEND(attend, type, n_now) \
    attend((const type *)queries, (const type *)keys, (const type *)values, position + 1, n_now, size, scores, \
           (type *)out + head * size)
#define ATTEND_HEADS(attend, type) \
    switch (n_now) { \
    case 1: ATTEND(attend, type, 1); break; \
    case 2: ATTEND(attend, type, 2); break; \
    case 3: ATTEND(attend, type, 3); break; \
    default: ATTEND(attend, type, 4); \
    }

/* Whether keys, values and queries are bfloat16; otherwise they are float32. */
static int is_bf16(const Network *net) { return input_format_of(net->layers->qkv.kind) == AS_BFLOAT16; }

INLINE void store_scaled(int bf16s, const float *from, float by, int64_t n, void *to) {
    for (int64_t i = 0; i < n; i++)
        if (bf16s) ((bf16 *)to)[i] = to_bf16(from[i] * by);
        else ((float *)to)[i] = from[i] * by;
}

/* Where the cache holds the keys, or values, of a token's row. */
static int64_t start_of(const Cache *cache, int64_t number, int64_t token, int64_t group) {
    const int64_t row = cache->rows ? cache->rows[token] : token;
    return number * cache->layer_stride + row * cache->row_stride + group * cache->head_stride;
}

/* Stores one key and value of a token. qkv: (queries, keys, values) of the token */
static void store_group(const Network *net, int64_t number, const Cache *cache, int64_t token, int64_t group, const float *qkv) {
    const int bf16s = is_bf16(net);
    const int64_t size = net->head_dim, bytes = bf16s ? sizeof(bf16) : sizeof(float), position = cache->at[token];
    const int64_t place = (start_of(cache, number, token, group) + position * size) * bytes;
    float rotated[size];
    rotate(net, net->layers + number, qkv + (net->n_head + group) * size, net->layers[number].k_norm, position, rotated);
    store_scaled(bf16s, rotated, 1, size, (char *)cache->keys + place);
    store_scaled(bf16s, qkv + (net->n_head + net->n_kv_head + group) * size, 1, size, (char *)cache->values + place);
}

/* Attention of one token's query heads that share a key head. qkv: as above; out: all its heads */
static void attend_group(const Network *net, int64_t number, const Cache *cache, int64_t token, int64_t group,
                         const float *qkv, float *scores, void *out) {
    const Layer *layer = net->layers + number;
    const int bf16s = is_bf16(net);
    const int64_t size = net->head_dim, n_shared = net->n_head / net->n_kv_head, position = cache->at[token];
    const int64_t bytes = bf16s ? sizeof(bf16) : sizeof(float), start = start_of(cache, number, token, group);
    const char *keys = (char *)cache->keys + start * bytes, *values = (char *)cache->values + start * bytes;
    const float scale = 1.0f / sqrtf((float)size);
    float rotated[size], queries[MOST_HEADS_AT_ONCE * size];
    for (int64_t first = 0; first < n_shared; first += MOST_HEADS_AT_ONCE) {
        const int64_t head = group * n_shared + first, left = n_shared - first;
        const int64_t n_now = left < MOST_HEADS_AT_ONCE ? left : MOST_HEADS_AT_ONCE;
        for (int64_t h = 0; h < n_now; h++) {
            rotate(net, layer, qkv + (head + h) * size, layer->q_norm, position, rotated);
            store_scaled(bf16s, rotated, scale, size, (char *)queries + h * size * bytes);
        }
        if (bf16s) ATTEND_HEADS(attend_bf16, bf16)
        else ATTEND_HEADS(attend, float)
    }
}

/* This thread's part of silu(gate) · up, for all rows. It is packed into `out`; 16-bit integers need the whole row first, so
 * then it overwrites the gate. */
static void feed_forward_wide(const Network *net, const Layer *layer, const float *x, int64_t n_rows, float *wide, float *out) {
    int64_t begin, end;
    share(net->n_ff, TILE, &begin, &end);
    product(&layer->gate_up, x, n_rows, begin, end, (Target){wide, 2 * net->n_ff, 0});
    product(&layer->gate_up, x, n_rows, net->n_ff + begin, net->n_ff + end, (Target){wide, 2 * net->n_ff, 0});
    const int64_t form = input_format_of(layer->down.kind);
    for (int64_t row = 0; row < n_rows; row++) {
        float *gate = wide + row * 2 * net->n_ff, *up = gate + net->n_ff, *packed = out + row * net->n_ff;
        for (int64_t i = begin; i < end; i++) gate[i] = gate[i] / (1.0f + exp_of(-gate[i])) * up[i];
        if (form == AS_FLOAT32) memcpy(packed + begin, gate + begin, (end - begin) * sizeof(float));
        if (form == AS_BFLOAT16)
            for (int64_t i = begin; i < end; i++) ((bf16 *)packed)[i] = to_bf16(gate[i]);
    }
}

/* Packs rows as 16-bit integers once all threads have written them; does nothing for other formats. */
static void pack_rows(const Matrix *w, const float *from, int64_t stride, int64_t n_rows, float *to) {
    if (input_format_of(w->kind) != AS_INT16) return;
    int64_t first, last;
#pragma omp barrier
    share(n_rows, 1, &first, &last);
    for (int64_t row = first; row < last; row++) pack(w->kind, from + row * stride, w->n_in, to + row * w->n_in);
}

typedef struct {
    int64_t attended, heads, wide, narrow, hidden; /* of attention's output, of queries, keys and values, and of scratch rows */
} Widths;

static Widths widths_of(const Network *net) {
    const int64_t attended = net->n_head * net->head_dim, heads = attended + 2 * net->n_kv_head * net->head_dim;
    return (Widths){
        attended, heads, heads > 2 * net->n_ff ? heads : 2 * net->n_ff,
        net->width > attended ? net->width : attended, net->n_ff > attended ? net->n_ff : attended,
    };
}

static int64_t scores_of(int64_t n_positions) { return MOST_HEADS_AT_ONCE * (n_positions + 4); }

/* The number of floats of scratch memory that `decode` needs. */
int64_t scratch_size(const Network *net, int64_t n_rows, int64_t n_positions) {
    const Widths w = widths_of(net);
    return n_rows * (w.wide + w.narrow + w.hidden) + net->n_threads * scores_of(n_positions) + 64;
}

/* x: (n_rows, width) embeddings of n_rows tokens, overwritten; logits: (n_last, vocabulary), after the tokens `last_of_text`,
 * or after all if it is NULL. Stores keys and values in the cache. */
void decode(const Network *net, const Cache *cache, int64_t n_rows, int64_t n_positions, const int64_t *last_of_text,
            int64_t n_last, float *x, float *logits, float *scratch) {
    const Widths w = widths_of(net);
    const int64_t width = net->width;
    float *large = scratch + net->n_threads * scores_of(n_positions), *small = large + n_rows * w.wide;
    float *hidden = small + n_rows * w.narrow;
#pragma omp parallel num_threads(net->n_threads)
    {
        int64_t begin, end, first, last;
        float *scores = scratch + omp_get_thread_num() * scores_of(n_positions);
        share(n_rows, 1, &first, &last);
        for (int64_t number = 0; number < net->n_layer; number++) {
            const Layer *layer = net->layers + number;
            float *attended = input_format_of(layer->o.kind) == AS_INT16 ? hidden : small;
            for (int64_t row = first; row < last; row++)
                normalise_packed(x + row * width, layer->input_norm, width, net->norm_eps, layer->qkv.kind, small + row * width);
#pragma omp barrier
            share(w.heads, TILE, &begin, &end);
            product(&layer->qkv, small, n_rows, begin, end, (Target){large, w.heads, 0});
#pragma omp barrier
            share(n_rows * net->n_kv_head, 1, &begin, &end);
            for (int64_t i = begin; i < end; i++)
                store_group(net, number, cache, i / net->n_kv_head, i % net->n_kv_head, large + i / net->n_kv_head * w.heads);
            if (cache->rows) { /* tokens of one text read the keys of those before them */
#pragma omp barrier
            }
            for (int64_t i = begin; i < end; i++) {
                const int64_t row = i / net->n_kv_head;
                attend_group(net, number, cache, row, i % net->n_kv_head, large + row * w.heads, scores, attended + row * w.attended);
            }
            pack_rows(&layer->o, attended, w.attended, n_rows, small);
#pragma omp barrier
            share(width, TILE, &begin, &end);
            product(&layer->o, small, n_rows, begin, end, (Target){x, width, 1});
#pragma omp barrier
            for (int64_t row = first; row < last; row++)
                normalise_packed(x + row * width, layer->ff_norm, width, net->norm_eps, layer->gate_up.kind, small + row * width);
#pragma omp barrier
            feed_forward_wide(net, layer, small, n_rows, large, hidden);
            pack_rows(&layer->down, large, 2 * net->n_ff, n_rows, hidden);
#pragma omp barrier
            share(width, TILE, &begin, &end);
            product(&layer->down, hidden, n_rows, begin, end, (Target){x, width, 1});
#pragma omp barrier
        }
        share(n_last, 1, &first, &last);
        for (int64_t i = first; i < last; i++) {
            const float *row = x + (last_of_text ? last_of_text[i] : i) * width;
            normalise_packed(row, net->norm, width, net->norm_eps, net->head.kind, small + i * width);
        }
#pragma omp barrier
        share(net->head.n_out, TILE, &begin, &end);
        product(&net->head, small, n_last, begin, end, (Target){logits, net->head.n_out, 0});
    }
}
