/* What the parts of the simulated HSM share. */
#ifndef SIGMILL_SIMHSM_H
#define SIGMILL_SIMHSM_H

#include "pkcs11_min.h"

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_S 1000000000LL

#define FUNCTION_ID(name, parameters, arguments) FN_##name,
enum function_id { PKCS11_FUNCTIONS(FUNCTION_ID, FUNCTION_ID) FN_C_SignLength, FN_COUNT };

/* simhsm.c */
extern CK_FUNCTION_LIST real; /* the real module's functions */
int64_t now_ns(void);
void sleep_until(int64_t deadline_ns);

/* simhsm_faults.c: what the rules say of a call. Hangs, exits and crashes have happened when it returns. */
struct verdict {
    bool refused, corrupt;
    CK_RV rv; /* where refused */
};
bool faults_open(const char *path);
struct verdict judge(enum function_id function, const CK_BYTE *in, CK_ULONG n);

/* simhsm_canned.c: sign operations that never reach the real module. */
struct operation {
    CK_SESSION_HANDLE session;
    CK_ULONG length; /* canned: of the signature; 0: no operation is active */
    bool held;       /* repeats: begun, and not in the real module yet */
    CK_ULONG mechanism;
    CK_OBJECT_HANDLE key;
    struct operation *next;
};
struct operation *operation_of(CK_S s);
CK_ULONG signature_length(CK_S s, CK_O key);
CK_RV canned_init(CK_S s, CK_O key);
CK_RV canned_sign(CK_S s, const CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m);
void canned_forget_session(CK_S s);
void canned_forget_all(void);

/* simhsm_primes.c: real signatures, at next to no cost. */
enum { PRIMES_BYTES = 384 }; /* of a signature */
bool primes_open(const char *path);
bool primes_loaded(void);
bool primes_sign(const CK_BYTE *in, CK_ULONG n, CK_BYTE *out);

/* simhsm_repeats.c: sign operations that reach the real module the first time only. */
CK_RV repeats_init(CK_S s, CK_MECHANISM *m, CK_O key);
CK_RV repeats_sign(CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m);
void repeats_forget_all(void);

#endif
