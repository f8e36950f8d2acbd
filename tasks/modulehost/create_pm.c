/* create_pm: start one processing module on this host, or several in one process, and connect them to the multiplexer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/modulehost/modulehost.h"

FS_LOG_MODULE("modules");

enum { START_MS = 20000 };

/* A module of the parameter as the library wants it. */
struct member {
    struct fs_module_spec spec;
    struct fs_port_spi *inputs, *outputs;
};

static void
fill(struct member *m, const xmlrpc_value *pm)
{
    const xmlrpc_value *inputs = fs_get(pm, "inputs"), *outputs = fs_get(pm, "outputs");
    m->inputs = modulehost_ports(pm, "inputs");
    m->outputs = modulehost_ports(pm, "outputs");
    m->spec = (struct fs_module_spec) {
        .name = fs_get_string(pm, "name", ""),
        .type = fs_get_string(pm, "type", ""),
        .args = fs_get_string(pm, "args", ""),
        .basesys = fs_get_string(pm, "basesys", ""),
        .owner = (uint64_t) fs_get_int(pm, "owner", 0),
        .cpu = fs_get_double(pm, "cpu", 0),
        .mem = (unsigned) fs_get_double(pm, "mem", 0),
        .inputs = m->inputs,
        .n_inputs = fs_size(inputs),
        .outputs = m->outputs,
        .n_outputs = fs_size(outputs),
    };
}

/* Was the process begun before this daemon?  Then the order was carried out, in part or whole, by the daemon before, which died with its answer; the caller's HTTP library has sent it
 * again.  (The resource daemon gives no name twice, and has modules removed before it makes them again.) */
static bool
is_left_behind(const struct modulehost *m, const char *name)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    xmlrpc_value *figures = fs_daemon_statistics(m->daemon);
    double began = (double) now.tv_sec + (double) now.tv_nsec / 1e9 - fs_get_double(figures, "uptime_seconds", 0);
    fs_free(figures);
    struct stat st;
    char *folder = fs_xasprintf("%s/modules/%s", m->env.dir, name), *spec = fs_xasprintf("%s/spec", folder);
    bool is = !lstat(folder, &st) && S_ISDIR(st.st_mode);
    (void) stat(spec, &st); /* written once, before the process is started */
    free(spec);
    free(folder);
    return is && (double) st.st_mtim.tv_sec + (double) st.st_mtim.tv_nsec / 1e9 < began;
}

/* Start it, in the place of what a daemon before us has left of the same order. */
static int
start(const struct modulehost *m, const struct fs_process_spec *process, char **error)
{
    int e = fs_process_start(&m->env, process, START_MS, error);
    if (e == EEXIST && is_left_behind(m, process->name)) {
        fs_log_info("process %s was being started when the daemon before this one ended: it is started anew", process->name);
        free(*error);
        *error = NULL;
        e = fs_module_stop(&m->env, process->name, START_MS, error);
        e = e ? e : fs_process_start(&m->env, process, START_MS, error);
    }
    return e;
}

static void
run(struct fs_call *call)
{
    struct modulehost *m = fs_call_state(call);
    const xmlrpc_value *param = fs_call_param(call, 0), *several = fs_get(param, "modules");
    size_t n = several ? fs_size(several) : 1;
    struct member *members = fs_xcalloc(n, sizeof *members);
    const struct fs_module_spec **specs = fs_xcalloc(n, sizeof *specs);
    for (size_t i = 0; i < n; i++) {
        fill(&members[i], several ? fs_item(several, i) : param);
        specs[i] = &members[i].spec;
    }
    struct fs_process_spec process = { .name = fs_get_string(param, "name", ""), .modules = specs, .n_modules = n };
    char *error = NULL;
    int e = FS_FAILPOINT_ERROR("create_pm.begun") ? EIO : start(m, &process, &error);
    modulehost_watch_note(m, process.name);
    e = !e && FS_FAILPOINT_ERROR("create_pm.before_answer") ? EIO : e;
    if (e) {
        fs_call_fail(call, "host %s: %s %s: %s", m->name, several ? "process" : "module", process.name, error ? error : strerror(e));
    }
    for (size_t i = 0; i < n; i++) {
        if (!e) {
            fs_log_info("module %s (%s) of allocation %llu runs in process %s", specs[i]->name, specs[i]->type,
                        (unsigned long long) specs[i]->owner, process.name);
        }
        free(members[i].inputs);
        free(members[i].outputs);
    }
    free(specs);
    free(members);
    free(error);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "create_pm",
    .help = "Starts a processing module in a process of its own on this host and connects it, or leaves nothing behind. What a daemon that died before its answer has left of the same order is replaced. Several modules of one allocation may share a process: "
            "what goes from one to the other then stays in it, limits are the sum, and they end together.",
    .params = { { "pm", "struct",
                  "name, type, args, basesys, owner (id of the allocation), cpu (cores, 0: no limit), mem (MB, 0: no limit), inputs and outputs (arrays of {port, "
                  "spi, rate}: the service path that leads to the port, or from it (0: an output that is not connected), and what it may carry in bit/s, 0 or nothing: no limit; where an output has several, each flow takes one, by a hash of its addresses and ports modulo their number); or name (of the process) "
                  "and modules (array of such structs)" } },
    .returns = "nil",
    .undo = "delete_pm",
    .run = run,
};
