/* Loop of a lane over the digests of a run, without the GIL and without a call into Python.
 *
 * The caller fills one `struct run` and calls `sigmill_sign_run`. Two functions of the module are called for each digest:
 * C_SignInit and C_Sign (PKCS#11 3.1, 5.13.1 and 5.13.2), with a buffer, so that none is asked for the length.
 * Nothing is allocated, nothing is read from elsewhere, and no other library is linked: `loop.py` checks what came out.
 *
 * CK_ULONG is an unsigned long, and no structure is packed: so it is on Unix (PKCS#11 3.1, 2.1).
 */

typedef unsigned char byte;
typedef unsigned long ulong_t; /* CK_ULONG, CK_RV, and all handles */

typedef struct {
    ulong_t mechanism;
    void *parameter;
    ulong_t parameter_bytes;
} mechanism_t; /* CK_MECHANISM */

typedef ulong_t (*c_sign_init_t)(ulong_t session, mechanism_t *mechanism, ulong_t key);
typedef ulong_t (*c_sign_t)(ulong_t session, byte *data, ulong_t data_bytes, byte *signature, ulong_t *signature_bytes);

/* The same fields in the same order are in `loop.py`. */
struct run {
    c_sign_init_t c_sign_init;
    c_sign_t c_sign;
    ulong_t session, key;
    mechanism_t *mechanism;
    ulong_t count;       /* inputs */
    byte *inputs;        /* count times input_bytes */
    ulong_t input_bytes; /* length of each input */
    byte *signatures;    /* count times room_bytes */
    ulong_t room_bytes;  /* room for a signature */
    ulong_t *lengths;    /* count: length of each signature as the module says it, not checked */
    ulong_t calls;       /* calls of C_Sign so far, failed ones included */
    ulong_t signed_;     /* signatures so far; other threads read it to see progress */
    ulong_t stop;        /* another thread asks to sign no further digest */
};

/* Sign the inputs in order, until one fails or `stop` is set. Returns CKR_OK, or the value of the call that failed: that of
 * input number `signed_`. */
__attribute__((visibility("default"))) ulong_t sigmill_sign_run(struct run *run) {
    for (ulong_t i = 0; i < run->count && !__atomic_load_n(&run->stop, __ATOMIC_ACQUIRE); i++) {
        ulong_t code = run->c_sign_init(run->session, run->mechanism, run->key);
        if (code)
            return code;
        run->lengths[i] = run->room_bytes;
        run->calls++; /* before: a call that fails may have signed */
        code = run->c_sign(run->session, run->inputs + i * run->input_bytes, run->input_bytes,
                           run->signatures + i * run->room_bytes, &run->lengths[i]);
        if (code)
            return code;
        __atomic_store_n(&run->signed_, i + 1, __ATOMIC_RELEASE);
    }
    return 0;
}
