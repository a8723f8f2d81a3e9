/* Repeated answers of the simulated HSM: an input that a key has signed before gets the same signature again.
 * The first is the real module's, so each verifies. A load that signs few different inputs then sees a device
 * that costs no CPU, and verification costs what it costs. What is remembered is this process's own, and bounded.
 *
 * C_SignInit reaches the real module only when C_Sign finds nothing in memory. A mechanism with a parameter is
 * forwarded. A key is known by its handle: one that was destroyed must not be replaced by another.
 */
#define _GNU_SOURCE
#include "simhsm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, INPUT_BYTES = 128, SIGNATURE_BYTES = 512, MOST_ANSWERS = 65536 };

struct answer {
    CK_ULONG mechanism, input_len, signature_len;
    CK_OBJECT_HANDLE key;
    struct answer *next;
    CK_BYTE bytes[]; /* input, signature */
};

static struct {
    pthread_mutex_t lock;
    struct answer *first;
} memory[BUCKETS] = {[0 ... BUCKETS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};
static atomic_long answers;

static size_t bucket_of(CK_O key, const CK_BYTE *in, CK_ULONG n) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325ULL ^ key;
    for (CK_ULONG i = 0; i < n; i++)
        hash = (hash ^ in[i]) * 0x100000001b3ULL;
    return (hash ^ hash >> 32) % BUCKETS;
}

/* An answer is never changed nor removed before C_Finalize: it may be read without the lock. */
static const struct answer *remembered(const struct operation *op, const CK_BYTE *in, CK_ULONG n) {
    size_t b = bucket_of(op->key, in, n);
    pthread_mutex_lock(&memory[b].lock);
    const struct answer *a = memory[b].first;
    while (a && (a->key != op->key || a->mechanism != op->mechanism || a->input_len != n ||
                 memcmp(a->bytes, in, n)))
        a = a->next;
    pthread_mutex_unlock(&memory[b].lock);
    return a;
}

static void remember(const struct operation *op, const CK_BYTE *in, CK_ULONG n, const CK_BYTE *out, CK_ULONG m) {
    if (n > INPUT_BYTES || m > SIGNATURE_BYTES || atomic_fetch_add(&answers, 1) >= MOST_ANSWERS)
        return;
    struct answer *a = malloc(sizeof *a + n + m);
    if (!a)
        return;
    *a = (struct answer){.mechanism = op->mechanism, .input_len = n, .signature_len = m, .key = op->key};
    memcpy(a->bytes, in, n);
    memcpy(a->bytes + n, out, m);
    size_t b = bucket_of(op->key, in, n);
    pthread_mutex_lock(&memory[b].lock);
    a->next = memory[b].first; /* two threads may have signed the same: the later one is found */
    memory[b].first = a;
    pthread_mutex_unlock(&memory[b].lock);
}

CK_RV repeats_init(CK_S s, CK_MECHANISM *m, CK_O key) {
    struct operation *op = operation_of(s);
    if (!op || !m || m->parameter)
        return real.C_SignInit(s, m, key);
    if (op->held)
        return CKR_OPERATION_ACTIVE;
    if (!signature_length(s, key)) /* no key that could sign: the real module says why */
        return real.C_SignInit(s, m, key);
    op->held = true;
    op->mechanism = m->mechanism;
    op->key = key;
    return CKR_OK;
}

/* The operation is the real module's from here on, also where the caller's buffer is too small. */
static CK_RV first_time(CK_S s, struct operation *op, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    CK_MECHANISM mechanism = {.mechanism = op->mechanism};
    op->held = false;
    CK_RV rv = real.C_SignInit(s, &mechanism, op->key);
    if (rv == CKR_OK)
        rv = real.C_Sign(s, in, n, out, m);
    if (rv == CKR_OK)
        remember(op, in, n, out, *m);
    return rv;
}

CK_RV repeats_sign(CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    struct operation *op = operation_of(s);
    if (!op || !op->held)
        return real.C_Sign(s, in, n, out, m);
    if (!out) {
        *m = signature_length(s, op->key);
        return CKR_OK;
    }
    const struct answer *known = in ? remembered(op, in, n) : NULL;
    if (!known)
        return first_time(s, op, in, n, out, m);
    CK_ULONG room = *m;
    *m = known->signature_len;
    if (room < known->signature_len)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(out, known->bytes + n, known->signature_len);
    op->held = false;
    return CKR_OK;
}

/* After C_Finalize handles start again. No other thread may be inside. */
void repeats_forget_all(void) {
    for (size_t b = 0; b < BUCKETS; b++)
        while (memory[b].first) {
            struct answer *gone = memory[b].first;
            memory[b].first = gone->next;
            free(gone);
        }
    answers = 0;
}
