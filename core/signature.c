/* Signed methods. */
#include "config.h"

#include "core/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"

enum { KEY_FILE_MAX = 4096, SIGNATURE_TEXT = 96 };

struct fs_keys {
    size_t n;
    unsigned char keys[][crypto_sign_PUBLICKEYBYTES];
};

struct fs_keys *
fs_keys_read(const char *const files[], size_t n, char **error)
{
    struct fs_keys *k = fs_xcalloc(1, sizeof *k + n * sizeof k->keys[0]);
    if (sodium_init() < 0) {
        *error = fs_xasprintf("libsodium cannot be used");
    }
    for (size_t i = 0; i < n && !*error; i++) {
        char *text = NULL;
        size_t size, length = 0;
        int e = fs_read_file(AT_FDCWD, files[i], KEY_FILE_MAX, false, &text, &size);
        if (e) {
            *error = fs_xasprintf("%s: %s", files[i], strerror(e));
            break;
        }
        text[strcspn(text, "\r\n")] = '\0';
        if (sodium_base642bin(k->keys[i], sizeof k->keys[i], text, strlen(text), " ", &length, NULL, sodium_base64_VARIANT_ORIGINAL)
            || length != sizeof k->keys[i]) {
            *error = fs_xasprintf("%s: the first line is no public key (base64 of %zu bytes, as 'flowstream-sign keygen' writes it)", files[i], sizeof k->keys[i]);
        }
        free(text);
        k->n++;
    }
    if (*error) {
        fs_keys_destroy(k);
        return NULL;
    }
    return k;
}

void
fs_keys_destroy(struct fs_keys *k)
{
    free(k);
}

char *
fs_signature_statement(const char *daemon, enum fs_method_kind kind, const char *name, uint64_t counter, const char *hash, size_t *size)
{
    char *text = fs_xasprintf("flowstream method\ndaemon %s\nkind %s\nname %s\ncounter %" PRIu64 "\nsha256 %s\n", daemon, kind == FS_KIND_TASK ? "task" : "command",
                              name, counter, hash);
    *size = strlen(text);
    return text;
}

char *
fs_signature_check(const struct fs_keys *k, const char *signature, const char *daemon, enum fs_method_kind kind, const char *name, const char *hash,
                   uint64_t *counter)
{
    char text[SIGNATURE_TEXT];
    unsigned char raw[crypto_sign_BYTES];
    size_t length = 0, size;
    if (sscanf(signature, "%" SCNu64 " %95s", counter, text) != 2
        || sodium_base642bin(raw, sizeof raw, text, strlen(text), NULL, &length, NULL, sodium_base64_VARIANT_ORIGINAL) || length != sizeof raw) {
        return fs_xasprintf("its signature is no counter and base64 of %zu bytes, as flowstream-sign writes it", sizeof raw);
    }
    char *statement = fs_signature_statement(daemon, kind, name, *counter, hash, &size);
    bool good = false;
    for (size_t i = 0; i < k->n && !good; i++) {
        good = !crypto_sign_verify_detached(raw, (const unsigned char *) statement, size, k->keys[i]);
    }
    free(statement);
    return good ? NULL : fs_xasprintf("no configured key has signed these bytes as %s %s of daemon %s with counter %" PRIu64, kind == FS_KIND_TASK ? "task" : "command",
                                      name, daemon, *counter);
}
