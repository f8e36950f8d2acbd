/* Signed methods: Ed25519 over the daemon, kind and name of a method, a counter that only grows, and the hash of the bytes (libsodium). */
#ifndef CORE_SIGNATURE_H
#define CORE_SIGNATURE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/method.h>

struct fs_keys;

/* Read public keys, one file each (its first line is the key in base64, as flowstream-sign keygen writes it). NULL with *error (owned) when one is bad. */
struct fs_keys *fs_keys_read(const char *const files[], size_t n, char **error);
void fs_keys_destroy(struct fs_keys *); /* accepts NULL */

/* What is signed, as bytes (owned): the same for whoever signs and whoever checks. */
FS_API char *fs_signature_statement(const char *daemon, enum fs_method_kind, const char *name, uint64_t counter, const char *hash, size_t *size);
/* Does 'signature' (text: COUNTER and base64 of 64 bytes, as flowstream-sign writes it) speak for this method?  NULL, with its counter, or why not (owned). */
char *fs_signature_check(const struct fs_keys *, const char *signature, const char *daemon, enum fs_method_kind, const char *name, const char *hash, uint64_t *counter);

#endif
