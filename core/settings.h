/* The configuration of a daemon: an XML file of the operator's, checked against etc/schemas/daemon.rng. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H 1

#include <stddef.h>

#include <flowstream/api.h>

struct fs_settings;

/* Reads and checks 'path' for the daemon 'name'.  0, or an errno with *error: "FILE:LINE: what is wrong", a line each. */
FS_API int fs_settings_read(const char *path, const char *name, struct fs_settings **, char **error);
FS_API void fs_settings_destroy(struct fs_settings *);
/* Attribute 'attribute' of the nth (from 0) element 'element' below the root, or of the root itself for element NULL.  NULL: not there.
 * Lives as long as the settings. */
FS_API const char *fs_setting(const struct fs_settings *, const char *element, size_t nth, const char *attribute);
FS_API long fs_setting_number(const struct fs_settings *, const char *element, const char *attribute, long otherwise);

#endif
