/* A PKCS#11 module that behaves like a network HSM: it forwards to a real module, but takes its time.
 *
 * For measurements and for tests of failure; never for production. Everything is set by environment
 * variables, which are read once, at the first call:
 *
 *   SIMHSM_MODULE       path of the real module (required)
 *   SIMHSM_SIGNINIT_US  what C_SignInit takes, in microseconds (0: what the real module takes)
 *   SIMHSM_LENGTH_US    the same for the length query, C_Sign with no output buffer
 *   SIMHSM_SIGN_US      the same for C_Sign
 *   SIMHSM_SLOTS        how many of those run at once in this process, others wait (0: no bound)
 *   SIMHSM_CANNED       1: C_SignInit and C_Sign never reach the real module; signatures have the right
 *                       length and do not verify
 *   SIMHSM_PRIMES_FILE  the same, but every signature is a real one of the key in this file (simhsm_primes.c): the
 *                       token's only key, for CKM_RSA_PKCS alone; shown as one that was made inside, though it was imported
 *   SIMHSM_REPEATS      1: an input that a key has signed before gets the same signature again, from memory; the
 *                       first is the real module's. So the signatures verify, and cost the device no CPU
 *   SIMHSM_FAULTS_FILE  fault rules (see simhsm_faults.c); read again within 10 ms of a change
 *   SIMHSM_LOG          a file to which each finished C_Sign appends one line, in one write:
 *                       pid session input-tail rv signature-head unix-us     (hex; 8 bytes of each; - for none)
 *
 * A chosen time is the whole time of the call: the real module's own work counts toward it. A call that
 * waits for a slot waits on top of that.
 *
 * Limits: multi-part signing (C_SignUpdate, C_SignFinal) is forwarded without delay or log line; slots are
 * counted per process.
 */
#define _GNU_SOURCE
#include "simhsm.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TAIL_BYTES = 8, SCRATCH_BYTES = 2048 };

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list); /* exported at the end, compared with in between */

static struct {
    long signinit_us, length_us, sign_us, slots;
    bool canned, repeats;
    int log_fd;
} config = {.log_fd = -1};

CK_FUNCTION_LIST real;
static CK_FUNCTION_LIST inner; /* the real module's functions, with our own in place of a few */
static bool loaded;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static sem_t slots;

static void complain(const char *what, const char *detail) {
    fprintf(stderr, "simhsm: %s: %s\n", what, detail ? detail : "unknown");
}

/* ---- time ---- */

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

