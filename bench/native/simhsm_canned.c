/* Answers of the simulated HSM that never reach the real module. Canned ones are signatures of the right length
 * that verify under no key; with a key of small primes (simhsm_primes.c) they are real. They show what
 * everything but the module costs. Which sessions are in a sign operation is kept here.
 */
#define _GNU_SOURCE
#include "simhsm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

static struct {
    pthread_mutex_t lock;
    struct operation *first;
} buckets[BUCKETS] = {[0 ... BUCKETS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static struct { /* one entry: keys change rarely, and a wrong guess only costs two calls more */
    pthread_mutex_t lock;
    CK_OBJECT_HANDLE key;
    CK_ULONG length;
} last_key = {.lock = PTHREAD_MUTEX_INITIALIZER};

static CK_ULONG ec_signature_length(const CK_BYTE *params, CK_ULONG n) {
    /* DER of the curve's OID: the last byte tells P-384 (1.3.132.0.34) and P-521 (...35) apart. */
    if (n == 7 && params[6] == 0x22)
        return 2 * 48;
    if (n == 7 && params[6] == 0x23)
        return 2 * 66;
    return 2 * 32;
}

static CK_ULONG ask_signature_length(CK_S s, CK_O key) {
    CK_ULONG type = 0;
    CK_BYTE params[64];
    CK_ATTRIBUTE kind = {CKA_KEY_TYPE, &type, sizeof type};
    CK_ATTRIBUTE modulus = {CKA_MODULUS, NULL, 0}, curve = {CKA_EC_PARAMS, params, sizeof params};
    if (real.C_GetAttributeValue(s, key, &kind, 1))
        return 0;
    if (type == CKK_RSA)
        return real.C_GetAttributeValue(s, key, &modulus, 1) ? 0 : modulus.value_len;
    if (type == CKK_EC)
        return real.C_GetAttributeValue(s, key, &curve, 1) ? 0 : ec_signature_length(params, curve.value_len);
    return type == CKK_EC_EDWARDS ? 64 : 0;
}

CK_ULONG signature_length(CK_S s, CK_O key) {
    pthread_mutex_lock(&last_key.lock);
    CK_ULONG length = last_key.key == key ? last_key.length : 0;
    pthread_mutex_unlock(&last_key.lock);
    if (length || !(length = ask_signature_length(s, key)))
        return length;
    pthread_mutex_lock(&last_key.lock);
    last_key.key = key;
    last_key.length = length;
    pthread_mutex_unlock(&last_key.lock);
    return length;
}

/* The session's entry, made where there is none. It stays valid until the session is closed. */
struct operation *operation_of(CK_S s) {
    size_t b = s % BUCKETS;
    pthread_mutex_lock(&buckets[b].lock);
    struct operation *op = buckets[b].first;
    while (op && op->session != s)
        op = op->next;
    if (!op && (op = calloc(1, sizeof *op))) {
        op->session = s;
        op->next = buckets[b].first;
        buckets[b].first = op;
    }
    pthread_mutex_unlock(&buckets[b].lock);
    return op;
}

void canned_forget_session(CK_S s) {
    size_t b = s % BUCKETS;
    pthread_mutex_lock(&buckets[b].lock);
    for (struct operation **at = &buckets[b].first; *at; at = &(*at)->next)
        if ((*at)->session == s) {
            struct operation *gone = *at;
            *at = gone->next;
            free(gone);
            break;
        }
    pthread_mutex_unlock(&buckets[b].lock);
}

CK_RV canned_init(CK_S s, CK_O key) {
    struct operation *op = operation_of(s);
    if (!op)
        return CKR_GENERAL_ERROR;
    if (op->length)
        return CKR_OPERATION_ACTIVE;
    CK_ULONG length = signature_length(s, key);
    if (!length || (primes_loaded() && length != PRIMES_BYTES))
        return CKR_KEY_TYPE_INCONSISTENT;
    op->length = length;
    return CKR_OK;
}

CK_RV canned_sign(CK_S s, const CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    struct operation *op = operation_of(s);
    if (!op || !op->length)
        return CKR_OPERATION_NOT_INITIALIZED;
    CK_ULONG room = *m;
    *m = op->length;
    if (!out)
        return CKR_OK;
    if (room < op->length)
        return CKR_BUFFER_TOO_SMALL;
    memset(out, 0x5a, op->length);
    op->length = 0;
    return primes_loaded() && !primes_sign(in, n, out) ? CKR_DATA_LEN_RANGE : CKR_OK;
}

/* After C_Finalize handles start again: the same number may be another key. No other thread may be inside. */
void canned_forget_all(void) {
    for (size_t b = 0; b < BUCKETS; b++)
        while (buckets[b].first)
            canned_forget_session(buckets[b].first->session);
    pthread_mutex_lock(&last_key.lock);
    last_key.length = 0;
    pthread_mutex_unlock(&last_key.lock);
}
