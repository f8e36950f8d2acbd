/* What the sources of pm/ share and no one else sees. */
#ifndef PM_PRIVATE_H
#define PM_PRIVATE_H 1

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/pm.h>

#define PM_MESSAGE_MAX 65536u /* bytes of one control message, either way */

/* Set *error (where 'error' is not NULL) to the formatted sentence, malloc()ed, and return 'code'. */
int pm_fail(char **error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A text that grows.  Begin with zeros; 'text' is NULL until something was added and after memory ran out ('failed'). */
struct pm_text {
    char *text;
    size_t length;
    size_t room;
    bool failed;
};
void pm_text_add(struct pm_text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Hand the text to the caller ("" where nothing was added), NULL where memory ran out; the struct is empty afterwards. */
char *pm_text_take(struct pm_text *);

/* Milliseconds of the monotonic clock, and what is left until 'end' (never negative). */
int64_t pm_now(void);
int pm_left(int64_t end);

/* Read all of a small file (at most 'max' bytes) into a malloc()ed string; 0 or errno. */
int pm_read_file(const char *path, size_t max, char **text);
/* Replace a file as a whole, mode 0600: readers see the old text or the new. */
int pm_write_file(const char *path, const char *text);

/* Remove a folder of plain files and the files in it; 0 or errno, absent is 0. */
int pm_remove_folder(const char *path);

/* Whether a name is fit to be a folder, a cgroup and an argument: see fs_module_spec.name. */
bool pm_name_ok(const char *name);

#endif
