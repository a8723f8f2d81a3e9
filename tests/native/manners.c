/* A PKCS#11 module with the manners of other modules: it forwards to a real one, and differs where it is told to.
 *
 * For tests. MANNERS_MODULE is the path of the real module, MANNERS a list of names separated by commas, some with
 * `=number`, MANNERS_NEIGHBOUR the label of a token whose slot is sick or slow, MANNERS_LOG a file to which each
 * initialisation, login and search appends a line. The names:
 *
 *   search-nothing     a search by another attribute than class, key type, label or id finds nothing
 *   search-ignores     such attributes are left out of the comparison
 *   search-one         a search by several attributes is refused
 *   search-refuses     a search by such an attribute is refused
 *   padded             modulus and exponent have a zero before them, also in searches
 *   raw-point          CKA_EC_POINT without its OCTET STRING
 *   compressed-point   CKA_EC_POINT compressed, in an OCTET STRING
 *   private-bare       private objects show no exponent and no modulus
 *   no-id              CKA_ID is empty and finds nothing
 *   labels-differ      the labels of public objects have "public " before them
 *   padded-labels      the labels of private objects end in NULs, those of public ones in blanks
 *   key-label          the labels of keys end in a byte that is not UTF-8
 *   found-twice        each search returns each handle twice
 *   one-attribute      several attributes in one call: CKR_FUNCTION_FAILED
 *   always             CKA_ALWAYS_AUTHENTICATE is true, and C_Sign wants a login before it
 *   hash-mechanisms    CKA_ALLOWED_MECHANISMS has only mechanisms that hash by themselves
 *   explicit-curve     CKA_EC_PARAMS are explicit
 *   no-zeros           r, s and RSA signatures without leading zeros
 *   der                ECDSA signatures in DER
 *   init-once          a second C_Initialize fails with the given code; C_Finalize keeps the state
 *   no-finalize        C_Finalize is not supported
 *   no-locking         C_Initialize refuses arguments
 *   several-lists      each C_GetFunctionList returns a list of its own, with a state of its own
 *   sick-slot          C_GetTokenInfo of the neighbour fails with the given code
 *   slow-slot          C_GetTokenInfo of the neighbour does not return
 *   slow-login         C_Login takes the given milliseconds
 *   talks              C_Sign writes a line of 1 KiB to stderr
 */
#define _GNU_SOURCE
#include "pkcs11_min.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CKR_TOO_MANY_ATTRIBUTES 0x0D1UL /* CKR_TEMPLATE_INCONSISTENT */
#define CKR_ATTRIBUTE_TYPE_INVALID 0x012UL
#define CKR_FUNCTION_FAILED 0x006UL
#define CKR_FUNCTION_NOT_SUPPORTED 0x054UL
#define CKR_USER_NOT_LOGGED_IN 0x101UL
#define CKR_CRYPTOKI_NOT_INITIALIZED 0x190UL
#define CKR_CRYPTOKI_ALREADY_INITIALIZED 0x191UL
#define CKR_DEVICE_ERROR 0x030UL
#define CKA_ID 0x102UL
#define CKA_PUBLIC_EXPONENT 0x122UL
#define CKA_EC_POINT 0x181UL
#define CKA_ALWAYS_AUTHENTICATE 0x202UL
#define CKA_ALLOWED_MECHANISMS 0x40000600UL
#define CKM_SHA256_RSA_PKCS 0x040UL
#define CKM_ECDSA_SHA256 0x1044UL
#define UNAVAILABLE ((CK_ULONG) - 1)

enum { VALUE_BYTES = 4096, MOST_ATTRIBUTES = 32, MOST_FOUND = 8192, PAUSE_MS = 3600 * 1000 };

static CK_FUNCTION_LIST real;
static bool loaded;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialisations;

/* ---- the list of manners ---- */

static const char *entry(const char *name) {
    size_t n = strlen(name);
    for (const char *at = getenv("MANNERS"); at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, name, n) && (!at[n] || at[n] == ',' || at[n] == '=')) return at + n;
    return NULL;
}

static bool has(const char *name) { return entry(name) != NULL; }

static long number(const char *name, long otherwise) {
    const char *at = entry(name);
    return at && *at == '=' ? strtol(at + 1, NULL, 0) : otherwise;
}

static void pause_ms(long ms) {
    struct timespec time = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&time, NULL);
}

static void note(const char *what) {
    const char *path = getenv("MANNERS_LOG");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    char line[128];
    int n = snprintf(line, sizeof line, "%d %s\n", getpid(), what);
    if (write(file, line, (size_t)n) < 0) perror("manners");
    close(file);
}

