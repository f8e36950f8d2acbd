/* What the tasks and commands of the processing module daemon share: the folder of module types and connections to module hosts. */
#ifndef DAEMONS_PM_H
#define DAEMONS_PM_H 1

#include <flowstream/api.h>
#include <flowstream/pm.h>
#include <flowstream/value.h>

#include "core/client.h"
#include "core/daemon.h"

struct pm;

FS_API void *pm_start(struct fs_daemon *, const struct fs_settings *, char **error);
FS_API void pm_stop(void *);
FS_API const char *pm_types(const struct pm *);
/* The connection to the module host daemon at 'address'; made at the first call, lives as long as the daemon. */
FS_API struct fs_peer *pm_host(struct pm *, const char *address);

#endif
