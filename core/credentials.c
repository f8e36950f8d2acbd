/* Credentials: what is known, what is remembered, and the slow check; see the header. */
#include "config.h"

#include "core/credentials.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("rpc");

/* A password of so many characters is not found by trying, so it needs no throttle: a peer that tries others cannot shut out who has it. */
enum { STRONG = 20, REMEMBERED = 256, REMEMBER_MS = 60000, LOOK_MS = 1000, MAX_FILE = 1 << 20, DIGEST = 32 };

struct user {
    char *name, *hash;
};

struct credentials {
    pthread_mutex_t lock;  /* of what follows */
    pthread_mutex_t check; /* one hash at a time: guessing gets one core, not all */
    uint8_t key[DIGEST];
    char *own_user;
    bool own_verified;
    uint8_t own[DIGEST];
    char *file;
    struct stat seen;
    int64_t looked;
    struct user *users;
    size_t n_users;
    struct {
        uint8_t digest[DIGEST];
        int64_t until;
    } remembered[REMEMBERED];
    size_t next;
    double n_checks;
};

static void
digest(const struct credentials *c, const char *user, const char *password, uint8_t out[DIGEST])
{
    char *both = fs_xasprintf("%s%c%s", user, '\n', password); /* a header cannot have a line feed in it */
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, c->key, sizeof c->key, both, strlen(both), out);
    explicit_bzero(both, strlen(both));
    free(both);
}

/* --- The file of users --- */

static void
free_users(struct credentials *c)
{
    while (c->n_users) {
        free(c->users[--c->n_users].name);
        free(c->users[c->n_users].hash);
    }
    free(c->users);
    c->users = NULL;
}

/* One line; NULL or what is wrong with it. */
static const char *
add_user(struct credentials *c, char *line)
{
    line[strcspn(line, "\r")] = '\0';
    if (!*line || *line == '#') {
        return NULL;
    }
    char *colon = strchr(line, ':');
    if (!colon || colon == line) {
        return "is not of the form user:HASH";
    }
    if (crypt_checksalt(colon + 1) != CRYPT_SALT_OK) {
        return "has no hash that crypt(5) takes for safe: make one with 'mkpasswd -m yescrypt'";
    }
    *colon = '\0';
    c->users = fs_xrealloc(c->users, (c->n_users + 1) * sizeof *c->users);
    c->users[c->n_users++] = (struct user) { .name = fs_xstrdup(line), .hash = fs_xstrdup(colon + 1) };
    return NULL;
}

static char *
read_users(struct credentials *c)
{
    char *text, *rest, *line, *why = NULL;
    size_t size;
    int e = fs_read_file(AT_FDCWD, c->file, MAX_FILE, false, &text, &size);
    if (e) {
        return fs_xasprintf("%s: %s", c->file, strerror(e));
    }
    free_users(c);
    rest = text;
    for (int n = 1; !why && (line = strsep(&rest, "\n")); n++) {
        const char *wrong = add_user(c, line);
        why = wrong ? fs_xasprintf("%s:%d: the line %s", c->file, n, wrong) : NULL;
    }
    explicit_bzero(text, size);
    free(text);
    return why;
}

static char *
look_at_file(struct credentials *c)
{
    struct stat st;
    if (stat(c->file, &st)) {
        return fs_xasprintf("%s: %s", c->file, strerror(errno));
    }
    if (st.st_mode & 077) {
        return fs_xasprintf("%s: others can read it; chmod 600 it", c->file);
    }
    if (st.st_ino == c->seen.st_ino && st.st_size == c->seen.st_size && st.st_mtim.tv_sec == c->seen.st_mtim.tv_sec
        && st.st_mtim.tv_nsec == c->seen.st_mtim.tv_nsec) {
        return NULL;
    }
    c->seen = st;
    memset(c->remembered, 0, sizeof c->remembered);
    return read_users(c);
}

/* Called with the lock held.  A file that cannot be used any more lets nobody in. */
static void
refresh(struct credentials *c)
{
    int64_t now = fs_now_ms();
    if (!c->file || now < c->looked + LOOK_MS) {
        return;
    }
    c->looked = now;
    char *why = look_at_file(c);
    if (why) {
        fs_log_limited(FS_LOG_ERROR, "no user of the file is let in: %s", why);
        free_users(c);
        memset(c->remembered, 0, sizeof c->remembered);
        memset(&c->seen, 0, sizeof c->seen);
        free(why);
    }
}

/* --- Asking --- */

bool
credentials_needed(const struct credentials *c)
{
    return c->own_user || c->file;
}