static void load(void) {
    const char *path = getenv("MANNERS_MODULE");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_GET_FUNCTION_LIST get = NULL;
    CK_FUNCTION_LIST *list = NULL;
    if (module) *(void **)&get = dlsym(module, "C_GetFunctionList");
    if (!get || get(&list) || !list) {
        fprintf(stderr, "manners: %s\n", path ? path : "MANNERS_MODULE is missing");
        return;
    }
    real = *list;
    loaded = true;
}

static bool ready(void) {
    pthread_once(&load_once, load);
    return loaded;
}

/* ---- initialisation, slots, login ---- */

static CK_RV our_Initialize(void *args) {
    note("C_Initialize");
    if (has("no-locking") && args) return CKR_ARGUMENTS_BAD;
    pthread_mutex_lock(&lock);
    int count = ++initialisations;
    pthread_mutex_unlock(&lock);
    if (has("init-once") && count > 1) return (CK_RV)number("init-once", (long)CKR_CRYPTOKI_ALREADY_INITIALIZED);
    return real.C_Initialize(args);
}

static CK_RV our_Finalize(void *reserved) {
    note("C_Finalize");
    if (has("init-once")) return CKR_OK;
    if (has("no-finalize")) return CKR_FUNCTION_NOT_SUPPORTED;
    return real.C_Finalize(reserved);
}

static bool is_neighbour(const CK_TOKEN_INFO *info) {
    const char *label = getenv("MANNERS_NEIGHBOUR");
    size_t n = label ? strlen(label) : 0;
    return n && n <= sizeof info->label && !memcmp(info->label, label, n) && (n == sizeof info->label || info->label[n] == ' ');
}

static CK_RV our_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
    CK_RV rv = real.C_GetTokenInfo(slot, info);
    if (rv || !is_neighbour(info)) return rv;
    if (has("slow-slot")) pause_ms(number("slow-slot", PAUSE_MS));
    return has("sick-slot") ? (CK_RV)number("sick-slot", (long)CKR_DEVICE_ERROR) : CKR_OK;
}

static CK_RV our_Login(CK_S s, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG n) {
    note("C_Login");
    if (has("slow-login")) pause_ms(number("slow-login", PAUSE_MS));
    return real.C_Login(s, user, pin, n);
}

/* ---- searches ---- */

static _Thread_local struct { bool ours; CK_O found[MOST_FOUND]; CK_ULONG count, at; } search; /* a session belongs to one thread */

static bool is_name(CK_ULONG type) {
    return type <= CKA_LABEL || type == CKA_KEY_TYPE || type == CKA_ID;
}

/* The template that the real module is asked by; false: it finds nothing. */
static bool prepared(CK_ATTRIBUTE *from, CK_ULONG n, CK_ATTRIBUTE *to, CK_ULONG *m) {
    for (CK_ULONG i = 0; i < n; i++) {
        CK_ATTRIBUTE a = from[i];
        if (has("no-id") && a.type == CKA_ID) return false;
        if (!is_name(a.type)) {
            if (has("search-nothing") || has("raw-point") || has("compressed-point")) return false;
            if (has("search-ignores")) continue;
        }
        if (has("padded") && (a.type == CKA_MODULUS || a.type == CKA_PUBLIC_EXPONENT)) {
            CK_BYTE *value = a.value;
            if (!a.value_len || value[0]) return false;
            a.value = value + 1;
            a.value_len--;
        }
        to[(*m)++] = a;
    }
    return true;
}

static CK_RV our_FindObjectsInit(CK_S s, CK_ATTRIBUTE *a, CK_ULONG n) {
    note("C_FindObjectsInit");
    if (n > MOST_ATTRIBUTES || (has("search-one") && n > 1)) return CKR_TOO_MANY_ATTRIBUTES;
    if (has("search-refuses"))
        for (CK_ULONG i = 0; i < n; i++)
            if (!is_name(a[i].type)) return CKR_ATTRIBUTE_TYPE_INVALID;
    CK_ATTRIBUTE template[MOST_ATTRIBUTES];
    CK_ULONG m = 0;
    search.ours = false;
    if (!prepared(a, n, template, &m)) {
        search.ours = true;
        search.count = search.at = 0;
        return CKR_OK;
    }
    CK_RV rv = real.C_FindObjectsInit(s, template, m);
    if (rv || !has("found-twice")) return rv;
    CK_ULONG count = 0;
    rv = real.C_FindObjects(s, search.found, MOST_FOUND / 2, &count);
    real.C_FindObjectsFinal(s);
    for (CK_ULONG i = count; i-- > 0;) search.found[2 * i] = search.found[2 * i + 1] = search.found[i];
    search.ours = true;
    search.count = 2 * count;
    search.at = 0;
    return rv;
}

