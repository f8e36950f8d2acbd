/* get_statistics of the module host daemon: its process, the load of the host, the trunk, the modules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/daemon.h"
#include "daemons/modulehost/counters.h"

static xmlrpc_value *
load_of_host(const struct modulehost *m)
{
    double load[3] = { 0 };
    int got = getloadavg(load, 3);
    double total = 0, available = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        total = strncmp(line, "MemTotal:", 9) ? total : strtod(line + 9, NULL) * 1024;
        available = strncmp(line, "MemAvailable:", 13) ? available : strtod(line + 13, NULL) * 1024;
    }
    if (f) {
        fclose(f);
    }
    xmlrpc_value *v = fs_struct();
    fs_set(v, "host", fs_string(m->name));
    fs_set(v, "load_1min", fs_double(got > 0 ? load[0] : 0));
    fs_set(v, "memory_total_bytes", fs_double(total));
    return fs_set(v, "memory_available_bytes", fs_double(available));
}

static xmlrpc_value *
trunk(const struct modulehost *m)
{
    struct fs_mux_stats s = { 0 };
    char *error = NULL;
    int e = fs_mux_statistics(&m->env, &s, 1000, &error);
    xmlrpc_value *v = fs_struct();
    fs_set(v, "host", fs_string(m->name));
    fs_set(v, "up", fs_int(!e));
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        { "rx_packets", s.rx_packets }, { "rx_bytes", s.rx_bytes }, { "tx_packets", s.tx_packets }, { "tx_bytes", s.tx_bytes },
        { "local_packets", s.local_packets }, { "unknown_path", s.unknown_spi }, { "malformed", s.malformed },
        { "tx_errors", s.tx_errors }, { "ring_drops", s.ring_drops }, { "ring_faults", s.ring_faults },
        { "kernel_drops", s.kernel_drops }, { "rate_drops", s.rate_drops },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fs_set(v, rows[i].name, fs_double((double) rows[i].value));
    }
    if (e) {
        fs_set(v, "problem", fs_string(error));
    }
    free(error);
    return v;
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    char *error = NULL;
    xmlrpc_value *v = fs_struct(), *modules = modulehost_counters(m, -1, &error);
    fs_set(v, "process", fs_daemon_statistics(fs_call_daemon(call)));
    fs_set(v, "host", fs_append(fs_array(), load_of_host(m)));
    fs_set(v, "trunk", fs_append(fs_array(), trunk(m)));
    fs_call_return(call, fs_set(v, "modules", modules ? modules : fs_array()));
    free(error);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_statistics",
    .help = "Tells the daemon's figures ('process'), load and memory of the host ('host'), the multiplexer's counts at the trunk ('trunk') and the counters of all "
            "modules ('modules').",
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
