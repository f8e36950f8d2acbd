/* Solutions: where everything is, and the file that says so. */
#include <config.h>

#include "alloc/solution.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/memory.h"

struct fs_solution *
fs_solution_create(const struct fs_platform *platform, const struct fs_services *services)
{
    struct fs_solution *s = alloc_zeroed(1, sizeof *s);

    s->platform = platform;
    s->services = services;
    s->at = alloc_filled((size_t) services->n_nodes, -1);
    s->route = alloc_zeroed((size_t) services->n_links, sizeof(struct route *));
    return s;
}

void
fs_solution_destroy(struct fs_solution *s)
{
    if (!s) {
        return;
    }
    for (int l = 0; l < s->services->n_links; l++) {
        route_unref(s->route[l]);
    }
    free(s->at);
    free(s->route);
    free(s);
}

int
fs_solution_place(const struct fs_solution *s, int node)
{
    return s->at[node];
}

const int *
fs_solution_route(const struct fs_solution *s, int link, int *n)
{
    const struct route *route = s->route[link];

    *n = route ? route->n : 0;
    return route ? route->arcs : NULL;
}

int
fs_solution_set_place(struct fs_solution *s, int node, int where, char **error)
{
    const struct fs_service_node *g = &s->services->nodes[node];
    const struct fs_node *f = where >= 0 && where < s->platform->n_nodes ? &s->platform->nodes[where] : NULL;

    if (!f || f->kind != (g->kind == FS_SERVICE_PM ? FS_NODE_SERVER : FS_NODE_IO)) {
        *error = alloc_format("service \"%s\": \"%s\" cannot be on \"%s\"", s->services->services[g->service].id, g->id,
                              f ? f->id : "?");
        return EINVAL;
    }
    s->at[node] = where;
    return 0;
}

int
fs_solution_set_route(struct fs_solution *s, int link, const int *arcs, int n, char **error)
{
    const struct fs_platform *p = s->platform;
    const struct fs_service_link *l = &s->services->links[link];
    int at = s->at[l->from];

    for (int i = 0; i < n; i++) {
        bool through = i == 0 || p->nodes[at].kind == FS_NODE_SWITCH;
        at = at >= 0 && through && arcs[i] >= 0 && arcs[i] < p->n_arcs && p->arcs[arcs[i]].from == at
             ? p->arcs[arcs[i]].to : -1;
        if (at < 0) {
            break;
        }
    }
    if (at < 0 || at != s->at[l->to]) {
        *error = alloc_format("service \"%s\": the route does not lead from \"%s\" to \"%s\"",
                              s->services->services[l->service].id, s->services->nodes[l->from].id,
                              s->services->nodes[l->to].id);
        return EINVAL;
    }
    route_unref(s->route[link]);
    s->route[link] = n ? route_create(p, arcs, n) : NULL;
    return 0;
}

fs_amount
solution_link_delay(const struct fs_solution *s, int link)
{
    const struct fs_service_link *l = &s->services->links[link];
    int from = s->at[l->from], to = s->at[l->to];

    if (from >= 0 && from == to) {
        int server = s->platform->nodes[from].server;
        return server < 0 ? 0 : s->platform->servers[server].delay;
    }
    return s->route[link] ? s->route[link]->delay : 0;
}

fs_amount
solution_path_delay(const struct fs_solution *s, int path)
{
    const struct fs_service_path *p = &s->services->paths[path];
    fs_amount delay = 0;

    for (int i = 0; i < p->n_links; i++) {
        delay += solution_link_delay(s, s->services->path_links[p->first_link + i]);
    }
    return delay;
}

fs_amount
solution_lateness(const struct fs_solution *s, int service)
{
    const struct fs_service *v = &s->services->services[service];
    fs_amount lateness = 0;

    for (int i = v->first_path; i < v->first_path + v->n_paths; i++) {
        fs_amount over = solution_path_delay(s, i) - s->services->paths[i].bound;
        lateness += over > 0 ? over : 0;
    }
    return lateness;
}

/* ---- The file. ---- */

/* Writes TEXT as the value of an attribute. */
static void
write_value(FILE *file, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", file); break;
        case '<': fputs("&lt;", file); break;
        case '"': fputs("&quot;", file); break;
        case '\n': case '\t': case '\r': fprintf(file, "&#%d;", *text); break;
        default: putc(*text, file);
        }
    }
}

