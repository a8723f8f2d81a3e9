/* Real signatures of the simulated HSM that cost next to nothing: RSA with a key of 96 primes of 32 bits.
 *
 * The public key is an ordinary RSA-3072 key with the exponent 65537, and every verifier takes the
 * signatures. The private operation is 96 powers of 32-bit numbers, put together by the Chinese remainder
 * theorem: about 60 us, where a key of two primes takes some 2,000. The key protects nothing: anybody can
 * factor it. It stands for a device that signs elsewhere, with the CPU of none of our cores.
 *
 * SIMHSM_PRIMES_FILE has a line for each prime: the prime, and the private exponent modulo the prime less one.
 */
#define _GNU_SOURCE
#include "simhsm.h"

#include <stdio.h>
#include <string.h>

enum { BYTES = PRIMES_BYTES, WORDS = BYTES / 4, PADDING_BYTES_LEAST = 11 };

typedef unsigned __int128 uint128_t;

static struct {
    bool loaded;
    uint32_t prime[WORDS], exponent[WORDS];
    uint32_t modulus[WORDS];        /* the product of all primes; little endian, as all numbers here */
    uint32_t rest[WORDS][WORDS];    /* of each prime: the product of the others, */
    uint32_t rest_inverse[WORDS];   /* and its inverse modulo the prime */
    uint32_t power[WORDS][WORDS];   /* of each prime: 2^(32 n) modulo the prime, for each word n */
} key;

static uint32_t modular_power(uint64_t base, uint32_t exponent, uint32_t prime) {
    uint64_t result = 1;
    for (; exponent; exponent >>= 1, base = base * base % prime)
        if (exponent & 1)
            result = result * base % prime;
    return (uint32_t)result;
}

static uint32_t modular(const uint32_t *number, int i) {
    uint128_t sum = 0;
    for (int n = 0; n < WORDS; n++)
        sum += (uint64_t)number[n] * key.power[i][n];
    return (uint32_t)(sum % key.prime[i]);
}

static bool multiply(uint32_t *number, uint32_t factor) {
    uint64_t carry = 0;
    for (int n = 0; n < WORDS; n++) {
        carry += (uint64_t)number[n] * factor;
        number[n] = (uint32_t)carry;
        carry >>= 32;
    }
    return carry == 0;
}

static void divide(uint32_t *number, uint32_t divisor) {
    uint64_t left = 0;
    for (int n = WORDS - 1; n >= 0; n--) {
        left = left << 32 | number[n];
        number[n] = (uint32_t)(left / divisor);
        left %= divisor;
    }
}

static void prepare(int i) {
    uint64_t power = 1;
    for (int n = 0; n < WORDS; n++, power = (power << 32) % key.prime[i])
        key.power[i][n] = (uint32_t)power;
    memcpy(key.rest[i], key.modulus, sizeof key.modulus);
    divide(key.rest[i], key.prime[i]);
    key.rest_inverse[i] = modular_power(modular(key.rest[i], i), key.prime[i] - 2, key.prime[i]);
}

/* False: the file cannot be read, or is not 96 primes whose product has 3,072 bits. */
bool primes_open(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    int count = 0;
    key.modulus[0] = 1;
    bool good = true;
    while (good && count < WORDS && fscanf(file, "%u %u", &key.prime[count], &key.exponent[count]) == 2)
        good = key.prime[count] > 1 && multiply(key.modulus, key.prime[count++]);
    good = good && count == WORDS && fscanf(file, " %*c") == EOF && key.modulus[WORDS - 1] >> 31;
    fclose(file);
    for (int i = 0; good && i < WORDS; i++)
        prepare(i);
    return key.loaded = good;
}

bool primes_loaded(void) { return key.loaded; }

/* ---- numbers of one word more than the modulus: sums of up to 96 products below it ---- */

static void add_product(uint32_t *sum, const uint32_t *number, uint32_t factor) {
    uint64_t carry = 0;
    for (int n = 0; n < WORDS; n++) {
        carry += (uint64_t)number[n] * factor + sum[n];
        sum[n] = (uint32_t)carry;
        carry >>= 32;
    }
    sum[WORDS] += (uint32_t)carry;
}

static bool subtract_modulus(uint32_t *number) {
    uint32_t left[WORDS + 1];
    uint64_t borrow = 0;
    for (int n = 0; n <= WORDS; n++) {
        uint64_t less = (n < WORDS ? key.modulus[n] : 0) + borrow;
        borrow = number[n] < less;
        left[n] = (uint32_t)(number[n] - less);
    }
    if (!borrow)
        memcpy(number, left, sizeof left);
    return !borrow;
}

/* RFC 8017 8.2.1 with what CKM_RSA_PKCS is given, a DigestInfo; `out` has room for 384 bytes. */
bool primes_sign(const CK_BYTE *in, CK_ULONG n, CK_BYTE *out) {
    CK_BYTE padded[BYTES] = {0, 1};
    uint32_t message[WORDS], sum[WORDS + 1] = {0};
    if (!in || n > BYTES - PADDING_BYTES_LEAST)
        return false;
    memset(padded + 2, 0xff, BYTES - 3 - n);
    memcpy(padded + BYTES - n, in, n);
    for (int w = 0; w < WORDS; w++) {
        const CK_BYTE *at = padded + BYTES - 4 * (w + 1);
        message[w] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int i = 0; i < WORDS; i++) {
        uint64_t root = modular_power(modular(message, i), key.exponent[i], key.prime[i]);
        add_product(sum, key.rest[i], (uint32_t)(root * key.rest_inverse[i] % key.prime[i]));
    }
    while (subtract_modulus(sum)) {
    }
    for (int w = 0; w < WORDS; w++)
        for (int b = 0; b < 4; b++)
            out[BYTES - 1 - 4 * w - b] = (CK_BYTE)(sum[w] >> 8 * b);
    return true;
}
