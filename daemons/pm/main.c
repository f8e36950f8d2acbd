/* flowstream-pm: knows the types of processing modules, configures modules and reads their counters.  What it does is in tasks/pm and commands/pm. */
#include "core/daemon.h"
#include "daemons/pm/pm.h"

static const struct fs_daemon_class pm = {
    .name = "pm",
    .summary = "The processing module daemon of Flowstream: knows the types of modules, checks their arguments, configures modules while they\n"
               "run and reads their counters.",
    .start = pm_start,
    .stop = pm_stop,
};

int
main(int argc, char **argv)
{
    return fs_daemon_main(&pm, argc, argv);
}
