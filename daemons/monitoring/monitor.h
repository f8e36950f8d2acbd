/* What the tasks and commands of the monitoring daemon share: the newest sample of the whole platform. */
#ifndef DAEMONS_MONITORING_MONITOR_H
#define DAEMONS_MONITORING_MONITOR_H 1

#include <flowstream/api.h>
#include <flowstream/value.h>

#include "core/daemon.h"

struct monitor;

FS_API void *monitor_start(struct fs_daemon *, const struct fs_settings *, char **error);
FS_API void monitor_stop(void *);
/* Put a new sample (taken) in place of the old one; rates of modules are reckoned from both. */
FS_API void monitor_put(struct monitor *, xmlrpc_value *sample);
/* A copy of the newest sample, with 'age' (seconds); an empty struct before the first. */
FS_API xmlrpc_value *monitor_get(struct monitor *);
/* Copies of the modules of the newest sample: those of one allocation, or all (owner below 0). */
FS_API xmlrpc_value *monitor_modules(struct monitor *, int owner);
/* When the next sample may be taken at regular times (fs_now_ms()). */
FS_API void monitor_rest_until(struct monitor *, int64_t);
FS_API int64_t monitor_rests_until(struct monitor *);

#endif
