/* Trying a loadable object in a throw-away child of this program before any of it runs here: a constructor may exit, loop or crash, and its descriptor may lie. */
#ifndef CORE_VET_H
#define CORE_VET_H 1

#include <stddef.h>

#include <flowstream/method.h>

enum { FS_VET_MS = 10000 };

/* NULL when a child could load 'path' and its self-test passed, and it is the method 'name' of that kind (NULL: any); else why not (owned).  Takes up to FS_VET_MS. */
char *fs_vet(const char *path, enum fs_method_kind kind, const char *name);

/* Could one child load all of them?  Starting a child costs most of what trying takes. */
bool fs_vet_all(char *const paths[], size_t n);

/* dlopen() and look at the descriptor: the method, with its handle, or NULL with *error (owned); then nothing of it stays. */
const struct fs_method *fs_open_object(const char *path, void **handle, char **error);

/* NULL when it is what it is said to be, else why not (owned). */
char *fs_vet_descriptor(const struct fs_method *, enum fs_method_kind kind, const char *name);

/* The program's part in the child: loads each file and prints a line about it; the exit status of the process. */
FS_API int fs_vet_main(int n, char **files);

#endif
