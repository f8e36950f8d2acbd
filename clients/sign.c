/* flowstream-sign: keys, and signatures of tasks and commands (Ed25519, libsodium). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/images.h"
#include "core/signature.h"
#include "core/util.h"

enum { DONE, FAILED, WRONG_USE };

static void
usage(FILE *to)
{
    fputs("usage: flowstream-sign keygen NAME\n"
          "       flowstream-sign sign --key NAME.key --daemon DAEMON --kind task|command [--counter N] FILE.so...\n\n"
          "Makes a pair of keys, or signatures of tasks and commands that a daemon loads when its\n"
          "configuration has <trust key=\"NAME.pub\"/>. The signature of FILE.so goes to FILE.so.sig.\n\n"
          "  keygen NAME     write NAME.key (secret, mode 0600) and NAME.pub; files that are there stay\n"
          "  --key FILE      the secret key\n"
          "  --daemon NAME   the daemon that may load it, or \"common\" for the folder of all\n"
          "  --kind KIND     what it is: task or command\n"
          "  --counter N     a number higher than any before for this method (default: the time)\n"
          "  --version       print the version\n"
          "  --help          print this\n", to);
}

static int
write_key(const char *name, const char *suffix, const unsigned char *key, size_t size, mode_t mode)
{
    char text[256];
    sodium_bin2base64(text, sizeof text - 1, key, size, sodium_base64_VARIANT_ORIGINAL);
    strcat(text, "\n");
    char *path = fs_xasprintf("%s%s", name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode), e = fd < 0 ? errno : 0;
    if (!e && write(fd, text, strlen(text)) != (ssize_t) strlen(text)) {
        e = errno ? errno : EIO;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (e) {
        fprintf(stderr, "flowstream-sign: %s: %s\n", path, strerror(e));
    } else {
        printf("%s\n", path);
    }
    sodium_memzero(text, sizeof text);
    free(path);
    return e ? FAILED : DONE;
}

static int
keygen(const char *name)
{
    unsigned char public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    crypto_sign_keypair(public, secret);
    int status = write_key(name, ".key", secret, sizeof secret, 0600);
    status = status ? status : write_key(name, ".pub", public, sizeof public, 0644);
    sodium_memzero(secret, sizeof secret);
    return status;
}

static bool
read_secret(const char *path, unsigned char secret[crypto_sign_SECRETKEYBYTES])
{
    char *text = NULL;
    size_t size, length = 0;
    int e = fs_read_file(AT_FDCWD, path, 4096, false, &text, &size);
    if (e) {
        fprintf(stderr, "flowstream-sign: %s: %s\n", path, strerror(e));
        return false;
    }
    text[strcspn(text, "\r\n")] = '\0';
    bool good = !sodium_base642bin(secret, crypto_sign_SECRETKEYBYTES, text, strlen(text), NULL, &length, NULL, sodium_base64_VARIANT_ORIGINAL)
                && length == crypto_sign_SECRETKEYBYTES;
    if (!good) {
        fprintf(stderr, "flowstream-sign: %s: no secret key as 'flowstream-sign keygen' writes it\n", path);
    }
    sodium_memzero(text, size);
    free(text);
    return good;
}

/* NAME of DIR/NAME.so (owned), or NULL. */
static char *
method_of(const char *file)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    size_t n = strlen(base);
    if (n < 4 || strcmp(base + n - 3, ".so")) {
        fprintf(stderr, "flowstream-sign: %s: the file of a method is called NAME.so\n", file);
        return NULL;
    }
    char *name = fs_xstrdup(base);
    name[n - 3] = '\0';
    return name;
}

static int
sign(const unsigned char *secret, const char *daemon, enum fs_method_kind kind, uint64_t counter, const char *file)
{
    char *bytes = NULL, hash[FS_HASH_SIZE], encoded[128], *name = method_of(file);
    size_t size;
    int e = name ? fs_read_file(AT_FDCWD, file, FS_LOADABLE_MAX, false, &bytes, &size) : 0;
    if (!name || e) {
        if (e) {
            fprintf(stderr, "flowstream-sign: %s: %s\n", file, strerror(e));
        }
        free(name);
        return FAILED;
    }
    unsigned char signature[crypto_sign_BYTES];
    fs_image_hash(bytes, size, hash);
    char *statement = fs_signature_statement(daemon, kind, name, counter, hash, &size);
    crypto_sign_detached(signature, NULL, (const unsigned char *) statement, size, secret);
    sodium_bin2base64(encoded, sizeof encoded, signature, sizeof signature, sodium_base64_VARIANT_ORIGINAL);
    char *path = fs_xasprintf("%s.sig", file), *text = fs_xasprintf("%" PRIu64 " %s\n", counter, encoded);
    e = fs_write_file(AT_FDCWD, path, text, strlen(text), 0644);
    if (e) {
        fprintf(stderr, "flowstream-sign: %s: %s\n", path, strerror(e));
    } else {
        printf("%s\n", path);
    }
    free(text);
    free(path);
    free(statement);
    free(bytes);
    free(name);
    return e ? FAILED : DONE;
}

static int
sign_all(int argc, char **argv)
{
    static const struct option options[] = {
        { "key", required_argument, NULL, 'k' },     { "daemon", required_argument, NULL, 'd' }, { "kind", required_argument, NULL, 't' },
        { "counter", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 },
    };
    const char *key = NULL, *daemon = NULL, *kind = NULL;
    uint64_t counter = (uint64_t) time(NULL);
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        switch (c) {
        case 'k':
            key = optarg;
            break;
        case 'd':
            daemon = optarg;
            break;
        case 't':
            kind = optarg;
            break;
        case 'c':
            errno = 0;
            counter = strtoull(optarg, &end, 10);
            if (errno || *end || end == optarg || *optarg == '-' || !counter) {
                fprintf(stderr, "flowstream-sign: --counter %s: a whole number above 0 is needed\n", optarg);
                return WRONG_USE;
            }
            break;
        default:
            return WRONG_USE;
        }
    }
    if (!key || !daemon || !kind || (strcmp(kind, "task") && strcmp(kind, "command")) || optind == argc) {
        fprintf(stderr, "flowstream-sign: sign needs --key, --daemon, --kind task or command, and files\n");
        return WRONG_USE;
    }
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    int status = read_secret(key, secret) ? DONE : FAILED;
    for (int i = optind; i < argc && status == DONE; i++) {
        status = sign(secret, daemon, *kind == 't' ? FS_KIND_TASK : FS_KIND_COMMAND, counter, argv[i]);
    }
    sodium_memzero(secret, sizeof secret);
    return status;
}

int
main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        usage(stdout);
        return DONE;
    }
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        printf("flowstream-sign %s\n", PACKAGE_VERSION);
        return DONE;
    }
    if (sodium_init() < 0) {
        fprintf(stderr, "flowstream-sign: libsodium cannot be used\n");
        return FAILED;
    }
    if (argc == 3 && !strcmp(argv[1], "keygen")) {
        return keygen(argv[2]);
    }
    if (argc > 2 && !strcmp(argv[1], "sign")) {
        return sign_all(argc - 1, argv + 1);
    }
    usage(stderr);
    return WRONG_USE;
}
