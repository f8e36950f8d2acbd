/* Rules and ports of a switch as values. */
#ifndef DAEMONS_OPENFLOW_DESCRIBE_H
#define DAEMONS_OPENFLOW_DESCRIBE_H 1

#include <flowstream/openflow.h>
#include <flowstream/value.h>

/* A new array of structs, or NULL with *error. */
FS_API xmlrpc_value *openflow_rules(struct fs_switch *, uint64_t cookie, uint64_t mask, int ms, char **error);
FS_API xmlrpc_value *openflow_ports(struct fs_switch *, int ms, char **error);

#endif
