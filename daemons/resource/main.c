/* flowstream-resource: takes allocation requests, places them, and has the other daemons carry them out. What it does is in tasks/resource and
 * commands/resource. */
#include "core/daemon.h"
#include "daemons/resource/resource.h"

static const struct fs_regular_task regular[] = {
    { "prepare_platform", 1000 }, /* the rules that every switch needs */
    { "settle", 5000 },           /* finish what was begun and not ended */
    { "sweep", 10000 },           /* take away what belongs to nobody */
    { NULL, 0 },
};

static const struct fs_daemon_class resource = {
    .name = "resource",
    .summary = "The resource daemon of Flowstream: takes allocation requests, places their modules on hosts and their traffic on paths,\n"
               "and has the module hosts and switches carry it out.",
    .start = resource_start,
    .stop = resource_stop,
    .regular = regular,
};

int
main(int argc, char **argv)
{
    return fs_daemon_main(&resource, argc, argv);
}