enum verdict
credentials_know(struct credentials *c, const char *user, const char *password)
{
    uint8_t d[DIGEST];
    digest(c, user, password, d);
    int64_t now = fs_now_ms();
    pthread_mutex_lock(&c->lock);
    refresh(c);
    bool good = c->own_user && c->own_verified && !gnutls_memcmp(d, c->own, DIGEST);
    for (size_t i = 0; !good && c->file && i < REMEMBERED; i++) {
        good = c->remembered[i].until > now && !gnutls_memcmp(d, c->remembered[i].digest, DIGEST);
    }
    bool slow = c->file && (!c->own_user || strcmp(user, c->own_user));
    pthread_mutex_unlock(&c->lock);
    return good ? VERDICT_GOOD : slow ? VERDICT_SLOW : VERDICT_UNKNOWN;
}

/* The hash of the user; of a name that nobody has, another's (owned): how long it takes must not tell which names there are. */
static char *
hash_of(struct credentials *c, const char *user, bool *known)
{
    pthread_mutex_lock(&c->lock);
    refresh(c);
    char *hash = NULL;
    *known = false;
    for (size_t i = 0; i < c->n_users && !*known; i++) {
        *known = !strcmp(c->users[i].name, user);
        if (*known || !hash) {
            free(hash);
            hash = fs_xstrdup(c->users[i].hash);
        }
    }
    c->n_checks += hash != NULL;
    pthread_mutex_unlock(&c->lock);
    return hash;
}

static bool
password_fits(struct credentials *c, const char *hash, const char *password)
{
    struct crypt_data *room = fs_xcalloc(1, sizeof *room);
    pthread_mutex_lock(&c->check);
    const char *got = crypt_r(password, hash, room);
    pthread_mutex_unlock(&c->check);
    size_t n = got ? strlen(got) : 0;
    bool fits = got && *got != '*' && n == strlen(hash) && !gnutls_memcmp(got, hash, n);
    explicit_bzero(room, sizeof *room);
    free(room);
    return fits;
}

static void
remember(struct credentials *c, const char *user, const char *password, const char *hash)
{
    uint8_t d[DIGEST];
    digest(c, user, password, d);
    pthread_mutex_lock(&c->lock);
    bool still = false; /* the file may have changed while the hash was computed */
    for (size_t i = 0; i < c->n_users; i++) {
        still = still || (!strcmp(c->users[i].name, user) && !strcmp(c->users[i].hash, hash));
    }
    if (still) {
        memcpy(c->remembered[c->next].digest, d, DIGEST);
        c->remembered[c->next].until = fs_now_ms() + REMEMBER_MS;
        c->next = (c->next + 1) % REMEMBERED;
    }
    pthread_mutex_unlock(&c->lock);
}

bool
credentials_check(struct credentials *c, const char *user, const char *password)
{
    uint8_t d[DIGEST];
    digest(c, user, password, d);
    pthread_mutex_lock(&c->lock);
    bool own = c->own_user && !gnutls_memcmp(d, c->own, DIGEST);
    c->own_verified = c->own_verified || own;
    pthread_mutex_unlock(&c->lock);
    if (own || !c->file) {
        return own;
    }
    bool known;
    char *hash = hash_of(c, user, &known);
    bool good = hash && password_fits(c, hash, password) && known;
    if (good) {
        remember(c, user, password, hash);
    }
    free(hash);
    return good;
}

double
credentials_checks(struct credentials *c)
{
    pthread_mutex_lock(&c->lock);
    double n = c->n_checks;
    pthread_mutex_unlock(&c->lock);
    return n;
}

/* --- Life --- */

struct credentials *
credentials_new(const char *own, const char *users, char **error)
{
    struct credentials *c = fs_xcalloc(1, sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->check, NULL);
    gnutls_rnd(GNUTLS_RND_KEY, c->key, sizeof c->key);
    const char *colon = own ? strchr(own, ':') : NULL;
    if (colon) {
        c->own_user = fs_xasprintf("%.*s", (int) (colon - own), own);
        c->own_verified = strlen(colon + 1) >= STRONG;
        digest(c, c->own_user, colon + 1, c->own);
    }
    c->file = users ? fs_xstrdup(users) : NULL;
    char *why = c->file ? look_at_file(c) : NULL;
    if (why) {
        *error = why;
        credentials_destroy(c);
        return NULL;
    }
    return c;
}

void
credentials_destroy(struct credentials *c)
{
    if (!c) {
        return;
    }
    free_users(c);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->check);
    free(c->own_user);
    free(c->file);
    explicit_bzero(c, sizeof *c);
    free(c);
}
