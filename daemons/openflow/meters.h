/* Meters as values: [{meter: its id, kbps, burst (kbit)}], of one allocation in one switch. */
#ifndef DAEMONS_OPENFLOW_METERS_H
#define DAEMONS_OPENFLOW_METERS_H 1

#include <flowstream/openflow.h>
#include <flowstream/value.h>

/* Appends those of 'list' to '*meters' (owned), which has '*n'.  NULL, or what is wrong with one (owned). */
FS_API char *openflow_read_meters(const xmlrpc_value *list, uint32_t allocation, struct fs_meter **meters, size_t *n);

/* The meters of an allocation become those that are wanted, as far as that is to be done before the rules: what is missing is added, what is changed is changed back.  0, or an
 * errno with *error: also where the id of one is somebody else's.  Those that are too much stay: rules may use them.  *fresh: the allocation
 * had none of them there. */
FS_API int openflow_put_meters(struct fs_switch *, uint32_t allocation, const struct fs_meter *wanted, size_t n, int ms, bool *fresh, char **error);

/* Do these differences but those that the switch cannot have: 'extra' ones only, or only the others. */
FS_API int openflow_mend_meters(struct fs_switch *, const struct fs_meter_difference *, size_t n, bool extra, int ms, char **error);

/* Take away the meters of an allocation that are not among those wanted: no rule uses them any more. */
FS_API int openflow_trim_meters(struct fs_switch *, uint32_t allocation, const struct fs_meter *wanted, size_t n, int ms, char **error);

/* All meters of a switch that are ours, or only those of an allocation (-1: all), with counters: a new array, or NULL with *error.  *others, unless it is NULL, becomes an array of the
 * ids of those that are not. */
FS_API xmlrpc_value *openflow_meters(struct fs_switch *, int allocation, xmlrpc_value **others, int ms, char **error);

#endif
