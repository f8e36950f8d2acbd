/* flowstream-modulehost: runs processing modules on a server.  What it does is in tasks/modulehost and commands/modulehost. */
#include "core/daemon.h"
#include "daemons/modulehost/modulehost.h"

static const struct fs_regular_task regular[] = {
    { "setup_host", 5000, 0 },    /* trunk and multiplexer are there, also after somebody took them away */
    { "register_host", 2000, 0 }, /* the resource daemon knows that we are here */
    { "watch_host", 500, 0 },     /* what ends is noticed, mended and told */
    { NULL, 0, 0 },
};

static const struct fs_daemon_class modulehost = {
    .name = "modulehost",
    .summary = "The module host daemon of Flowstream: starts processing modules on this server, isolated from each other, connects them to\n"
               "the switch, and registers the server with the resource daemon. Modules go on when this daemon ends.",
    .start = modulehost_start,
    .stop = modulehost_stop,
    .regular = regular,
};

int
main(int argc, char **argv)
{
    return fs_daemon_main(&modulehost, argc, argv);
}
