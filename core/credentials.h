/* Who may call: the platform's own credentials, which daemons show each other, and users with hashed passwords (crypt(5), yescrypt by
 * preference).  A check of a hash costs 16 ms of processor time, so what was verified is remembered for a minute as an HMAC under a
 * key of this process; changes of the file of users are noticed within a second and forget all.  Thread-safe. */
#ifndef CORE_CREDENTIALS_H
#define CORE_CREDENTIALS_H 1

#include <stdbool.h>

struct credentials;

/* 'own' is "user:password"; 'users' names a file with lines "user:HASH".  Each may be NULL, and both: then everybody may call. NULL with
 * *error (owned) when the file cannot be used. */
struct credentials *credentials_new(const char *own, const char *users, char **error);
void credentials_destroy(struct credentials *);

/* False: everybody may call. */
bool credentials_needed(const struct credentials *);

enum verdict {
    VERDICT_GOOD,    /* verified before */
    VERDICT_UNKNOWN, /* credentials_check() would say */
    VERDICT_SLOW     /* the same, and it takes a while: not in a thread that others wait for */
};
enum verdict credentials_know(struct credentials *, const char *user, const char *password);
bool credentials_check(struct credentials *, const char *user, const char *password);
/* How many hashes were computed. */
double credentials_checks(struct credentials *);

#endif
