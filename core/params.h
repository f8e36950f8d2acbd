/* What a method is given, held against its descriptor. */
#ifndef CORE_PARAMS_H
#define CORE_PARAMS_H 1

#include <flowstream/method.h>

/* NULL when the parameters are those that the descriptor names, with the members that it names; else what is wrong (owned). */
char *fs_params_check(const struct fs_method *, const xmlrpc_value *params);
/* NULL when the descriptor's parameters and members can be checked; else what is wrong with it (owned). */
char *fs_params_vet(const struct fs_method *);

#endif
