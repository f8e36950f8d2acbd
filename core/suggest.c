/* The nearest name by edit distance, case put aside; for messages only.  The work is bounded: long names and names
 * beyond the first few thousand are not looked at. */
#include "config.h"

#include "core/suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LONGEST 40u
#define MOST_OFFERED 2000u

void
suggest_begin(struct suggestion *suggestion, const char *wanted)
{
    /* A third of the letters and one may be wrong, of the shortest names one. */
    size_t length = strlen(wanted);
    *suggestion = (struct suggestion) { .wanted = wanted, .best_distance = length > 3 ? length / 3 + 2 : 2 };
}

static unsigned char
lower(char c)
{
    return (unsigned char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static size_t
minimum(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters to put in, take out, or change to get from 'a' to 'b', two neighbours changed over counting as one.
 */
static size_t
distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = minimum(minimum(above[j], row[j - 1]) + 1, above[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
                row[j] = minimum(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_length];
}

void
suggest_offer(struct suggestion *suggestion, const char *candidate)
{
    size_t length = strlen(candidate), wanted_length = strlen(suggestion->wanted);
    size_t difference = length > wanted_length ? length - wanted_length : wanted_length - length;
    if (suggestion->n_offered++ > MOST_OFFERED || length > LONGEST || wanted_length > LONGEST ||
        difference >= suggestion->best_distance) {
        return;
    }
    size_t found = distance(suggestion->wanted, wanted_length, candidate, length);
    if (found < suggestion->best_distance && found < wanted_length) {
        suggestion->best_distance = found;
        suggestion->best = candidate;
    }
}
