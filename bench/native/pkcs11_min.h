/* The part of PKCS#11 2.40 that the two programs beside this file need, in our own words.
 *
 * Types, the constants used here, and the order of the 68 functions in the function list (PKCS#11 Base
 * Specification 2.40, sections 3 and 5). On Unix nothing is packed and CK_ULONG is an unsigned long.
 */
#ifndef SIGMILL_PKCS11_MIN_H
#define SIGMILL_PKCS11_MIN_H

typedef unsigned char CK_BYTE;
typedef unsigned char CK_BBOOL;
typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef CK_ULONG CK_FLAGS;
typedef CK_ULONG CK_SLOT_ID;
typedef CK_ULONG CK_SESSION_HANDLE;
typedef CK_ULONG CK_OBJECT_HANDLE;
typedef CK_ULONG CK_USER_TYPE;
typedef CK_ULONG CK_STATE;

typedef struct { CK_BYTE major, minor; } CK_VERSION;
typedef struct { CK_ULONG mechanism; void *parameter; CK_ULONG parameter_len; } CK_MECHANISM;
typedef struct { CK_ULONG type; void *value; CK_ULONG value_len; } CK_ATTRIBUTE;

typedef struct {
    void *create_mutex, *destroy_mutex, *lock_mutex, *unlock_mutex;
    CK_FLAGS flags;
    void *reserved;
} CK_C_INITIALIZE_ARGS;

typedef struct {
    CK_BYTE label[32], manufacturer[32], model[16], serial[16]; /* padded with blanks, no final zero */
    CK_FLAGS flags;
    CK_ULONG max_sessions, sessions, max_rw_sessions, rw_sessions, max_pin_len, min_pin_len;
    CK_ULONG total_public, free_public, total_private, free_private;
    CK_VERSION hardware, firmware;
    CK_BYTE utc_time[16];
} CK_TOKEN_INFO;

#define CKR_OK 0x000UL
#define CKR_CANT_LOCK 0x00AUL
#define CKR_GENERAL_ERROR 0x005UL
#define CKR_ARGUMENTS_BAD 0x007UL
#define CKR_DATA_LEN_RANGE 0x021UL
#define CKR_MECHANISM_INVALID 0x070UL
#define CKR_OPERATION_ACTIVE 0x090UL
#define CKR_OPERATION_NOT_INITIALIZED 0x091UL
#define CKR_BUFFER_TOO_SMALL 0x150UL
#define CKR_KEY_TYPE_INCONSISTENT 0x063UL

#define CKF_OS_LOCKING_OK 0x2UL
#define CKF_SERIAL_SESSION 0x4UL
#define CKU_USER 1UL

#define CKA_CLASS 0x000UL
#define CKA_LABEL 0x003UL
#define CKA_KEY_TYPE 0x100UL
#define CKA_MODULUS 0x120UL
#define CKA_LOCAL 0x163UL
#define CKA_NEVER_EXTRACTABLE 0x164UL
#define CKA_ALWAYS_SENSITIVE 0x165UL
#define CKA_EC_PARAMS 0x180UL
#define CKO_PUBLIC_KEY 2UL
#define CKO_PRIVATE_KEY 3UL
#define CKK_RSA 0x00UL
#define CKK_EC 0x03UL
#define CKK_EC_EDWARDS 0x40UL
#define CKM_RSA_PKCS 0x0001UL
#define CKM_ECDSA 0x1041UL
#define CKM_EDDSA 0x1057UL

/* Short names for the two parameters that nearly every function has. */
typedef CK_SESSION_HANDLE CK_S;
typedef CK_OBJECT_HANDLE CK_O;

struct CK_FUNCTION_LIST;

/* Every function in the order of the list: F(name, parameters, arguments). C_GetFunctionList comes as
 * G(name, ...), because no module can forward that one. */
