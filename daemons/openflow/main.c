/* flowstream-openflow: puts rules into switches and reads their statistics.  What it does is in tasks/openflow and commands/openflow. */
#include "core/daemon.h"
#include "daemons/openflow/switches.h"

static const struct fs_daemon_class openflow = {
    .name = "openflow",
    .summary = "The OpenFlow daemon of Flowstream: puts rules into switches, one atomic bundle a switch, and reads their statistics.",
    .start = switches_start,
    .stop = switches_stop,
};

int
main(int argc, char **argv)
{
    return fs_daemon_main(&openflow, argc, argv);
}
