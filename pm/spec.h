/* The specification of a process and its modules as text: the file modules/NAME/spec, and the request "add" of the multiplexer. */
#ifndef PM_SPEC_H
#define PM_SPEC_H 1

#include "pm/private.h"

/* Bytes of a module and of a whole process as text, at most. */
enum { PM_MODULE_TEXT_MAX = FS_MODULE_ARGS_MAX + 2 * FS_PATHS_MAX * 48, PM_SPEC_MAX = FS_MEMBERS_MAX * PM_MODULE_TEXT_MAX };

/* Check all that can be said without the type; an error names the field. */
int pm_spec_check(const struct fs_module_spec *, char **error);

/* How many output ports it has; a port may have several paths. */
uint32_t pm_spec_output_ports(const struct fs_module_spec *);

/* Write it: one field a line, the arguments last since they may hold anything.  NULL: no memory. */
char *pm_spec_print(const struct fs_module_spec *, bool with_args);

/* Read what pm_spec_print() wrote.  *spec points into one block, which the caller frees with pm_spec_free(). */
int pm_spec_parse(const char *text, struct fs_module_spec **spec, char **error);
void pm_spec_free(struct fs_module_spec *); /* accepts NULL */

/* The same for a process: its name, then each module with its length. */
int pm_process_check(const struct fs_process_spec *, char **error);
char *pm_process_print(const struct fs_process_spec *, bool with_args);
int pm_process_parse(const char *text, struct fs_process_spec **, char **error);
void pm_process_free(struct fs_process_spec *); /* one that was parsed; accepts NULL */

/* Read and parse 'folder'/spec. */
int pm_process_read(const char *folder, struct fs_process_spec **, char **error);

/* Cores and MB of all modules together; 0, no limit, where one has none. */
double pm_process_cpu(const struct fs_process_spec *);
unsigned pm_process_mem(const struct fs_process_spec *);

#endif
