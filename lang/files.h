/* Reading files for flowstream-lang: the one of the command line, and those that it includes. */
#ifndef LANG_FILES_H
#define LANG_FILES_H 1

#include <stdbool.h>
#include <stddef.h>

/* The whole of the file 'name', or of standard input for "-", malloc()ed; NULL with errno. */
char *files_read(const char *name, size_t *size);

/* The file 'name', a relative path of plain names, beside the file 'main_file', malloc()ed.  Symbolic links are not
 * followed, so that it lies where it seems to lie.  Returns 0 or a positive errno. */
int files_read_beside(const char *main_file, const char *name, char **text, size_t *size);

#endif