static CK_RV our_FindObjects(CK_S s, CK_O *objects, CK_ULONG most, CK_ULONG *n) {
    if (!search.ours) return real.C_FindObjects(s, objects, most, n);
    for (*n = 0; *n < most && search.at < search.count;) objects[(*n)++] = search.found[search.at++];
    return CKR_OK;
}

static CK_RV our_FindObjectsFinal(CK_S s) {
    if (!search.ours) return real.C_FindObjectsFinal(s);
    search.ours = false;
    return CKR_OK;
}

/* ---- attributes ---- */

static CK_ULONG class_of(CK_S s, CK_O object) {
    CK_ULONG class = UNAVAILABLE;
    CK_ATTRIBUTE a = {CKA_CLASS, &class, sizeof class};
    return real.C_GetAttributeValue(s, object, &a, 1) ? UNAVAILABLE : class;
}

static CK_ULONG inserted(CK_BYTE *value, CK_ULONG n, const void *head, CK_ULONG m) {
    memmove(value + m, value, n);
    memcpy(value, head, m);
    return n + m;
}

/* The value as this module has it, changed in place; its new length, or UNAVAILABLE. */
static CK_ULONG changed(CK_ULONG type, CK_ULONG class, CK_BYTE *value, CK_ULONG n) {
    bool number_ = type == CKA_MODULUS || type == CKA_PUBLIC_EXPONENT;
    if (has("private-bare") && class == CKO_PRIVATE_KEY && (type == CKA_PUBLIC_EXPONENT || type == CKA_MODULUS)) return UNAVAILABLE;
    if (has("no-id") && type == CKA_ID) return 0;
    if (has("always") && type == CKA_ALWAYS_AUTHENTICATE) { value[0] = 1; return 1; }
    if (has("hash-mechanisms") && type == CKA_ALLOWED_MECHANISMS) {
        CK_ULONG only[] = {CKM_SHA256_RSA_PKCS, CKM_ECDSA_SHA256};
        memcpy(value, only, sizeof only);
        return sizeof only;
    }
    if (n == UNAVAILABLE) return n;
    if (has("padded") && number_) return inserted(value, n, "", 1);
    if (has("labels-differ") && type == CKA_LABEL && class == CKO_PUBLIC_KEY) return inserted(value, n, "public ", 7);
    if (has("padded-labels") && type == CKA_LABEL) { memset(value + n, class == CKO_PUBLIC_KEY ? ' ' : 0, 3); return n + 3; }
    if (has("key-label") && type == CKA_LABEL) { value[n] = 0xFC; return n + 1; }
    if (has("explicit-curve") && type == CKA_EC_PARAMS && n) { value[0] = 0x30; return n; }
    if (type == CKA_EC_POINT && n > 2 && (has("raw-point") || has("compressed-point"))) {
        CK_ULONG head = value[1] == 0x81 ? 3 : 2, half = (n - head - 1) / 2;
        memmove(value, value + head, n - head);
        if (has("raw-point") || value[0] != 0x04) return n - head;
        CK_BYTE wrapping[] = {0x04, (CK_BYTE)(half + 1)};
        value[0] = value[2 * half] & 1 ? 0x03 : 0x02; /* the parity of y */
        return inserted(value, half + 1, wrapping, sizeof wrapping);
    }
    return n;
}

static CK_RV our_GetAttributeValue(CK_S s, CK_O object, CK_ATTRIBUTE *a, CK_ULONG n) {
    if (has("one-attribute") && n > 1) {
        for (CK_ULONG i = 0; i < n; i++) a[i].value_len = UNAVAILABLE;
        return CKR_FUNCTION_FAILED;
    }
    CK_ULONG class = class_of(s, object);
    CK_RV worst = CKR_OK;
    for (CK_ULONG i = 0; i < n; i++) {
        CK_BYTE value[VALUE_BYTES];
        CK_ATTRIBUTE one = {a[i].type, value, sizeof value - 64};
        CK_RV rv = real.C_GetAttributeValue(s, object, &one, 1);
        CK_ULONG length = changed(one.type, class, value, rv ? UNAVAILABLE : one.value_len);
        if (length == UNAVAILABLE) worst = rv ? rv : CKR_ATTRIBUTE_TYPE_INVALID;
        else if (a[i].value && a[i].value_len < length) { worst = CKR_BUFFER_TOO_SMALL; length = UNAVAILABLE; }
        else if (a[i].value) memcpy(a[i].value, value, length);
        a[i].value_len = length;
    }
    return worst;
}

