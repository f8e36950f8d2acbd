/* The values that headers and properties may have. */
#ifndef LANG_SETTINGS_H
#define LANG_SETTINGS_H 1

#include "flowstream/request.h"

struct settings {
    struct fs_request_needs needs;
    uint64_t rate;    /* bit/s; 0: not given */
    uint64_t delay;   /* microseconds; 0: not given */
    int32_t priority; /* -1: not given */
};

#endif
