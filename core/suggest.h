/* "Did you mean": the nearest of some known names.  Needs nothing of the core, so that the library of the language has it, too. */
#ifndef CORE_SUGGEST_H
#define CORE_SUGGEST_H 1

#include <stddef.h>

/* Offered one candidate after the other, keeps the best. */
struct suggestion {
    const char *wanted;
    const char *best; /* NULL: none is near enough */
    size_t best_distance;
    size_t n_offered;
};

void suggest_begin(struct suggestion *, const char *wanted);
void suggest_offer(struct suggestion *, const char *candidate);

#endif