static void
write_attribute(FILE *file, const char *name, const char *value)
{
    fprintf(file, " %s=\"", name);
    write_value(file, value);
    putc('"', file);
}

static void
write_places(const struct fs_solution *s, FILE *file)
{
    for (int n = 0; n < s->services->n_nodes; n++) {
        const struct fs_service_node *node = &s->services->nodes[n];
        if (node->kind == FS_SERVICE_SOURCE || s->at[n] < 0) {
            continue;
        }
        bool pm = node->kind == FS_SERVICE_PM;
        fputs("  <place", file);
        write_attribute(file, "service", s->services->services[node->service].id);
        write_attribute(file, pm ? "pm" : "sink", node->id);
        write_attribute(file, pm ? "server" : "io", s->platform->nodes[s->at[n]].id);
        fputs("/>\n", file);
    }
}

static void
write_route(const struct fs_solution *s, int link, bool own, FILE *file)
{
    const struct fs_platform *p = s->platform;
    const struct fs_service_link *l = &s->services->links[link];
    const struct route *route = s->route[link];

    fputs("  <route", file);
    if (own) {
        write_attribute(file, "service", s->services->services[l->service].id);
        write_attribute(file, "from", s->services->nodes[l->from].id);
        write_attribute(file, "to", s->services->nodes[l->to].id);
    }
    fputs(" via=\"", file);
    write_value(file, p->nodes[p->arcs[route->arcs[0]].from].id);
    for (int i = 0; i < route->n; i++) {
        putc(' ', file);
        write_value(file, p->nodes[p->arcs[route->arcs[i]].to].id);
    }
    fputs("\"/>\n", file);
}

/* Links in the order of the pairs of nodes that they join, so that links with the same ends follow one another. */
static int
compare_ends(const void *a_, const void *b_, void *solution)
{
    const struct fs_solution *s = solution;
    const struct fs_service_link *a = &s->services->links[*(const int *) a_], *b = &s->services->links[*(const int *) b_];
    int from = s->at[a->from] - s->at[b->from], to = s->at[a->to] - s->at[b->to];

    return from ? from : to ? to : *(const int *) a_ - *(const int *) b_;
}

static void
write_routes(const struct fs_solution *s, bool per_link, FILE *file)
{
    int n_links = s->services->n_links, before = -1;
    int *order = alloc_zeroed((size_t) n_links, sizeof *order);

    for (int l = 0; l < n_links; l++) {
        order[l] = l;
    }
    if (!per_link) {
        qsort_r(order, (size_t) n_links, sizeof *order, compare_ends, (void *) s);
    }
    for (int i = 0; i < n_links; i++) {
        int l = order[i];
        if (!s->route[l]) {
            continue;
        }
        const struct fs_service_link *a = &s->services->links[l];
        const struct fs_service_link *b = before < 0 ? NULL : &s->services->links[before];
        if (per_link || !b || s->at[a->from] != s->at[b->from] || s->at[a->to] != s->at[b->to]) {
            write_route(s, l, per_link, file);
        }
        before = l;
    }
    free(order);
}

/* Writes everything to FD, which is closed in any case.  Returns 0 or an errno. */
static int
write_all(const struct fs_solution *s, bool per_link, int fd)
{
    FILE *file = fdopen(fd, "w");

    if (!file) {
        int failure = errno;
        close(fd);
        return failure;
    }
    fputs("<solution>\n", file);
    write_places(s, file);
    write_routes(s, per_link, file);
    fputs("</solution>\n", file);
    errno = 0;
    if (fflush(file) || ferror(file) || fsync(fileno(file))) {
        int failure = errno ? errno : EIO;
        fclose(file);
        return failure;
    }
    return fclose(file) ? errno : 0;
}

int
fs_solution_write(const struct fs_solution *s, bool per_link, const char *path, char **error)
{
    char *new = alloc_format("%s.%ld.new", path, (long) getpid());
    int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), result = 0;

    *error = NULL;
    if (fd < 0) {
        result = errno;
    } else {
        result = write_all(s, per_link, fd);
        if (!result && rename(new, path)) {
            result = errno;
        }
        if (result) {
            unlink(new);
        }
    }
    if (result) {
        *error = alloc_format("%s: cannot be written: %s", path, strerror(result));
    }
    free(new);
    return result;
}