void sleep_until(int64_t deadline_ns) {
    /* Linux rounds sleeps by 50 us unless the thread asks for less (prctl(2), PR_SET_TIMERSLACK). */
    static _Thread_local bool precise;
    if (!precise) {
        prctl(PR_SET_TIMERSLACK, 1UL);
        precise = true;
    }
    struct timespec t = {.tv_sec = deadline_ns / NS_PER_S, .tv_nsec = deadline_ns % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

/* A stretch of the device's time: one slot, held until the chosen time is over. */
struct service {
    int64_t end_ns;
    bool timed, slotted;
};

static struct service service_begin(long us, bool needs_slot) {
    struct service s = {.timed = us > 0, .slotted = config.slots > 0 && (needs_slot || us > 0)};
    if (s.slotted)
        while (sem_wait(&slots) && errno == EINTR) {
        }
    if (s.timed)
        s.end_ns = now_ns() + us * 1000;
    return s;
}

static void service_end(struct service s) {
    if (s.timed)
        sleep_until(s.end_ns);
    if (s.slotted)
        sem_post(&slots);
}

/* ---- the log of an independent observer ---- */

static void hex(char *out, const CK_BYTE *bytes, CK_ULONG n) {
    if (!n)
        strcpy(out, "-");
    for (CK_ULONG i = 0; i < n; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
}

static void log_sign(CK_S s, const CK_BYTE *in, CK_ULONG n, CK_RV rv, const CK_BYTE *out, CK_ULONG m) {
    if (config.log_fd < 0)
        return;
    char line[160], tail[2 * TAIL_BYTES + 1], head[2 * TAIL_BYTES + 1];
    CK_ULONG k = !in ? 0 : n < TAIL_BYTES ? n : TAIL_BYTES;
    hex(tail, in + n - k, k);
    hex(head, out, rv != CKR_OK ? 0 : m < TAIL_BYTES ? m : TAIL_BYTES);
    struct timespec t;
    /* The kernel's clock: a test may have preloaded another one for the process, and an observer has the host's. */
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    int length = snprintf(line, sizeof line, "%d %lu %s 0x%lx %s %lld\n", (int)getpid(), s, tail, rv, head,
                          (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
    while (write(config.log_fd, line, (size_t)length) < 0 && errno == EINTR) {
    }
}

/* ---- our own functions ---- */

static CK_RV sim_Initialize(void *init) {
    CK_C_INITIALIZE_ARGS *args = init;
    /* We lock with pthreads, never with the caller's mutexes (PKCS#11 2.40, C_Initialize, case 3). */
    if (args && args->create_mutex && !(args->flags & CKF_OS_LOCKING_OK))
        return CKR_CANT_LOCK;
    return real.C_Initialize(init);
}

static CK_RV sim_Finalize(void *reserved) {
    CK_RV rv = real.C_Finalize(reserved);
    if (rv == CKR_OK) {
        canned_forget_all();
        repeats_forget_all();
    }
    return rv;
}

static CK_RV sim_CloseSession(CK_S s) {
    canned_forget_session(s);
    return real.C_CloseSession(s);
}

static CK_RV canned_answer_init(CK_S s, const CK_MECHANISM *m, CK_O key) {
    return primes_loaded() && m->mechanism != CKM_RSA_PKCS ? CKR_MECHANISM_INVALID : canned_init(s, key);
}

static CK_RV device_init(CK_S s, CK_MECHANISM *m, CK_O key) {
    if (config.canned)
        return canned_answer_init(s, m, key);
    return config.repeats ? repeats_init(s, m, key) : real.C_SignInit(s, m, key);
}

static CK_RV device_sign(CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    if (config.canned)
        return canned_sign(s, in, n, out, m);
    return config.repeats ? repeats_sign(s, in, n, out, m) : real.C_Sign(s, in, n, out, m);
}

static CK_RV sim_SignInit(CK_S s, CK_MECHANISM *m, CK_O key) {
    struct service service = service_begin(config.signinit_us, false);
    CK_RV rv = device_init(s, m, key);
    service_end(service);
    return rv;
}

static CK_RV sim_GetAttributeValue(CK_S s, CK_O object, CK_ATTRIBUTE *a, CK_ULONG n) {
    CK_RV rv = real.C_GetAttributeValue(s, object, a, n);
    for (CK_ULONG i = 0; primes_loaded() && i < n; i++) {
        bool inside = a[i].type == CKA_LOCAL || a[i].type == CKA_ALWAYS_SENSITIVE || a[i].type == CKA_NEVER_EXTRACTABLE;
        if (inside && a[i].value && a[i].value_len == 1)
            *(CK_BBOOL *)a[i].value = 1;
    }
    return rv;
}

static CK_RV length_query(CK_S s, CK_BYTE *in, CK_ULONG n, CK_ULONG *m) {
    struct verdict verdict = judge(FN_C_SignLength, NULL, 0);
    if (verdict.refused)
        return verdict.rv;
    struct service service = service_begin(config.length_us, false);
    CK_RV rv = device_sign(s, in, n, NULL, m);
    service_end(service);
    return rv;
}

static CK_RV sim_Sign(CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    if (!m)
        return CKR_ARGUMENTS_BAD;
    if (!out)
        return length_query(s, in, n, m);
    struct verdict verdict = judge(FN_C_Sign, in, n);
    CK_BYTE scratch[SCRATCH_BYTES];
    CK_ULONG scratch_len = sizeof scratch;
    if (verdict.refused) { /* the operation must end in the real module too, but nothing may get out */
        out = scratch;
        m = &scratch_len;
    }
    struct service service = service_begin(config.sign_us, true);
    CK_RV rv = device_sign(s, in, n, out, m);
    service_end(service);
    if (verdict.refused)
        rv = verdict.rv;
    if (rv == CKR_OK && verdict.corrupt && *m)
        out[*m - 1] ^= 1;
    log_sign(s, in, n, rv, out, *m);
    return rv;
}

/* ---- loading ---- */

static bool number_from_environment(const char *name, long *value) {
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return true;
    errno = 0;
    *value = strtol(text, &end, 10);
    if (errno || *end || *value < 0) {
        complain(name, "not a whole number, or negative");
        return false;
    }
    return true;
}

static bool read_environment(void) {
    long canned = 0, repeats = 0;
    const char *log = getenv("SIMHSM_LOG"), *faults = getenv("SIMHSM_FAULTS_FILE");
    const char *primes = getenv("SIMHSM_PRIMES_FILE");
    if (!number_from_environment("SIMHSM_SIGNINIT_US", &config.signinit_us) ||
        !number_from_environment("SIMHSM_LENGTH_US", &config.length_us) ||
        !number_from_environment("SIMHSM_SIGN_US", &config.sign_us) ||
        !number_from_environment("SIMHSM_SLOTS", &config.slots) ||
        !number_from_environment("SIMHSM_CANNED", &canned) ||
        !number_from_environment("SIMHSM_REPEATS", &repeats))
        return false;
    if (primes && *primes && !primes_open(primes)) {
        complain("SIMHSM_PRIMES_FILE", "not 96 primes of 3,072 bits, each with its exponent");
        return false;
    }
    config.canned = canned != 0 || primes_loaded();
    config.repeats = repeats != 0;
    if (config.slots > 0)
        sem_init(&slots, 0, (unsigned)config.slots);
    if (faults && *faults && !faults_open(faults)) {
        complain("SIMHSM_FAULTS_FILE", "out of memory");
        return false;
    }
    if (log && *log && (config.log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) < 0) {
        complain(log, strerror(errno));
        return false;
    }
    return true;
}

static bool load_real_module(void) {
    const char *path = getenv("SIMHSM_MODULE");
    CK_GET_FUNCTION_LIST get = NULL;
    CK_FUNCTION_LIST *list = NULL;
    if (!path || !*path) {
        complain("SIMHSM_MODULE", "not set");
        return false;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module)
        *(void **)&get = dlsym(module, "C_GetFunctionList");
    if (!get) {
        complain(path, dlerror());
        return false;
    }
    if (get(&list) || !list || (void *)get == (void *)C_GetFunctionList) {
        complain(path, "no usable function list");
        return false;
    }
    memcpy(&real, list, sizeof real);
    return true;
}

static void load(void) {
    if (!load_real_module() || !read_environment())
        return;
    inner = real;
    inner.C_Initialize = sim_Initialize;
    inner.C_Finalize = sim_Finalize;
    inner.C_CloseSession = sim_CloseSession;
    inner.C_GetAttributeValue = sim_GetAttributeValue;
    inner.C_SignInit = sim_SignInit;
    inner.C_Sign = sim_Sign;
    loaded = true;
}

static bool ready(void) {
    pthread_once(&load_once, load);
    return loaded;
}

/* ---- what the module exports ---- */

#define EXPORTED __attribute__((visibility("default")))
#define NOTHING(name, parameters, arguments)
#define DEFINE_FORWARDER(name, parameters, arguments)                                   \
    EXPORTED CK_RV name parameters {                                                    \
        if (!ready())                                                                   \
            return CKR_GENERAL_ERROR;                                                   \
        if (FN_##name != FN_C_Sign) { /* C_Sign judges for itself: it knows its input */ \
            struct verdict verdict = judge(FN_##name, NULL, 0);                         \
            if (verdict.refused)                                                        \
                return verdict.rv;                                                      \
        }                                                                               \
        return inner.name arguments;                                                    \
    }
PKCS11_FUNCTIONS(DEFINE_FORWARDER, NOTHING)

EXPORTED CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
#define FUNCTION_POINTER(name, parameters, arguments) .name = name,
    static CK_FUNCTION_LIST functions = {.version = {2, 40}, PKCS11_FUNCTIONS(FUNCTION_POINTER, FUNCTION_POINTER)};
    if (!list)
        return CKR_ARGUMENTS_BAD;
    if (!ready())
        return CKR_GENERAL_ERROR;
    *list = &functions;
    return CKR_OK;
}
