/* Products with registered weights in bfloat16, by oneDNN (https://github.com/uxlfoundation/oneDNN).

   A weight is registered by the address of its float32 values. At its first product it is rounded to
   bfloat16 and packed into oneDNN's own layout, once for x W^T and, if training asks for it, once
   for y W. The other factor is rounded at each product; sums are float32. What is not registered, or
   has another shape, is left to the caller. oneDNN is loaded by Python, which passes its handle here:
   this library depends on nothing. Only functions that are in oneDNN 3.0 and later are used. */

#include <stddef.h>
#include <stdint.h>

#include "products.h"

typedef const void *in;
typedef int64_t dims[12];
typedef struct {
    int arg;
    void *memory;
} argument;

enum { BF16 = 2, F32 = 3, ANY = 1 }; /* dnnl_data_type_t, dnnl_format_tag_t */
enum { SRC = 1, DST = 17, WEIGHTS = 33 };
enum { QUERY_WEIGHTS = 131, CPU = 1, STREAM = 1 };
#define ALLOCATE ((void *)(size_t)-1)

void *dlsym(void *, const char *);
void *calloc(size_t, size_t);
void free(void *);
void abort(void);
int sched_yield(void);
int madvise(void *, size_t, int);

static int (*engine_create)(void **, int, size_t);
static int (*stream_create)(void **, void *, unsigned);
static int (*desc_create)(void **, int, const dims, int, int);
static int (*desc_strided)(void **, int, const dims, int, const dims);
static int (*desc_destroy)(void *);
static int (*desc_clone)(void **, in);
static in (*pd_desc)(in, int, int);
static int (*pd_destroy)(void *);
static int (*matmul)(void **, void *, in, in, in, in, in);
static int (*reorder)(void **, in, void *, in, void *, in);
static int (*primitive_create)(void **, in);
static int (*primitive_destroy)(void *);
static int (*execute)(in, void *, int, const argument *);
static int (*memory_create)(void **, in, void *, void *);
static int (*memory_destroy)(void *);
static int (*memory_handle)(void *, void *);
static int (*memory_handle_of)(in, void **);
static int (*attr_create)(void **);
static int (*attr_destroy)(void *);
static int (*post_ops_destroy)(void *);
static int (*attr_post_ops)(void *, in);
static int (*post_ops_create)(void **);
static int (*append_sum)(void *, float, int32_t, int);
static void (*set_threads)(int);

static const struct {
    void *to;
    const char *name;
} NAMES[] = {
    {&engine_create, "dnnl_engine_create"},
    {&stream_create, "dnnl_stream_create"},
    {&desc_create, "dnnl_memory_desc_create_with_tag"},
    {&desc_strided, "dnnl_memory_desc_create_with_strides"},
    {&desc_destroy, "dnnl_memory_desc_destroy"},
    {&desc_clone, "dnnl_memory_desc_clone"},
    {&pd_desc, "dnnl_primitive_desc_query_md"},
    {&pd_destroy, "dnnl_primitive_desc_destroy"},
    {&matmul, "dnnl_matmul_primitive_desc_create"},
    {&reorder, "dnnl_reorder_primitive_desc_create"},
    {&primitive_create, "dnnl_primitive_create"},
    {&primitive_destroy, "dnnl_primitive_destroy"},
    {&execute, "dnnl_primitive_execute"},
    {&memory_create, "dnnl_memory_create"},
    {&memory_destroy, "dnnl_memory_destroy"},
    {&memory_handle, "dnnl_memory_set_data_handle"},
    {&memory_handle_of, "dnnl_memory_get_data_handle"},
    {&attr_create, "dnnl_primitive_attr_create"},
    {&attr_destroy, "dnnl_primitive_attr_destroy"},
    {&post_ops_destroy, "dnnl_post_ops_destroy"},
    {&attr_post_ops, "dnnl_primitive_attr_set_post_ops"},
    {&post_ops_create, "dnnl_post_ops_create"},
    {&append_sum, "dnnl_post_ops_append_sum"},
};

typedef struct {
    const float *at; /* NULL: free; FORGOTTEN: was in use */
    int n, k;        /* (n, k), row by row */
    int vacated;     /* there are no values any more, but packed[0] */
    void *packed[2]; /* dnnl_memory_t: of W^T, of W */
    void *desc[2];
} weight;

typedef struct {
    int m, n, k, sum, threads;
    void *primitive, *src, *dst; /* src and dst: dnnl_memory_t without data */
} plan;

