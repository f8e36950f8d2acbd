/* Calls one function of libflowstream-pm, for test_pm.py: each call is a process of its own, as a daemon that was started anew is.
 *
 *     pm-driver DIR PROGRAMS TYPES NETNS TRUNK HOST VERB ARGUMENT...
 *
 * NETNS "-" is none.  Prints the result on standard output, an error on standard error; exit status 0, or 1 for any error. */
#include "config.h"

#include <flowstream/pm.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS = 10000 };

static int
deadline(void)
{
    const char *text = getenv("PM_DEADLINE_MS");
    return text ? atoi(text) : DEADLINE_MS;
}

/* "PORT:SPI,PORT:SPI", a rate in bit/s may follow as ":RATE"; "" is none. */
static size_t
parse_paths(const char *text, struct fs_port_spi *paths, size_t max)
{
    size_t n = 0;
    int used;
    while (n < max && sscanf(text, "%" SCNu32 ":%" SCNu32 "%n", &paths[n].port, &paths[n].spi, &used) == 2) {
        text += used;
        paths[n].rate = 0;
        if (*text == ':') {
            char *end;
            paths[n].rate = strtoull(text + 1, &end, 10);
            text = end;
        }
        n++;
        text += *text == ',';
    }
    return n;
}

/* start NAME TYPE ARGS OWNER CPU MEM INPUTS OUTPUTS [BASESYS] */
static int
start(const struct fs_host_env *env, int argc, char *argv[], char **error)
{
    struct fs_port_spi inputs[FS_PATHS_MAX], outputs[FS_PATHS_MAX];
    if (argc < 8) {
        return 22;
    }
    struct fs_module_spec spec = {
        .name = argv[0], .type = argv[1], .args = argv[2], .owner = strtoull(argv[3], NULL, 10), .cpu = atof(argv[4]),
        .mem = (unsigned) atoi(argv[5]), .inputs = inputs, .outputs = outputs, .basesys = argc > 8 ? argv[8] : NULL,
    };
    spec.n_inputs = parse_paths(argv[6], inputs, FS_PATHS_MAX);
    spec.n_outputs = parse_paths(argv[7], outputs, FS_PATHS_MAX);
    return fs_module_start(env, &spec, deadline(), error);
}

/* start-process NAME OWNER, then for each module NAME TYPE ARGS CPU MEM INPUTS OUTPUTS */
static int
start_process(const struct fs_host_env *env, int argc, char *argv[], char **error)
{
    static struct fs_port_spi inputs[FS_MEMBERS_MAX + 1][FS_PATHS_MAX], outputs[FS_MEMBERS_MAX + 1][FS_PORTS_MAX];
    static struct fs_module_spec specs[FS_MEMBERS_MAX + 1];
    const struct fs_module_spec *modules[FS_MEMBERS_MAX + 1];
    struct fs_process_spec process = { .name = argv[0], .modules = modules };
    for (int at = 2; at + 7 <= argc && process.n_modules <= FS_MEMBERS_MAX; at += 7) {
        size_t i = process.n_modules++;
        specs[i] = (struct fs_module_spec){
            .name = argv[at], .type = argv[at + 1], .args = argv[at + 2], .owner = strtoull(argv[1], NULL, 10), .cpu = atof(argv[at + 3]),
            .mem = (unsigned) atoi(argv[at + 4]), .inputs = inputs[i], .outputs = outputs[i],
        };
        specs[i].n_inputs = parse_paths(argv[at + 5], inputs[i], FS_PATHS_MAX);
        specs[i].n_outputs = parse_paths(argv[at + 6], outputs[i], FS_PORTS_MAX);
        modules[i] = &specs[i];
    }
    return fs_process_start(env, &process, deadline(), error);
}

static int
mend(const struct fs_host_env *env, char **error)
{
    char *ended = NULL;
    int err = fs_host_mend(env, deadline(), &ended, error);
    printf("%s", ended ? ended : "");
    free(ended);
    return err;
}

static int
list(const struct fs_host_env *env)
{
    struct fs_module_info *infos;
    size_t n;
    int err = fs_module_list(env, &infos, &n);
    for (size_t i = 0; !err && i < n; i++) {
        printf("%s\t%s\t%" PRIu64 "\t%d\t%s\t%s\t%s\t%s\n", infos[i].name, infos[i].type, infos[i].owner, (int) infos[i].pid,
               infos[i].running ? "running" : "dead", infos[i].isolation, infos[i].limits, infos[i].process);
    }
    if (!err) {
        fs_module_list_free(infos, n);
    }
    return err;
}

