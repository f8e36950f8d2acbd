/* The surroundings of a request when no platform is at hand: the module types installed on this computer. */
#ifndef LANG_TYPES_H
#define LANG_TYPES_H 1

#include "flowstream/lang.h"

struct installed_types;

/* Read the descriptors of the types in the folder 'path', or, where it is NULL, in ../lib/flowstream/types beside this
 * program.  Fills the types and callbacks of '*env', which borrows from '*types' until types_destroy().  Returns 0 or a
 * positive errno with a malloc()ed '*error'. */
int types_load(const char *path, struct installed_types **types, struct fs_lang_env *env, char **error);

/* Say which file the request is in, for what it includes; borrowed. */
void types_set_file(struct installed_types *, const char *main_file);

/* fs_lang_env.read_include for an environment that types_load() filled. */
int types_read_include(void *types, const char *name, char **text, size_t *size);

/* Accepts NULL. */
void types_destroy(struct installed_types *);

#endif
