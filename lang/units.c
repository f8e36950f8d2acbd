/* Numbers with units.  They are read exactly, in whole numbers of the smallest unit: what would have to be rounded is
 * refused, and so is nothing at all.  Keywords (keywords.c), bounds on delays (delays.c) and arguments of types
 * (args.c) use them. */
#include "config.h"

#include "lang/units.h"

#include <inttypes.h>
#include <string.h>

#define LARGEST UINT64_C(1000000000000000) /* of the smallest unit: no sum of these overflows soon */

struct scale {
    const char *name;
    uint64_t factor; /* smallest units in one of these */
};

static const struct {
    const char *what;
    struct scale scales[10];
} units[] = {
    [UNIT_CORES] = { "a number of cores such as 0.5", { { "", 1000 } } },
    [UNIT_BYTES] = { "an amount of memory such as 64MB",
                     { { "B", 1 },
                       { "KB", 1024 },
                       { "KiB", 1024 },
                       { "MB", 1024 * 1024 },
                       { "MiB", 1024 * 1024 },
                       { "GB", 1024 * 1024 * 1024 },
                       { "GiB", 1024 * 1024 * 1024 } } },
    [UNIT_RATE] = { "a rate such as 10Mbps",
                    { { "bps", 1 }, { "kbps", 1000 }, { "Mbps", 1000000 }, { "Gbps", 1000000000 } } },
    [UNIT_TIME] = { "a time such as 5ms", { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 } } },
};

static const struct scale *
find_scale(enum unit unit, const char *name)
{
    for (const struct scale *scale = units[unit].scales; scale->name; scale++) {
        if (!strcmp(scale->name, name)) {
            return scale;
        }
    }
    return NULL;
}

static char *
refuse_unit(struct arena *arena, const char *text, enum unit unit, const char *name)
{
    char *list = arena_copy(arena, "", 0);
    for (const struct scale *scale = units[unit].scales; scale->name; scale++) {
        list = arena_printf(arena, "%s%s%s", list, *list ? ", " : "", scale->name);
    }
    if (unit == UNIT_CORES) {
        return arena_printf(arena, "cores have no unit '%.20s'", name);
    }
    if (!*name) {
        return arena_printf(arena, "'%.40s' has no unit: the units are %s", text, list);
    }
    return arena_printf(arena, "unknown unit '%.20s': the units are %s", name, list);
}

/* Digits, and digits behind a point, times 'factor'.  False where that is not whole or far too much. */
static bool
read_exactly(const char *text, size_t length, uint64_t factor, uint64_t *value)
{
    uint64_t whole = 0, fraction = 0, parts = 1; /* fraction / parts */
    size_t i = 0;
    while (length && text[length - 1] == '0' && memchr(text, '.', length)) {
        length--;
    }
    for (; i < length && text[i] != '.'; i++) {
        whole = whole * 10 + (uint64_t) (text[i] - '0');
        if (whole > LARGEST / factor) {
            return false;
        }
    }
    for (i++; i < length; i++) {
        fraction = fraction * 10 + (uint64_t) (text[i] - '0');
        parts *= 10;
        if (parts > 1000000000) {
            return false;
        }
    }
    *value = whole * factor + fraction * factor / parts;
    return fraction * factor % parts == 0 && *value <= LARGEST;
}

char *
units_read(struct arena *arena, const char *text, enum unit unit, uint64_t *value)
{
    size_t whole = strspn(text, "0123456789"), length = whole;
    if (whole && text[length] == '.') {
        size_t fraction = strspn(text + length + 1, "0123456789");
        length = fraction ? length + 1 + fraction : 0;
    }
    if (!whole || !length) {
        return arena_printf(arena, "expected %s, but found '%.40s'", units[unit].what, text);
    }
    const struct scale *scale = find_scale(unit, text + length);
    if (!scale) {
        return refuse_unit(arena, text, unit, text + length);
    }
    if (!read_exactly(text, length, scale->factor, value)) {
        return arena_printf(arena, "'%.40s' is too large, or finer than can be counted", text);
    }
    if (*value == 0) {
        return arena_printf(arena, "'%.40s' is nothing: expected %s", text, units[unit].what);
    }
    return NULL;
}