static int
counters(const struct fs_host_env *env, const char *name, char **error)
{
    struct fs_module_counters c;
    int err = fs_module_counters(env, name, &c, deadline(), error);
    printf("in %" PRIu64 " bytes_in %" PRIu64 " out %" PRIu64 " bytes_out %" PRIu64 " dropped %" PRIu64 " ring_drops %" PRIu64
           " rate_drops %" PRIu64 "\n",
           c.in, c.bytes_in, c.out, c.bytes_out, c.dropped, c.ring_drops, c.rate_drops);
    return err;
}

static int
statistics(const struct fs_host_env *env, char **error)
{
    struct fs_mux_stats s;
    int err = fs_mux_statistics(env, &s, deadline(), error);
    printf("rx_packets %" PRIu64 " rx_bytes %" PRIu64 " tx_packets %" PRIu64 " tx_bytes %" PRIu64 " local_packets %" PRIu64
           " unknown_spi %" PRIu64 " malformed %" PRIu64 " tx_errors %" PRIu64 " ring_drops %" PRIu64 " ring_faults %" PRIu64
           " kernel_drops %" PRIu64 " modules %" PRIu64 " rate_drops %" PRIu64 "\n",
           s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes, s.local_packets, s.unknown_spi, s.malformed, s.tx_errors,
           s.ring_drops, s.ring_faults, s.kernel_drops, s.modules, s.rate_drops);
    return err;
}

static int
control(const struct fs_host_env *env, const char *name, const char *command, char **error)
{
    char *reply;
    int err = fs_module_control(env, name, command, &reply, deadline(), error);
    if (!err) {
        printf("%s\n", reply);
        free(reply);
    }
    return err;
}

static int
types(const struct fs_host_env *env, char **error)
{
    char **names;
    int err = fs_type_list(env->types, &names);
    for (size_t i = 0; !err && names[i]; i++) {
        struct fs_type t;
        err = fs_type_load(env->types, names[i], &t, error);
        if (!err) {
            printf("%s: %s\n", t.type->name, t.type->description);
            fs_type_unload(&t);
        }
    }
    fs_type_list_free(err ? NULL : names);
    return err;
}

/* check TYPE ARGS N_OUTPUTS: what a checker does before anything is started. */
static int
check(const struct fs_host_env *env, char *argv[], char **error)
{
    struct fs_type t;
    int err = fs_type_load(env->types, argv[0], &t, error);
    if (!err) {
        void *state = t.type->configure(argv[1], (uint32_t) atoi(argv[2]), error);
        err = state ? 0 : 22;
        t.type->destroy(state);
        fs_type_unload(&t);
    }
    return err;
}

int
main(int argc, char *argv[])
{
    if (argc < 8) {
        return 2;
    }
    struct fs_host_env env = { .dir = argv[1], .programs = argv[2], .types = argv[3],
                               .netns = strcmp(argv[4], "-") ? argv[4] : NULL, .trunk = argv[5], .host_id = argv[6] };
    const char *verb = argv[7];
    char *error = NULL;
    int err = 2;
    argv += 8;
    argc -= 8;
    if (!strcmp(verb, "mux-start")) {
        err = fs_mux_start(&env, deadline(), &error);
    } else if (!strcmp(verb, "mux-stop")) {
        err = fs_mux_stop(&env, deadline(), &error);
    } else if (!strcmp(verb, "statistics")) {
        err = statistics(&env, &error);
    } else if (!strcmp(verb, "start")) {
        err = start(&env, argc, argv, &error);
    } else if (!strcmp(verb, "start-process") && argc >= 2) {
        err = start_process(&env, argc, argv, &error);
    } else if (!strcmp(verb, "mend")) {
        err = mend(&env, &error);
    } else if (!strcmp(verb, "stop") && argc == 1) {
        err = fs_module_stop(&env, argv[0], deadline(), &error);
    } else if (!strcmp(verb, "list")) {
        err = list(&env);
    } else if (!strcmp(verb, "counters") && argc == 1) {
        err = counters(&env, argv[0], &error);
    } else if (!strcmp(verb, "control") && argc == 2) {
        err = control(&env, argv[0], argv[1], &error);
    } else if (!strcmp(verb, "types")) {
        err = types(&env, &error);
    } else if (!strcmp(verb, "check") && argc == 3) {
        err = check(&env, argv, &error);
    }
    if (err) {
        fprintf(stderr, "%s\n", error ? error : strerror(err));
    }
    free(error);
    return err ? 1 : 0;
}