#define PKCS11_FUNCTIONS(F, G)                                                                            \
    F(C_Initialize, (void *init), (init))                                                                 \
    F(C_Finalize, (void *reserved), (reserved))                                                           \
    F(C_GetInfo, (void *info), (info))                                                                    \
    G(C_GetFunctionList, (struct CK_FUNCTION_LIST **list), (list))                                        \
    F(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *n), (present, slots, n))             \
    F(C_GetSlotInfo, (CK_SLOT_ID slot, void *info), (slot, info))                                         \
    F(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))                               \
    F(C_GetMechanismList, (CK_SLOT_ID slot, CK_ULONG *list, CK_ULONG *n), (slot, list, n))                \
    F(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_ULONG type, void *info), (slot, type, info))               \
    F(C_InitToken, (CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG n, CK_BYTE *label), (slot, pin, n, label))    \
    F(C_InitPIN, (CK_S s, CK_BYTE *pin, CK_ULONG n), (s, pin, n))                                         \
    F(C_SetPIN, (CK_S s, CK_BYTE *old, CK_ULONG n, CK_BYTE *pin, CK_ULONG m), (s, old, n, pin, m))        \
    F(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *app, void *notify, CK_S *s),                 \
      (slot, flags, app, notify, s))                                                                      \
    F(C_CloseSession, (CK_S s), (s))                                                                      \
    F(C_CloseAllSessions, (CK_SLOT_ID slot), (slot))                                                      \
    F(C_GetSessionInfo, (CK_S s, void *info), (s, info))                                                  \
    F(C_GetOperationState, (CK_S s, CK_BYTE *state, CK_ULONG *n), (s, state, n))                          \
    F(C_SetOperationState, (CK_S s, CK_BYTE *state, CK_ULONG n, CK_O key, CK_O auth),                     \
      (s, state, n, key, auth))                                                                           \
    F(C_Login, (CK_S s, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG n), (s, user, pin, n))                  \
    F(C_Logout, (CK_S s), (s))                                                                            \
    F(C_CreateObject, (CK_S s, CK_ATTRIBUTE *a, CK_ULONG n, CK_O *object), (s, a, n, object))             \
    F(C_CopyObject, (CK_S s, CK_O from, CK_ATTRIBUTE *a, CK_ULONG n, CK_O *to), (s, from, a, n, to))      \
    F(C_DestroyObject, (CK_S s, CK_O object), (s, object))                                                \
    F(C_GetObjectSize, (CK_S s, CK_O object, CK_ULONG *size), (s, object, size))                          \
    F(C_GetAttributeValue, (CK_S s, CK_O object, CK_ATTRIBUTE *a, CK_ULONG n), (s, object, a, n))         \
    F(C_SetAttributeValue, (CK_S s, CK_O object, CK_ATTRIBUTE *a, CK_ULONG n), (s, object, a, n))         \
    F(C_FindObjectsInit, (CK_S s, CK_ATTRIBUTE *a, CK_ULONG n), (s, a, n))                                \
    F(C_FindObjects, (CK_S s, CK_O *objects, CK_ULONG max, CK_ULONG *n), (s, objects, max, n))            \
    F(C_FindObjectsFinal, (CK_S s), (s))                                                                  \
    F(C_EncryptInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                                    \
    F(C_Encrypt, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))        \
    F(C_EncryptUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))  \
    F(C_EncryptFinal, (CK_S s, CK_BYTE *out, CK_ULONG *n), (s, out, n))                                   \
    F(C_DecryptInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                                    \
    F(C_Decrypt, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))        \
    F(C_DecryptUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))  \
    F(C_DecryptFinal, (CK_S s, CK_BYTE *out, CK_ULONG *n), (s, out, n))                                   \
    F(C_DigestInit, (CK_S s, CK_MECHANISM *m), (s, m))                                                    \
    F(C_Digest, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))         \
    F(C_DigestUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n), (s, in, n))                                      \
    F(C_DigestKey, (CK_S s, CK_O key), (s, key))                                                          \
    F(C_DigestFinal, (CK_S s, CK_BYTE *out, CK_ULONG *n), (s, out, n))                                    \
    F(C_SignInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                                       \
    F(C_Sign, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))           \
    F(C_SignUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n), (s, in, n))                                        \
    F(C_SignFinal, (CK_S s, CK_BYTE *out, CK_ULONG *n), (s, out, n))                                      \
    F(C_SignRecoverInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                                \
    F(C_SignRecover, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m), (s, in, n, out, m))    \
    F(C_VerifyInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                                     \
    F(C_Verify, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *sig, CK_ULONG m), (s, in, n, sig, m))          \
    F(C_VerifyUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n), (s, in, n))                                      \
    F(C_VerifyFinal, (CK_S s, CK_BYTE *sig, CK_ULONG n), (s, sig, n))                                     \
    F(C_VerifyRecoverInit, (CK_S s, CK_MECHANISM *m, CK_O key), (s, m, key))                              \
    F(C_VerifyRecover, (CK_S s, CK_BYTE *sig, CK_ULONG n, CK_BYTE *out, CK_ULONG *m),                     \
      (s, sig, n, out, m))                                                                                \
    F(C_DigestEncryptUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m),                \
      (s, in, n, out, m))                                                                                 \
    F(C_DecryptDigestUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m),                \
      (s, in, n, out, m))                                                                                 \
    F(C_SignEncryptUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m),                  \
      (s, in, n, out, m))                                                                                 \
    F(C_DecryptVerifyUpdate, (CK_S s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *m),                \
      (s, in, n, out, m))                                                                                 \
    F(C_GenerateKey, (CK_S s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_O *key),                   \
      (s, m, a, n, key))                                                                                  \
    F(C_GenerateKeyPair,                                                                                  \
      (CK_S s, CK_MECHANISM *m, CK_ATTRIBUTE *a, CK_ULONG n, CK_ATTRIBUTE *b, CK_ULONG k, CK_O *public_key, \
       CK_O *private_key),                                                                                \
      (s, m, a, n, b, k, public_key, private_key))                                                        \
    F(C_WrapKey, (CK_S s, CK_MECHANISM *m, CK_O wrapping, CK_O key, CK_BYTE *out, CK_ULONG *n),           \
      (s, m, wrapping, key, out, n))                                                                      \
    F(C_UnwrapKey,                                                                                        \
      (CK_S s, CK_MECHANISM *m, CK_O unwrapping, CK_BYTE *in, CK_ULONG k, CK_ATTRIBUTE *a, CK_ULONG n,    \
       CK_O *key),                                                                                        \
      (s, m, unwrapping, in, k, a, n, key))                                                               \
    F(C_DeriveKey, (CK_S s, CK_MECHANISM *m, CK_O base, CK_ATTRIBUTE *a, CK_ULONG n, CK_O *key),          \
      (s, m, base, a, n, key))                                                                            \
    F(C_SeedRandom, (CK_S s, CK_BYTE *seed, CK_ULONG n), (s, seed, n))                                    \
    F(C_GenerateRandom, (CK_S s, CK_BYTE *out, CK_ULONG n), (s, out, n))                                  \
    F(C_GetFunctionStatus, (CK_S s), (s))                                                                 \
    F(C_CancelFunction, (CK_S s), (s))                                                                    \
    F(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved), (flags, slot, reserved))

#define PKCS11_MEMBER(name, parameters, arguments) CK_RV (*name) parameters;
typedef struct CK_FUNCTION_LIST {
    CK_VERSION version;
    PKCS11_FUNCTIONS(PKCS11_MEMBER, PKCS11_MEMBER)
} CK_FUNCTION_LIST;

#define PKCS11_COUNT(name, parameters, arguments) +1
_Static_assert(0 PKCS11_FUNCTIONS(PKCS11_COUNT, PKCS11_COUNT) == 68, "PKCS#11 2.40 lists 68 functions");

typedef CK_RV (*CK_GET_FUNCTION_LIST)(CK_FUNCTION_LIST **);

#endif
