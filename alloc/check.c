/* The judge of solutions: adds everything up from the definitions of section 3.2.2 of D3.2.
 *
 * A search keeps its own account, and changes it with each move.  This file does not look at that account, so an error
 * in the one shows as a difference from the other. */
#include <config.h>

#include "alloc/solution.h"

#include <stdlib.h>

#include "alloc/memory.h"

struct sums {
    fs_amount *cpu, *mem, *inside; /* by server */
    int *modules;
    fs_amount *used;               /* by arc */
};

static void
add_nodes(const struct fs_solution *s, struct sums *sums, struct fs_report *report)
{
    for (int n = 0; n < s->services->n_nodes; n++) {
        const struct fs_service_node *node = &s->services->nodes[n];
        if (s->at[n] < 0) {
            report->unplaced++;
        } else if (node->kind == FS_SERVICE_PM) {
            int server = s->platform->nodes[s->at[n]].server;
            sums->cpu[server] += node->cpu;
            sums->mem[server] += node->mem;
            sums->modules[server]++;
        }
    }
}

static void
add_links(const struct fs_solution *s, struct sums *sums, struct fs_report *report)
{
    for (int l = 0; l < s->services->n_links; l++) {
        const struct fs_service_link *link = &s->services->links[l];
        int from = s->at[link->from], to = s->at[link->to];
        if (from < 0 || to < 0) {
            continue;
        }
        int server = s->platform->nodes[from].server;
        if (from == to) {
            if (server >= 0) {
                sums->inside[server] += link->bandwidth;
            }
        } else if (!s->route[l]) {
            report->unrouted++;
        } else {
            for (int i = 0; i < s->route[l]->n; i++) {
                sums->used[s->route[l]->arcs[i]] += link->bandwidth;
            }
        }
    }
}

/* The longest way through SERVICE: what is known of each node is improved until nothing changes, at most once for each link of the way. */
static fs_amount
longest_way(const struct fs_solution *s, const struct fs_service *service, fs_amount *until)
{
    fs_amount longest = 0;
    bool changed = true;

    for (int n = 0; n < service->n_nodes; n++) {
        until[n] = 0;
    }
    while (changed) {
        changed = false;
        for (int l = service->first_link; l < service->first_link + service->n_links; l++) {
            const struct fs_service_link *link = &s->services->links[l];
            fs_amount delay = until[link->from - service->first_node] + solution_link_delay(s, l);
            if (delay > until[link->to - service->first_node]) {
                until[link->to - service->first_node] = delay;
                changed = true;
            }
            longest = delay > longest ? delay : longest;
        }
    }
    return longest;
}

static void
add_delays(const struct fs_solution *s, struct fs_report *report)
{
    fs_amount *until = alloc_zeroed((size_t) s->services->n_nodes, sizeof *until);

    for (int i = 0; i < s->services->n_services; i++) {
        const struct fs_service *service = &s->services->services[i];
        fs_amount slowest = 0;
        for (int t = service->first_path; t < service->first_path + service->n_paths; t++) {
            fs_amount delay = solution_path_delay(s, t);
            slowest = delay > slowest ? delay : slowest;
        }
        report->service_delay += longest_way(s, service, until);
        report->typical_delay += slowest;
    }
    for (int l = 0; l < s->services->n_links; l++) {
        report->approximate_delay += solution_link_delay(s, l);
    }
    free(until);
}

static fs_amount
over(fs_amount used, fs_amount limit)
{
    return used > limit ? used - limit : 0;
}

static void
compare(const struct fs_solution *s, const struct sums *sums, struct fs_report *report)
{
    const struct fs_platform *p = s->platform;

    for (int i = 0; i < p->n_servers; i++) {
        report->cpu += over(sums->cpu[i], p->servers[i].cpu);
        report->mem += over(sums->mem[i], p->servers[i].mem);
        report->bandwidth += over(sums->inside[i], p->servers[i].bandwidth);
        report->servers_used += sums->modules[i] > 0;
    }
    for (int a = 0; a < p->n_arcs; a++) {
        report->bandwidth += over(sums->used[a], p->arcs[a].bandwidth);
        double use = p->arcs[a].bandwidth ? (double) sums->used[a] / (double) p->arcs[a].bandwidth : 0;
        report->max_link_use = use > report->max_link_use ? use : report->max_link_use;
        report->average_link_use += use / p->n_arcs;
    }
    for (int i = 0; i < s->services->n_paths; i++) {
        fs_amount late = over(solution_path_delay(s, i), s->services->paths[i].bound);
        report->delay += late;
        report->late_paths += late > 0;
    }
}

void
fs_solution_check(const struct fs_solution *s, struct fs_report *report)
{
    const struct fs_platform *p = s->platform;
    size_t servers = (size_t) p->n_servers;
    struct sums sums = {
        .cpu = alloc_zeroed(servers, sizeof *sums.cpu),
        .mem = alloc_zeroed(servers, sizeof *sums.mem),
        .inside = alloc_zeroed(servers, sizeof *sums.inside),
        .modules = alloc_zeroed(servers, sizeof *sums.modules),
        .used = alloc_zeroed((size_t) p->n_arcs, sizeof *sums.used),
    };

    *report = (struct fs_report) { 0 };
    add_nodes(s, &sums, report);
    add_links(s, &sums, report);
    compare(s, &sums, report);
    add_delays(s, report);
    report->feasible = !report->cpu && !report->mem && !report->bandwidth && !report->delay && !report->unrouted
                       && !report->unplaced;
    free(sums.cpu);
    free(sums.mem);
    free(sums.inside);
    free(sums.modules);
    free(sums.used);
}
