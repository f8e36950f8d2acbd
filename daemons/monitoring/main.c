/* flowstream-monitoring: gathers the figures of all other daemons.  What it does is in tasks/monitoring and commands/monitoring. */
#include "core/daemon.h"
#include "daemons/monitoring/monitor.h"

static const struct fs_regular_task regular[] = {
    { "collect", 2000, 0 },
    { NULL, 0, 0 },
};

static const struct fs_daemon_class monitoring = {
    .name = "monitoring",
    .summary = "The monitoring daemon of Flowstream: gathers figures of all daemons, hosts, switches and modules every two seconds, serves them to the\n"
               "resource daemon, and to Prometheus on GET /metrics.",
    .start = monitor_start,
    .stop = monitor_stop,
    .regular = regular,
};

int
main(int argc, char **argv)
{
    return fs_daemon_main(&monitoring, argc, argv);
}
