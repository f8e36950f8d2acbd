/* The options of install_allocation and plan_allocation. */
#ifndef DAEMONS_RESOURCE_OPTIONS_H
#define DAEMONS_RESOURCE_OPTIONS_H 1

#include <flowstream/method.h>

/* The text of a request with its options, checked: what compile_request answers (owned), or NULL after the call has been answered with why not.  'installs': the options
 * that only an installation has (wait, name, key) are allowed as well.  'options' may be NULL: none. */
FS_API xmlrpc_value *resource_compile(struct fs_call *, const char *text, const xmlrpc_value *options, bool installs);

#endif
