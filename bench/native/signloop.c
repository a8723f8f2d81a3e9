/* How fast a PKCS#11 module signs when nothing else is in the way: the ceiling of the machine.
 *
 *   signloop --module PATH --token LABEL --key LABEL --mechanism rsa|ecdsa|eddsa --input-bytes N
 *            [--threads N] [--verify]
 *
 * The PIN comes from --pin-file, or the environment variable SIGNLOOP_PIN. The module is initialised with
 * CKF_OS_LOCKING_OK; the private key must be the only one with its label. Each thread has a session.
 *
 * Talk, so that several processes can start together and rounds can alternate with others: it prints
 * "ready" when every session is open; then for each line "go SECONDS" on stdin it signs for that long and
 * prints one JSON object: signatures, seconds (until the last thread stopped), rate_per_s (the sum over
 * threads of its own rate), cpu_s. It ends at the end of stdin. --verify checks each signature by C_Verify
 * with the public key of the same label. Any failure ends it with 1 and a line on stderr.
 */
#define _GNU_SOURCE
#include "pkcs11_min.h"

#include <dlfcn.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { THREADS_MAX = 256, INPUT_MAX = 256, SIGNATURE_MAX = 1024, SLOTS_MAX = 256, PIN_MAX = 256 };

static struct {
    const char *module, *token, *key, *pin_file;
    CK_ULONG mechanism, input_bytes, threads;
    bool verify;
} option = {.threads = 1};

static CK_FUNCTION_LIST *p11;
static CK_O private_key, public_key;
static double round_s; /* set before the threads of a round start */
static pthread_barrier_t start_line;

struct signer {
    pthread_t thread;
    CK_S session;
    uint64_t serial; /* makes every input new */
    uint64_t signatures;
    double seconds;
};
static struct signer signers[THREADS_MAX];

static _Noreturn void fail(const char *what, CK_RV rv) {
    fprintf(stderr, "signloop: %s (0x%lx)\n", what, rv);
    exit(1);
}

static void check(CK_RV rv, const char *what) {
    if (rv != CKR_OK)
        fail(what, rv);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* ---- one round ---- */

static void fill_input(CK_BYTE *input, uint64_t serial) {
    /* RFC 8017 9.2: the DigestInfo of SHA-256 is these 19 bytes and the digest. */
    static const CK_BYTE sha256_prefix[19] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                              0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    if (option.mechanism == CKM_RSA_PKCS && option.input_bytes == 51)
        memcpy(input, sha256_prefix, sizeof sha256_prefix);
    memcpy(input + option.input_bytes - sizeof serial, &serial, sizeof serial);
}

static void sign_one(struct signer *me, CK_BYTE *input) {
    CK_MECHANISM mechanism = {option.mechanism, NULL, 0};
    CK_BYTE signature[SIGNATURE_MAX];
    CK_ULONG n = sizeof signature;
    fill_input(input, me->serial++);
    check(p11->C_SignInit(me->session, &mechanism, private_key), "C_SignInit");
    check(p11->C_Sign(me->session, input, option.input_bytes, signature, &n), "C_Sign");
    if (!option.verify)
        return;
    check(p11->C_VerifyInit(me->session, &mechanism, public_key), "C_VerifyInit");
    check(p11->C_Verify(me->session, input, option.input_bytes, signature, n), "C_Verify");
}

static void *sign_for_a_while(void *argument) {
    struct signer *me = argument;
    CK_BYTE input[INPUT_MAX];
    memset(input, 0x5a, sizeof input);
    me->signatures = 0;
    pthread_barrier_wait(&start_line);
    double start = now_s();
    do {
        sign_one(me, input);
        me->signatures++;
        me->seconds = now_s() - start;
    } while (me->seconds < round_s);
    return NULL;
}

static void run_round(double seconds) {
    round_s = seconds;
    double cpu = cpu_s(), rate = 0, longest = 0;
    uint64_t total = 0;
    for (CK_ULONG i = 0; i < option.threads; i++)
        if (pthread_create(&signers[i].thread, NULL, sign_for_a_while, &signers[i]))
            fail("pthread_create", 0);
    for (CK_ULONG i = 0; i < option.threads; i++) {
        pthread_join(signers[i].thread, NULL);
        total += signers[i].signatures;
        rate += (double)signers[i].signatures / signers[i].seconds;
        longest = signers[i].seconds > longest ? signers[i].seconds : longest;
    }
    printf("{\"signatures\": %llu, \"seconds\": %.6f, \"rate_per_s\": %.3f, \"cpu_s\": %.6f}\n",
           (unsigned long long)total, longest, rate, cpu_s() - cpu);
    fflush(stdout);
}

/* ---- start-up ---- */

static void load_module(void) {
    CK_GET_FUNCTION_LIST get = NULL;
    CK_C_INITIALIZE_ARGS locking = {.flags = CKF_OS_LOCKING_OK};
    void *module = dlopen(option.module, RTLD_NOW | RTLD_LOCAL);
    if (module)
        *(void **)&get = dlsym(module, "C_GetFunctionList");
    if (!get) {
        fprintf(stderr, "signloop: %s\n", dlerror());
        exit(1);
    }
    check(get(&p11), "C_GetFunctionList");
    check(p11->C_Initialize(&locking), "C_Initialize");
}

static CK_SLOT_ID find_token(void) {
    CK_SLOT_ID slots[SLOTS_MAX], found = 0;
    CK_ULONG n = SLOTS_MAX, hits = 0;
    char wanted[33];
    snprintf(wanted, sizeof wanted, "%-32s", option.token);
    check(p11->C_GetSlotList(1, slots, &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && !memcmp(info.label, wanted, sizeof info.label)) {
            found = slots[i];
            hits++;
        }
    }
    if (hits != 1)
        fail("tokens with this label, instead of one", hits);
    return found;
}

static CK_O find_key(CK_ULONG class) {
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class},
                             {CKA_LABEL, (void *)option.key, strlen(option.key)}};
    CK_O found[2];
    CK_ULONG n = 0;
    check(p11->C_FindObjectsInit(signers[0].session, wanted, 2), "C_FindObjectsInit");
    check(p11->C_FindObjects(signers[0].session, found, 2, &n), "C_FindObjects");
    check(p11->C_FindObjectsFinal(signers[0].session), "C_FindObjectsFinal");
    if (n != 1)
        fail(class == CKO_PRIVATE_KEY ? "private keys with this label, instead of one"
                                      : "public keys with this label, instead of one", n);
    return found[0];
}

