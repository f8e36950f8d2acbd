/* Control groups, version 1, one folder a controller.  The runner joins them before it forks the module; the daemon's
 * library removes them after its end.  Without them (an ordinary user, another layout) the module runs all the same and its status
 * says which limit does not hold and why. */
#include "config.h"

#include "pm/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pm/process.h"
#include "pm/spec.h"

#define ROOT "/sys/fs/cgroup"
enum { PERIOD_US = 100000, PIDS_MAX = 4, RETRY_MS = 5 };

static const char *const controllers[] = { "cpu", "memory", "pids" };
enum { N_CONTROLLERS = 3, CPU = 0, MEMORY = 1, PIDS = 2 };

static int
write_value(const char *folder, const char *file, const char *value)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, file) < 0) {
        return ENOMEM;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    free(path);
    if (fd < 0) {
        return errno;
    }
    ssize_t n = write(fd, value, strlen(value));
    int err = n < 0 ? errno : 0;
    close(fd);
    return err;
}

/* Make CONTROLLER/flowstream/HOST/NAME; *folder is malloc()ed. */
static int
make_group(const char *controller, const char *host, const char *name, char **folder)
{
    *folder = NULL;
    if (asprintf(folder, ROOT "/%s/flowstream/%s/%s", controller, host, name) < 0) {
        *folder = NULL;
        return ENOMEM;
    }
    if (access(ROOT, X_OK)) {
        return errno;
    }
    for (char *slash = *folder + strlen(ROOT) + 1 + strlen(controller) + 1; slash; slash++) {
        slash = strchr(slash, '/');
        if (slash) {
            *slash = '\0';
        }
        int err = mkdir(*folder, 0755) && errno != EEXIST ? errno : 0;
        if (slash) {
            *slash = '/';
        }
        if (err) {
            return err;
        }
        if (!slash) {
            break;
        }
    }
    return 0;
}

static int
set_limit(int controller, const char *folder, const struct fs_process_spec *spec)
{
    char value[64];
    switch (controller) {
    case CPU:
        snprintf(value, sizeof value, "%d", (int) (pm_process_cpu(spec) * PERIOD_US));
        return write_value(folder, "cpu.cfs_quota_us", value);
    case MEMORY:
        snprintf(value, sizeof value, "%u", pm_process_mem(spec));
        strcat(value, "M");
        return write_value(folder, "memory.limit_in_bytes", value);
    default:
        snprintf(value, sizeof value, "%d", PIDS_MAX);
        return write_value(folder, "pids.max", value);
    }
}

static void
describe(struct pm_text *t, int controller, const struct fs_process_spec *spec)
{
    if (controller == CPU) {
        pm_text_add(t, "%scpu %g cores", t->length ? ", " : "", pm_process_cpu(spec));
    } else if (controller == MEMORY) {
        pm_text_add(t, "%smemory %u MB", t->length ? ", " : "", pm_process_mem(spec));
    } else {
        pm_text_add(t, "%sprocesses %d", t->length ? ", " : "", PIDS_MAX);
    }
}

char *
pm_cgroup_join(const char *host, const struct fs_process_spec *spec, bool *memory)
{
    struct pm_text held = { 0 }, missing = { 0 };
    *memory = pm_process_mem(spec) == 0;
    for (int c = 0; c < N_CONTROLLERS; c++) {
        if ((c == CPU && !(pm_process_cpu(spec) > 0)) || (c == MEMORY && !pm_process_mem(spec))) {
            continue;
        }
        char *folder;
        int err = make_group(controllers[c], host, spec->name, &folder);
        if (err == ENOENT) { /* another host's end took the folder above away just now */
            free(folder);
            err = make_group(controllers[c], host, spec->name, &folder);
        }
        if (!err) {
            err = set_limit(c, folder, spec);
        }
        if (!err) {
            err = write_value(folder, "tasks", "0"); /* a thread that moves itself does not wait for every other processor, as moving another process does */
        }
        free(folder);
        if (err) {
            pm_text_add(&missing, "%s%s (%s)", missing.length ? ", " : "", controllers[c], strerror(err));
        } else {
            describe(&held, c, spec);
            *memory |= c == MEMORY;
        }
    }
    if (missing.length) {
        pm_text_add(&held, "%snot enforced: %s", held.length ? "; " : "", missing.text);
    }
    free(pm_text_take(&missing));
    return pm_text_take(&held);
}

static bool
is_member(const char *procs, pid_t pid)
{
    FILE *f = fopen(procs, "re");
    int one = 0;
    while (f && one != pid && fscanf(f, "%d", &one) == 1) {
    }
    if (f) {
        fclose(f);
    }
    return one == pid;
}

/* Kill whoever is in a group still: a process whose folder somebody has removed is known to nobody else. */
static void
kill_members(const char *folder)
{
    char *procs;
    if (asprintf(&procs, "%s/cgroup.procs", folder) < 0) {
        return;
    }
    FILE *f = fopen(procs, "re");
    for (int pid; f && fscanf(f, "%d", &pid) == 1;) {
        int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
        if (fd >= 0 && is_member(procs, pid)) { /* and not another that got its number */
            (void) pm_pidfd_kill(fd);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (f) {
        fclose(f);
    }
    free(procs);
}

int
pm_cgroup_remove(const char *host, const char *name, int64_t end)
{
    int result = 0;
    for (int c = 0; c < N_CONTROLLERS; c++) {
        char *folder;
        if (asprintf(&folder, ROOT "/%s/flowstream/%s/%s", controllers[c], host, name) < 0) {
            return ENOMEM;
        }
        int err;
        while ((err = rmdir(folder) ? errno : 0) == EBUSY && pm_left(end)) {
            kill_members(folder);
            poll(NULL, 0, RETRY_MS);
        }
        /* A system without such a controller, or a user who could never have made the group. */
        if (err && err != ENOENT && err != ENOTDIR && err != EACCES && err != EPERM && err != EROFS) {
            result = err;
        }
        free(folder);
    }
    return result;
}

void
pm_cgroup_remove_host(const char *host)
{
    for (int c = 0; c < N_CONTROLLERS; c++) {
        char folder[512];
        int n = snprintf(folder, sizeof folder, ROOT "/%s/flowstream/%s", controllers[c], host);
        if (n > 0 && (size_t) n < sizeof folder && rmdir(folder) == 0) {
            *strrchr(folder, '/') = '\0';
            (void) rmdir(folder); /* stays where another host has groups */
        }
    }
}