enum { WEIGHTS_MOST = 1 << 13, PLANS = 1 << 9 };
#define FORGOTTEN ((const float *)8)

static weight table[WEIGHTS_MOST];
static int registered, wanted_threads = 1;
static long done, left;
static char lock;
static void *engine;

typedef struct {
    void *stream;
    uint16_t *rounded;
    size_t room;
    int threads, plans;
    plan made[PLANS];
} worker;
static __thread worker *here;

/* Take oneDNN's functions from its handle, and the function that sets OpenMP's threads from another.
   NULL, or the name of what is missing. */
const char *star_products_open(void *onednn, void *openmp) {
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (!(*(void **)NAMES[i].to = dlsym(onednn, NAMES[i].name)))
            return NAMES[i].name;
    if (!(*(void **)&set_threads = dlsym(openmp, "omp_set_num_threads")))
        return "omp_set_num_threads";
    return !engine && engine_create(&engine, CPU, 0) ? "an engine of oneDNN" : NULL;
}

void star_products_threads(int threads) { wanted_threads = threads; }

/* The products done here, and those with a registered weight that were left to the caller. */
void star_products_counts(long *counts) {
    counts[0] = __atomic_load_n(&done, __ATOMIC_RELAXED);
    counts[1] = __atomic_load_n(&left, __ATOMIC_RELAXED);
}

static weight *slot(const float *at, int for_new) {
    size_t i = ((size_t)at >> 6) * 0x9E3779B97F4A7C15u >> 51;
    for (int tries = 0; tries < WEIGHTS_MOST; tries++, i = (i + 1) % WEIGHTS_MOST) {
        if (table[i].at == at || (for_new && (!table[i].at || table[i].at == FORGOTTEN)))
            return &table[i];
        if (!table[i].at)
            return NULL;
    }
    return NULL;
}

/* Register a weight (n, k), which stays where it is until it is forgotten; 0 if there are too many.
   This and the next function are called while no product is computed. */
int star_products_register(const float *at, int n, int k) {
    if (registered >= WEIGHTS_MOST / 2)
        return 0;
    weight *w = slot(at, 0);
    if (!w) {
        w = slot(at, 1);
        *w = (weight){at, n, k, 0, {0}, {0}};
        registered++;
    }
    return 1;
}

void star_products_forget(const float *at) {
    weight *w = slot(at, 0);
    if (!w)
        return;
    for (int i = 0; i < 2; i++)
        if (w->packed[i]) {
            memory_destroy(w->packed[i]);
            desc_destroy(w->desc[i]);
        }
    *w = (weight){FORGOTTEN, 0, 0, 0, {0}, {0}};
    registered--;
    if (table[(w - table + 1) % WEIGHTS_MOST].at)
        return;
    while (w->at == FORGOTTEN) { /* nothing is searched for beyond it */
        w->at = NULL;
        w = &table[(w - table + WEIGHTS_MOST - 1) % WEIGHTS_MOST];
    }
}

static void *described(int rows, int columns, int type, int transposed) {
    void *made = NULL;
    const dims sizes = {rows, columns}, strides = {transposed ? 1 : columns, transposed ? rows : 1};
    return desc_strided(&made, 2, sizes, type, strides) ? NULL : made;
}

static void *of_any_layout(int rows, int columns) {
    void *made = NULL;
    const dims sizes = {rows, columns};
    return desc_create(&made, 2, sizes, BF16, ANY) ? NULL : made;
}

/* An attribute by which a product is added to what is there, or NULL. */
static void *adding(void) {
    void *attr = NULL, *ops = NULL;
    int fine = !post_ops_create(&ops) && !append_sum(ops, 1.0f, 0, 0) && !attr_create(&attr) &&
               !attr_post_ops(attr, ops);
    if (ops)
        post_ops_destroy(ops);
    if (attr && !fine)
        attr_destroy(attr);
    return fine ? attr : NULL;
}

