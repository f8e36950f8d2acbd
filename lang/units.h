/* Numbers with units: 0.5 cores, 64MB, 10Mbps, 5ms. */
#ifndef LANG_UNITS_H
#define LANG_UNITS_H 1

#include <stdbool.h>
#include <stdint.h>

#include "lang/arena.h"

enum unit {
    UNIT_CORES, /* no unit; counted in thousandths */
    UNIT_BYTES, /* B, KB, MB, GB, powers of 1024; counted in bytes */
    UNIT_RATE,  /* bps, kbps, Mbps, Gbps; counted in bit/s */
    UNIT_TIME   /* us, ms, s; counted in microseconds */
};

/* Read 'text', a decimal number and its unit.  Returns NULL with a number above 0 in '*value', or what is wrong. */
char *units_read(struct arena *, const char *text, enum unit, uint64_t *value);

#endif
