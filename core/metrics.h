/* Prometheus text from a value. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H 1

#include <flowstream/value.h>

/* Each number in 'statistics' becomes a line flowstream_NAME{daemon="..."} VALUE: NAME is its path of member names joined with '_'; in an array
 * of structs the string members of an item become its labels.  The text is owned by the caller. */
FS_API char *fs_metrics_text(const char *daemon, const xmlrpc_value *statistics);

#endif
