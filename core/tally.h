/* How the tasks of each name have fared in the engine: how many wait and run, how long they waited and ran.  Not thread-safe. */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H 1

#include <stdint.h>

#include <flowstream/value.h>

struct tally;

struct tally_row {
    char *name;
    unsigned waiting, running;
    double done, failed, cancelled, retries; /* since the start */
    double waited, ran;                      /* seconds, all together */
    double longest_wait, longest_run;        /* seconds */
    struct tally_row *next;
};

struct tally *tally_new(void);
void tally_destroy(struct tally *);
/* The row of that name; of names beyond the 512th a common one, "(others)".  Lives as long as the tally. */
struct tally_row *tally_row(struct tally *, const char *name);
/* An array of structs, one a name. */
xmlrpc_value *tally_value(const struct tally *);

#endif
