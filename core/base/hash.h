/* Digests, keyed hashes and random bytes. Behind it are libsodium and nettle. */
#ifndef RZ_BASE_HASH_H
#define RZ_BASE_HASH_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RZ_SHA256_BYTES = 32, RZ_SHA256_TEXT = 65, RZ_HMAC_KEY_BYTES = 32 };

typedef struct rz_sha256 {
    /* Opaque; large enough for nettle's state, which hash.c asserts at compile time. */
    _Alignas(16) unsigned char state[128];
} rz_sha256;

/* Prepares the library; call once before threads start. Idempotent. */
RZ_MUST_CHECK rz_status rz_hash_setup(rz_error *error);

void rz_sha256_init(rz_sha256 *hash);
void rz_sha256_add(rz_sha256 *hash, const void *bytes, size_t n);
void rz_sha256_done(rz_sha256 *hash, unsigned char out[RZ_SHA256_BYTES]);
void rz_sha256_text(rz_sha256 *hash, char out[RZ_SHA256_TEXT]); /* done, as lower-case hex */

/* A fast 64-bit keyed hash (SipHash-2-4) for tables, splits and index choice. Stable for ever. */
uint64_t rz_hash64(const void *bytes, size_t n, uint64_t seed);

/* HMAC-SHA-256, first 32 hex digits: how `pseudonym_key` turns an id into a pseudonym. */
void rz_hmac_text(const unsigned char key[RZ_HMAC_KEY_BYTES], const void *bytes, size_t n,
                  char out[33]);

/* Random bytes from the system and a comparison whose time does not depend on the content. */
void rz_random_bytes(void *out, size_t n);
bool rz_equal_constant_time(const void *a, const void *b, size_t n);

/* Lower-case hex of n bytes; `out` holds 2 n + 1 characters. */
void rz_hex(char *out, const unsigned char *bytes, size_t n);

#endif
