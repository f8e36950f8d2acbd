/* The counters of all modules of a host, for its daemon: asked of the multiplexer in a few messages, however many modules there are, and not of one after the other.
 *
 * The multiplexer knows the modules that are connected.  What else has a folder (a module that is dead, or not connected yet) is looked at by itself. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pm/channel.h"
#include "pm/host.h"
#include "pm/spec.h"

enum { PAGES_MAX = 1000 };

struct tallies {
    struct fs_module_tally *list;
    size_t n, room;
};

static void
free_tally(struct fs_module_tally *t)
{
    free(t->name);
    free(t->process);
    free(t->type);
}

void
fs_module_tallies_free(struct fs_module_tally *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free_tally(&list[i]);
    }
    free(list);
}

static int
append(struct tallies *all, struct fs_module_tally tally)
{
    if (all->n == all->room) {
        size_t room = all->room * 2 + 64;
        struct fs_module_tally *list = realloc(all->list, room * sizeof *list);
        if (!list) {
            free_tally(&tally);
            return ENOMEM;
        }
        all->list = list;
        all->room = room;
    }
    all->list[all->n++] = tally;
    return tally.name && tally.process && tally.type ? 0 : ENOMEM;
}

/* A line of the multiplexer's answer to "tallies". */
static int
parse_line(const char *line, struct tallies *all)
{
    struct fs_module_tally t = { .connected = true };
    struct fs_module_counters *c = &t.counters;
    int running;
    if (sscanf(line, "%ms %ms %ms %" SCNu64 " %d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &t.name, &t.process, &t.type,
               &t.owner, &running, &c->in, &c->bytes_in, &c->out, &c->bytes_out, &c->dropped, &c->ring_drops, &c->rate_drops) != 12) {
        free_tally(&t);
        return EPROTO;
    }
    t.running = running;
    return append(all, t);
}

/* Page by page: the answer begins with the number of all modules. */
static int
ask(const struct fs_host_env *env, int64_t end, struct tallies *all, char **error)
{
    uint64_t offset = 0, total = 1;
    int err = 0;
    for (int page = 0; page < PAGES_MAX && offset < total && !err; page++) {
        char request[48], *reply, *rest = NULL;
        snprintf(request, sizeof request, "tallies %" PRIu64, offset);
        err = hostmux_ask(env, request, NULL, 0, &reply, end, error);
        char *line = err ? NULL : strtok_r(reply, "\n", &rest);
        total = line ? strtoull(line, NULL, 10) : 0;
        uint64_t before = offset;
        while (!err && (line = strtok_r(NULL, "\n", &rest)) != NULL) {
            err = parse_line(line, all);
            offset++;
        }
        if (err == EPROTO) {
            pm_fail(error, err, "the multiplexer of host %s: its answer makes no sense", env->host_id);
        }
        free(reply);
        if (offset == before) {
            break; /* modules went away meanwhile */
        }
    }
    return err;
}

static int
by_name(const void *a, const void *b)
{
    const struct fs_module_tally *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Modules that came or went between two pages may be there twice. */
static void
sort(struct tallies *all)
{
    size_t n = 0;
    if (all->n) {
        qsort(all->list, all->n, sizeof *all->list, by_name);
    }
    for (size_t i = 0; i < all->n; i++) {
        if (n && !strcmp(all->list[n - 1].name, all->list[i].name)) {
            free_tally(&all->list[i]);
        } else {
            all->list[n++] = all->list[i];
        }
    }
    all->n = n;
}

static int
by_process(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The names of the processes that the multiplexer knows, sorted; some more than once.  They belong to 'all'. */
static const char **
known_processes(const struct tallies *all)
{
    const char **names = calloc(all->n + 1, sizeof *names);
    for (size_t i = 0; names && i < all->n; i++) {
        names[i] = all->list[i].process;
    }
    if (names && all->n) {
        qsort(names, all->n, sizeof *names, by_process);
    }
    return names;
}

static int
add_process(const struct fs_host_env *env, const char *name, struct tallies *all)
{
    struct host_list found = { NULL, 0 };
    int err = host_list_process(env, name, &found);
    for (size_t i = 0; i < found.n && !err; i++) {
        struct fs_module_info *m = &found.modules[i];
        err = append(all, (struct fs_module_tally){ .name = m->name, .process = m->process, .type = m->type, .owner = m->owner, .running = m->running });
        m->name = m->process = m->type = NULL;
    }
    fs_module_list_free(found.modules, found.n);
    return err;
}

/* Add the modules of processes that have a folder and that the multiplexer does not know. */
static int
add_others(const struct fs_host_env *env, struct tallies *all)
{
    char *path = host_path(env, "modules", NULL);
    const char **known = known_processes(all);
    DIR *dir = path && known ? opendir(path) : NULL;
    int err = !path || !known ? ENOMEM : !dir && errno != ENOENT ? errno : 0;
    size_t n = all->n;
    for (struct dirent *e; dir && !err && (e = readdir(dir)) != NULL;) {
        const char *name = e->d_name;
        if (host_is_process(dir, e) && !(n && bsearch(&name, known, n, sizeof *known, by_process))) {
            err = add_process(env, name, all);
        }
    }
    if (dir) {
        closedir(dir);
    }
    free(known);
    free(path);
    return err;
}

int
fs_module_tallies(const struct fs_host_env *env, struct fs_module_tally **list, size_t *n, int deadline_ms, char **problem)
{
    struct tallies all = { 0 };
    *list = NULL;
    *n = 0;
    *problem = NULL;
    if (ask(env, pm_now() + deadline_ms, &all, problem)) {
        fs_module_tallies_free(all.list, all.n); /* half of them would be worse than none */
        all = (struct tallies){ 0 };
    }
    sort(&all);
    int err = add_others(env, &all);
    if (err) {
        fs_module_tallies_free(all.list, all.n);
        return err;
    }
    if (all.n) {
        qsort(all.list, all.n, sizeof *all.list, by_name);
    }
    *list = all.list;
    *n = all.n;
    return 0;
}