static void log_in(void) {
    char pin[PIN_MAX] = "";
    const char *from_environment = getenv("SIGNLOOP_PIN");
    FILE *file = option.pin_file ? fopen(option.pin_file, "re") : NULL;
    if (option.pin_file && (!file || !fgets(pin, sizeof pin, file)))
        fail("cannot read the PIN file", 0);
    if (file)
        fclose(file);
    else if (from_environment)
        snprintf(pin, sizeof pin, "%s", from_environment);
    pin[strcspn(pin, "\r\n")] = 0;
    check(p11->C_Login(signers[0].session, CKU_USER, (CK_BYTE *)pin, strlen(pin)), "C_Login");
    explicit_bzero(pin, sizeof pin);
}

static void get_ready(void) {
    load_module();
    CK_SLOT_ID slot = find_token();
    for (CK_ULONG i = 0; i < option.threads; i++)
        check(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &signers[i].session), "C_OpenSession");
    log_in();
    private_key = find_key(CKO_PRIVATE_KEY);
    if (option.verify)
        public_key = find_key(CKO_PUBLIC_KEY);
    for (CK_ULONG i = 0; i < option.threads; i++)
        signers[i].serial = (uint64_t)i << 48;
    pthread_barrier_init(&start_line, NULL, (unsigned)option.threads);
}

static CK_ULONG mechanism_named(const char *name) {
    if (!strcmp(name, "rsa"))
        return CKM_RSA_PKCS;
    if (!strcmp(name, "ecdsa"))
        return CKM_ECDSA;
    return strcmp(name, "eddsa") ? 0 : CKM_EDDSA;
}

static void read_options(int argc, char **argv) {
    enum { MODULE, TOKEN, KEY, PIN_FILE, MECHANISM, INPUT_BYTES, THREADS, VERIFY };
    static const struct option known[] = {
        {"module", 1, NULL, MODULE},       {"token", 1, NULL, TOKEN},
        {"key", 1, NULL, KEY},             {"pin-file", 1, NULL, PIN_FILE},
        {"mechanism", 1, NULL, MECHANISM}, {"input-bytes", 1, NULL, INPUT_BYTES},
        {"threads", 1, NULL, THREADS},     {"verify", 0, NULL, VERIFY},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case MODULE: option.module = optarg; break;
        case TOKEN: option.token = optarg; break;
        case KEY: option.key = optarg; break;
        case PIN_FILE: option.pin_file = optarg; break;
        case MECHANISM: option.mechanism = mechanism_named(optarg); break;
        case INPUT_BYTES: option.input_bytes = strtoul(optarg, NULL, 10); break;
        case THREADS: option.threads = strtoul(optarg, NULL, 10); break;
        case VERIFY: option.verify = true; break;
        default: exit(2);
        }
    if (!option.module || !option.token || !option.key || !option.mechanism || option.input_bytes < 8 ||
        option.input_bytes > INPUT_MAX || option.threads < 1 || option.threads > THREADS_MAX) {
        fputs("signloop: --module, --token, --key, --mechanism and --input-bytes (8..256) are needed\n", stderr);
        exit(2);
    }
}

int main(int argc, char **argv) {
    char line[128];
    double seconds;
    read_options(argc, argv);
    get_ready();
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "go %lf", &seconds) != 1 || seconds <= 0)
            fail("cannot read the command", 0);
        run_round(seconds);
    }
    p11->C_Finalize(NULL);
    return 0;
}
