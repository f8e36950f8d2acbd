/* flowstream-resource: takes allocation requests, places them, and has the other daemons carry them out. What it does is in tasks/resource and
 * commands/resource.
 *
 * With --check-platform FILE it is no daemon: it reads a platform file and says what is wrong with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/daemon.h"
#include "daemons/resource/resource.h"

enum { PATIENCE_MS = 900 }; /* one host or switch that does not answer keeps the others waiting no longer */

static const struct fs_regular_task regular[] = {
    { "prepare_platform", 1000, 0 },          /* the rules that every switch needs */
    { "settle", 5000, 0 },                    /* finish what was begun and not ended */
    { "reconcile_hosts", 1000, PATIENCE_MS }, /* what is there is what is wanted */
    { "reconcile_switches", 1000, PATIENCE_MS },
    { NULL, 0, 0 },
};

static const struct fs_daemon_class resource = {
    .name = "resource",
    .summary = "The resource daemon of Flowstream: takes allocation requests, places their modules on hosts and their traffic on paths,\n"
               "and has the module hosts and switches carry it out.\n"
               "flowstream-resource --check-platform FILE only checks a platform file: status 0, or 1 with FILE:LINE and what is wrong.",
    .start = resource_start,
    .stop = resource_stop,
    .regular = regular,
};

static int
check_platform(const char *file)
{
    struct fs_platform *platform = NULL;
    char *error = NULL;
    int status = fs_platform_read(file, &platform, &error);
    status = status ? status : fs_platform_check(platform, file, &error);
    if (status) {
        fprintf(stderr, "%s\n", error);
    }
    fs_platform_destroy(platform);
    free(error);
    return status ? 1 : 0;
}

int
main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--check-platform")) {
        return check_platform(argv[2]);
    }
    return fs_daemon_main(&resource, argc, argv);
}
