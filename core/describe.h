/* What is said about methods: lists, help texts. */
#ifndef CORE_DESCRIBE_H
#define CORE_DESCRIBE_H 1

#include <flowstream/method.h>

/* An array with a struct for each method of that kind. */
FS_API xmlrpc_value *fs_describe_methods(struct fs_call *, enum fs_method_kind);
/* "NAME(param type, ...) -> type", then the sentences about it and a line for each parameter; owned by the caller. */
FS_API char *fs_describe_help(const struct fs_method *);

#endif