/* A primitive for (m, k) x (k, n), or NULL; *desc is the layout of the weight, chosen here if NULL. */
static void *product(int m, int n, int k, int sum, void **desc) {
    void *attr = sum ? adding() : NULL, *pd = NULL, *made = NULL;
    if (sum && !attr)
        return NULL;
    void *src = described(m, k, BF16, 0), *dst = described(m, n, F32, 0);
    void *any = *desc ? NULL : of_any_layout(k, n);
    if (matmul(&pd, engine, src, *desc ? *desc : any, NULL, dst, attr) == 0) {
        if (!*desc)
            desc_clone(desc, pd_desc(pd, QUERY_WEIGHTS, 0));
        if (primitive_create(&made, pd))
            made = NULL;
        pd_destroy(pd);
    }
    desc_destroy(src);
    desc_destroy(dst);
    if (any)
        desc_destroy(any);
    if (attr)
        attr_destroy(attr);
    return made;
}

/* Copy from one layout or type to another; 0 if oneDNN cannot. */
static int copied(void *from_desc, in from, void *to_desc, void *to) {
    void *pd = NULL, *primitive = NULL, *source = NULL;
    int fine = 0;
    if (!reorder(&pd, from_desc, engine, to_desc, engine, NULL) &&
        !primitive_create(&primitive, pd) &&
        !memory_create(&source, from_desc, engine, (void *)from)) {
        const argument arguments[] = {{SRC, source}, {DST, to}};
        fine = !execute(primitive, here->stream, 2, arguments);
    }
    if (source)
        memory_destroy(source);
    if (primitive)
        primitive_destroy(primitive);
    if (pd)
        pd_destroy(pd);
    return fine;
}

/* The rounded values of a packed weight (n, k), row by row, as numbers of a type; NULL, or to be
   freed. */
static void *unpacked(weight *w, int type) {
    void *plain = described(w->k, w->n, type, 1), *to = NULL, *data = NULL;
    void *values = calloc((size_t)w->n * w->k, type == F32 ? 4 : 2);
    int fine = values && !memory_handle_of(w->packed[0], &data) &&
               !memory_create(&to, plain, engine, values) &&
               copied(w->desc[0], data, plain, to);
    if (to)
        memory_destroy(to);
    desc_destroy(plain);
    if (!fine) {
        free(values);
        values = NULL;
    }
    return values;
}

/* Round and pack a weight for x W^T (which 0) or y W (which 1); 0 if oneDNN cannot. */
static int pack(weight *w, int which) {
    int k = which ? w->n : w->k, n = which ? w->k : w->n, type = w->vacated ? BF16 : F32, fine = 0;
    void *desc = NULL, *to = NULL;
    void *values = w->vacated ? unpacked(w, BF16) : (void *)w->at;
    void *plain = described(k, n, type, !which), *unused = product(64, n, k, 0, &desc);
    if (values && unused && !memory_create(&to, desc, engine, ALLOCATE))
        fine = copied(plain, values, desc, to);
    if (unused)
        primitive_destroy(unused);
    if (w->vacated)
        free(values);
    desc_destroy(plain);
    if (fine) {
        w->desc[which] = desc;
        __atomic_store_n(&w->packed[which], to, __ATOMIC_RELEASE);
    } else {
        if (to)
            memory_destroy(to);
        if (desc)
            desc_destroy(desc);
    }
    return fine;
}

static int packed(weight *w, int which) {
    if (__atomic_load_n(&w->packed[which], __ATOMIC_ACQUIRE))
        return 1;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
        sched_yield();
    int fine = w->packed[which] || pack(w, which);
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    return fine;
}

/* This thread's primitive for a shape. Threads have their own, since a primitive's memory is not
   shared. */
static plan *planned(int m, int n, int k, int sum, weight *w, int which) {
    worker *me = here;
    unsigned i = (((m * 31u + n) * 31u + k) * 31u + me->threads) * 2u + sum;
    for (i = (i * 2654435761u) % PLANS;; i = (i + 1) % PLANS) {
        plan *p = &me->made[i];
        if (p->primitive && p->m == m && p->n == n && p->k == k && p->sum == sum &&
            p->threads == me->threads) /* for which a primitive divides its work */
            return p;
        if (p->primitive)
            continue;
        if (me->plans > PLANS / 2) {
            for (int j = 0; j < PLANS; j++)
                if (me->made[j].primitive) {
                    primitive_destroy(me->made[j].primitive);
                    memory_destroy(me->made[j].src);
                    memory_destroy(me->made[j].dst);
                    me->made[j].primitive = NULL;
                }
            me->plans = 0;
            return planned(m, n, k, sum, w, which);
        }
        void *src = described(m, k, BF16, 0), *dst = described(m, n, F32, 0);
        p->primitive = product(m, n, k, sum, &w->desc[which]);
        if (p->primitive &&
            (memory_create(&p->src, src, engine, NULL) || memory_create(&p->dst, dst, engine, NULL)))
            p->primitive = NULL;
        desc_destroy(src);
        desc_destroy(dst);
        if (!p->primitive)
            return NULL;
        p->m = m, p->n = n, p->k = k, p->sum = sum, p->threads = me->threads;
        me->plans++;
        return p;
    }
}

