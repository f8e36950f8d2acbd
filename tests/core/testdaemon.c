/* A daemon with no part of its own: what the tests of the core drive.  It goes by the name of pm, so that the schema of configurations
 * knows it; the methods that it serves are the common ones and those that a test compiles into LIB/{tasks,commands}/pm. */
#include "config.h"

#include "core/daemon.h"

int
main(int argc, char **argv)
{
    static const struct fs_daemon_class class = { .name = "pm", .summary = "The daemon that the tests of the core drive." };
    return fs_daemon_main(&class, argc, argv);
}
