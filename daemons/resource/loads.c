/* What a plan would change: the load of each host and link before and after it. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/resource/state.h"

struct snapshot {
    struct fs_server_load *servers;
    fs_amount *arcs;
};

static struct snapshot
take(const struct resource *r)
{
    const struct fs_platform *p = r->platform;
    struct snapshot s = { fs_xcalloc((size_t) p->n_servers + 1, sizeof *s.servers), fs_xcalloc((size_t) p->n_arcs + 1, sizeof *s.arcs) };
    for (int i = 0; i < p->n_servers; i++) {
        s.servers[i] = *fs_online_server(r->online, i);
    }
    for (int i = 0; i < p->n_arcs; i++) {
        s.arcs[i] = fs_online_arc(r->online, i);
    }
    return s;
}

static void
drop(struct snapshot *s)
{
    free(s->servers);
    free(s->arcs);
}

static xmlrpc_value *
units(fs_amount a)
{
    return fs_double((double) a / (double) FS_UNIT);
}

static xmlrpc_value *
hosts_value(const struct fs_platform *p, const struct snapshot *before, const struct snapshot *after)
{
    xmlrpc_value *all = fs_array();
    for (int i = 0; i < p->n_servers; i++) {
        const struct fs_server_load *b = &before->servers[i], *a = &after->servers[i];
        xmlrpc_value *v = fs_set(fs_struct(), "host", fs_string(p->nodes[p->servers[i].node].id));
        fs_set(v, "cpu", units(p->servers[i].cpu));
        fs_set(v, "cpu_before", units(b->cpu));
        fs_set(v, "cpu_after", units(a->cpu));
        fs_set(v, "mem", units(p->servers[i].mem));
        fs_set(v, "mem_before", units(b->mem));
        fs_set(v, "mem_after", units(a->mem));
        fs_set(v, "modules_before", fs_int(b->modules));
        fs_append(all, fs_set(v, "modules_after", fs_int(a->modules)));
    }
    return all;
}

static xmlrpc_value *
links_value(const struct fs_platform *p, const struct snapshot *before, const struct snapshot *after)
{
    xmlrpc_value *all = fs_array();
    for (int i = 0; i < p->n_arcs; i++) {
        xmlrpc_value *v = fs_set(fs_struct(), "from", fs_string(p->nodes[p->arcs[i].from].id));
        fs_set(v, "to", fs_string(p->nodes[p->arcs[i].to].id));
        fs_set(v, "bandwidth", units(p->arcs[i].bandwidth));
        fs_set(v, "before", units(before->arcs[i]));
        fs_append(all, fs_set(v, "after", units(after->arcs[i])));
    }
    return all;
}

xmlrpc_value *
resource_loads(struct resource *r, const xmlrpc_value *request, const xmlrpc_value *plan)
{
    struct allocation planned = { 0 };
    xmlrpc_value *both = fs_set(fs_set(fs_struct(), "request", fs_copy(request)), "plan", fs_copy(plan));
    planned.block = fs_pack(both, &planned.size);
    fs_free(both);
    pthread_mutex_lock(&r->lock);
    struct snapshot before = take(r);
    char *why = resource_account(r, &planned);
    struct snapshot after = take(r);
    resource_unaccount(r, &planned);
    xmlrpc_value *v = fs_struct();
    fs_set(v, "hosts", hosts_value(r->platform, &before, &after));
    fs_set(v, "links", links_value(r->platform, &before, &after));
    pthread_mutex_unlock(&r->lock);
    drop(&before);
    drop(&after);
    free(planned.block);
    free(why); /* a plan that was just made fits the platform that it was made for */
    return v;
}