/* ---- signatures ---- */

static CK_ULONG der_integer(CK_BYTE *to, const CK_BYTE *from, CK_ULONG n) {
    while (n > 1 && !*from) from++, n--;
    CK_ULONG zero = *from >= 0x80;
    to[0] = 0x02;
    to[1] = (CK_BYTE)(n + zero);
    to[2] = 0;
    memcpy(to + 2 + zero, from, n);
    return 2 + zero + n;
}

static _Thread_local bool signs_ecdsa;

static CK_RV our_SignInit(CK_S s, CK_MECHANISM *mechanism, CK_O key) {
    signs_ecdsa = mechanism->mechanism == CKM_ECDSA;
    return real.C_SignInit(s, mechanism, key);
}

static CK_RV our_Sign(CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m) {
    if (has("always")) return CKR_USER_NOT_LOGGED_IN;
    if (has("talks")) fprintf(stderr, "manners: %01000d\n", 1);
    CK_RV rv = real.C_Sign(s, in, n, out, m);
    if (rv || !out) return rv;
    CK_ULONG half = *m / 2, i = 0, j = 0;
    CK_BYTE new[256], body[256];
    if (signs_ecdsa && has("der")) {
        CK_ULONG size = der_integer(body, out, half);
        size += der_integer(body + size, out + half, half);
        CK_ULONG head = size < 0x80 ? 2 : 3;
        new[0] = 0x30;
        new[1] = 0x81;
        new[head - 1] = (CK_BYTE)size;
        memcpy(out, new, head);
        memcpy(out + head, body, size);
        *m = head + size;
    } else if (signs_ecdsa && has("no-zeros")) {
        while (i < half - 1 && !out[i]) i++;
        while (j < half - 1 && !out[half + j]) j++;
        memmove(out, out + i, half - i);
        memmove(out + half - i, out + half + j, half - j);
        *m -= i + j;
    } else if (*m >= 256 && has("no-zeros") && !out[0]) memmove(out, out + 1, --*m);
    return rv;
}

/* ---- function lists ---- */

static CK_FUNCTION_LIST own = {
    .C_Initialize = our_Initialize, .C_Finalize = our_Finalize, .C_GetTokenInfo = our_GetTokenInfo,
    .C_Login = our_Login, .C_FindObjectsInit = our_FindObjectsInit, .C_FindObjects = our_FindObjects,
    .C_FindObjectsFinal = our_FindObjectsFinal, .C_GetAttributeValue = our_GetAttributeValue, .C_SignInit = our_SignInit,
    .C_Sign = our_Sign,
};

#define EXPORTED __attribute__((visibility("default")))
EXPORTED CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);
#define NOTHING(name, parameters, arguments)
#define FORWARD(name, parameters, arguments)                                   \
    EXPORTED CK_RV name parameters;                                            \
    CK_RV name parameters {                                                    \
        if (!ready()) return CKR_GENERAL_ERROR;                                \
        return own.name ? own.name arguments : real.name arguments;            \
    }
PKCS11_FUNCTIONS(FORWARD, NOTHING)
#define POINTER(name, parameters, arguments) .name = name,
static CK_FUNCTION_LIST functions = {.version = {2, 40}, PKCS11_FUNCTIONS(POINTER, POINTER)};

/* With several-lists: the first list is python-pkcs11's; any later one refuses what needs an initialisation of its own. */
static CK_RV not_initialised(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *n) {
    (void)present, (void)slots, (void)n;
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}
static CK_RV not_finalised(void *reserved) {
    (void)reserved;
    return CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    static int calls;
    if (!list || !ready()) return CKR_GENERAL_ERROR;
    pthread_mutex_lock(&lock);
    int call = calls++;
    pthread_mutex_unlock(&lock);
    *list = &functions;
    if (call && has("several-lists")) {
        CK_FUNCTION_LIST *other = malloc(sizeof *other);
        if (!other) return CKR_GENERAL_ERROR;
        *other = functions;
        other->C_GetSlotList = not_initialised;
        other->C_Finalize = not_finalised;
        *list = other;
    }
    return CKR_OK;
}
