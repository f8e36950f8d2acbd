/* Fuzz target of signatures: the text beside a method, and the file of a key, any bytes each (cut at the first 0).  Only a signature by the key may be taken. */
#include "config.h"

#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/signature.h"
#include "core/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char key_file[] = "/tmp/flowstream-fuzz-key-XXXXXX";
static int key_fd;

static void
clean_up(void)
{
    unlink(key_file);
}

static struct fs_keys *
read_keys(const void *bytes, size_t size)
{
    const char *files[] = { key_file };
    char *error = NULL;
    assert(!ftruncate(key_fd, 0) && pwrite(key_fd, bytes, size, 0) == (ssize_t) size);
    struct fs_keys *k = fs_keys_read(files, 1, &error);
    assert(!k == !!error);
    free(error);
    return k;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct fs_keys *good;
    if (!good) {
        unsigned char public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES], seed[crypto_sign_SEEDBYTES] = { 0 };
        char text[128];
        key_fd = mkstemp(key_file);
        atexit(clean_up);
        assert(key_fd >= 0 && sodium_init() >= 0);
        crypto_sign_seed_keypair(public, secret, seed);
        sodium_bin2base64(text, sizeof text, public, sizeof public, sodium_base64_VARIANT_ORIGINAL);
        good = read_keys(text, strlen(text));
        assert(good);
    }
    char *text = fs_xmalloc(size + 1);
    memcpy(text, bytes, size);
    text[size] = '\0';
    uint64_t counter = 0;
    char *why = fs_signature_check(good, text, "pm", FS_KIND_TASK, "name", "0123456789abcdef", &counter);
    assert(why); /* nobody has signed that hash */
    free(why);
    size_t first = strlen(text);
    fs_keys_destroy(read_keys(bytes + (first < size ? first : 0), size - (first < size ? first : 0)));
    free(text);
    return 0;
}