#ifdef __x86_64__
__attribute__((target("avx512f,avx512bw,avx512vl")))
#endif
static void
round_row(const uint32_t *restrict from, uint16_t *restrict to, int n) {
    for (int i = 0; i < n; i++) { /* to nearest, ties to even; NaN stays NaN */
        uint32_t x = from[i];
        uint32_t y = (x + 0x7fff + (x >> 16 & 1)) >> 16;
        to[i] = (uint16_t)((x & 0x7fffffff) > 0x7f800000 ? x >> 16 | 0x40 : y);
    }
}

static int begin(void) {
    if (!here) {
        worker *me = calloc(1, sizeof(worker));
        if (!me || stream_create(&me->stream, engine, STREAM)) {
            free(me);
            return 0;
        }
        here = me;
    }
    if (here->threads != wanted_threads)
        set_threads(here->threads = wanted_threads);
    return 1;
}

static uint16_t *rounded(const float *a, int lda, int m, int k) {
    size_t size = (size_t)m * k;
    if (here->room < size) {
        free(here->rounded);
        here->rounded = calloc(size, sizeof(uint16_t));
        here->room = here->rounded ? size : 0;
    }
    if (here->rounded)
        for (int i = 0; i < m; i++)
            round_row((const uint32_t *)a + (size_t)i * lda, here->rounded + (size_t)i * k, k);
    return here->rounded;
}

static int compute(weight *w, int which, int m, int n, int k, const float *a, int lda, float beta,
                   float *c) {
    if (!begin() || !packed(w, which))
        return 0;
    plan *p = planned(m, n, k, beta != 0, w, which);
    uint16_t *x = p ? rounded(a, lda, m, k) : NULL;
    if (!x || memory_handle(p->src, x) || memory_handle(p->dst, c))
        return 0;
    const argument arguments[] = {{SRC, p->src}, {WEIGHTS, w->packed[which]}, {DST, p->dst}};
    return !execute(p->primitive, here->stream, 3, arguments);
}

/* Pack a registered weight for x W^T, and give the pages that only its float32 values are in back to
   the system; the bytes of these. No product is computed at this time. */
long star_products_vacate(const float *at) {
    enum { PAGE = 4096, DONTNEED = 4 };
    weight *w = slot(at, 0);
    if (!w || w->vacated || !begin() || !packed(w, 0))
        return 0;
    size_t first = ((size_t)at + PAGE - 1) / PAGE * PAGE;
    size_t end = ((size_t)at + (size_t)w->n * w->k * sizeof(float)) / PAGE * PAGE;
    if (end <= first || madvise((void *)first, end - first, DONTNEED))
        return 0;
    w->vacated = 1;
    return (long)(end - first);
}

/* Free what is packed for y W, which training alone needs. No product is computed at this time. */
void star_products_trained(void) {
    for (int i = 0; i < WEIGHTS_MOST; i++)
        if (table[i].packed[1]) {
            memory_destroy(table[i].packed[1]);
            desc_destroy(table[i].desc[1]);
            table[i].packed[1] = table[i].desc[1] = NULL;
        }
}

int star_product(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                 const float **whole, int ldb, float beta, float *c, int ldc) {
    enum { ROWS = 101, PLAIN = 111, TRANSPOSED = 112 };
    const float *b = *whole;
    weight *w = registered ? slot(b, 0) : NULL;
    if (!w)
        return 0;
    int which = tb == PLAIN;
    int same = which ? w->n == k && w->k == n && ldb == n : w->n == n && w->k == k && ldb == k;
    int fine = order == ROWS && ta == PLAIN && same && alpha == 1 && (beta == 0 || beta == 1) &&
               ldc == n && compute(w, which, m, n, k, a, lda, beta, c);
    __atomic_add_fetch(fine ? &done : &left, 1, __ATOMIC_RELAXED);
    if (!fine && w->vacated && (!begin() || !(*whole = unpacked(w, F32))))
        abort(); /* out of memory; the caller would read zeros */
    return fine;
}
