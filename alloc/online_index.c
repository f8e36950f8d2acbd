/* The indexes of a live state: which server has room, and which rack has most.
 *
 * Both are trees in arrays.  A node of the first knows the most cores and the most memory that any server below has free, so the next server
 * with room is found by going down where both suffice.  A node of the second knows the largest key below it.  The key of a rack is the sum of
 * squares of what its servers have free: of two racks with as much room the one that has it on fewer servers comes first, because large modules
 * need that.  An update changes one way to the root: what it costs does not depend on the services. */
#include <config.h>

#include "alloc/online.h"

#include <stdlib.h>

#include "alloc/memory.h"

#define ROOM_MAX (1 << 20) /* so that the squares of a million servers can be added up */

static int
power_of_two(int n)
{
    int p = 1;

    while (p < n) {
        p *= 2;
    }
    return p;
}

int64_t
online_room(const struct fs_online *o, fs_amount cpu, fs_amount mem)
{
    int64_t a = cpu * 1024 / o->cpu_unit, b = mem * 1024 / o->mem_unit, least = a < b ? a : b;

    return least < 0 ? 0 : least < ROOM_MAX ? least : ROOM_MAX;
}

/* What SERVER offers to modules. */
static struct online_free
offer(const struct fs_online *o, int server)
{
    if (o->servers[server].state != FS_ONLINE_UP) {
        return (struct online_free) { -1, -1 };
    }
    return (struct online_free) { online_free_cpu(o, server), online_free_mem(o, server) };
}

static int64_t
square(const struct fs_online *o, struct online_free f)
{
    int64_t room = online_room(o, f.cpu, f.mem);

    return room * room;
}

static void
refresh_servers(struct fs_online *o, int node)
{
    for (node /= 2; node; node /= 2) {
        const struct online_free *a = &o->free[2 * node], *b = &o->free[2 * node + 1];
        o->free[node] = (struct online_free) { a->cpu > b->cpu ? a->cpu : b->cpu, a->mem > b->mem ? a->mem : b->mem };
    }
}

static void
refresh_racks(struct fs_online *o, int node)
{
    for (node /= 2; node; node /= 2) {
        int64_t a = o->rack_keys[2 * node], b = o->rack_keys[2 * node + 1];
        o->rack_keys[node] = a > b ? a : b;
    }
}

static fs_amount
positive(fs_amount amount)
{
    return amount > 0 ? amount : 0;
}

/* Enters (SIGN 1) or strikes out what server F offers in the sums of RACK. */
static void
sum_up(struct fs_online *o, int rack, struct online_free f, int sign)
{
    o->rack_free[rack].cpu += sign * positive(f.cpu);
    o->rack_free[rack].mem += sign * positive(f.mem);
    o->rack_keys[o->rack_leaves + rack] += sign * square(o, f);
}

void
online_index_update(struct fs_online *o, int server)
{
    int leaf = o->leaves + o->servers[server].place, rack = o->platform->servers[server].rack;
    struct online_free new = offer(o, server), old = o->free[leaf];

    if (new.cpu == old.cpu && new.mem == old.mem) {
        return;
    }
    sum_up(o, rack, old, -1);
    sum_up(o, rack, new, 1);
    o->free[leaf] = new;
    refresh_servers(o, leaf);
    refresh_racks(o, o->rack_leaves + rack);
}

void
online_index_create(struct fs_online *o)
{
    const struct fs_platform *p = o->platform;

    o->cpu_unit = o->mem_unit = 1;
    for (int s = 0; s < p->n_servers; s++) {
        o->cpu_unit = p->servers[s].cpu > o->cpu_unit ? p->servers[s].cpu : o->cpu_unit;
        o->mem_unit = p->servers[s].mem > o->mem_unit ? p->servers[s].mem : o->mem_unit;
    }
    o->leaves = power_of_two(p->n_servers);
    o->free = alloc_zeroed(2 * (size_t) o->leaves, sizeof *o->free);
    for (int i = 0; i < 2 * o->leaves; i++) {
        o->free[i] = (struct online_free) { -1, -1 };
    }
    o->rack_leaves = power_of_two(p->n_racks);
    o->rack_keys = alloc_zeroed(2 * (size_t) o->rack_leaves, sizeof *o->rack_keys);
    o->rack_free = alloc_zeroed((size_t) p->n_racks, sizeof *o->rack_free);
    for (int i = 0; i < p->n_servers; i++) {
        o->servers[p->rack_servers[i]].place = i;
    }
    for (int s = 0; s < p->n_servers; s++) {
        online_index_update(o, s);
    }
}

void
online_index_destroy(struct fs_online *o)
{
    free(o->free);
    free(o->rack_keys);
    free(o->rack_free);
}

/* The first leaf below NODE, whose leaves are FROM up to FROM + N, that is in FIRST up to END and has room; -1 when there is none. */
static int
descend(const struct fs_online *o, int node, int from, int n, int first, int end, struct online_free ask)
{
    if (from + n <= first || from >= end || o->free[node].cpu < ask.cpu || o->free[node].mem < ask.mem) {
        return -1;
    }
    if (n == 1) {
        return from;
    }
    int found = descend(o, 2 * node, from, n / 2, first, end, ask);
    return found >= 0 ? found : descend(o, 2 * node + 1, from + n / 2, n / 2, first, end, ask);
}

int
online_index_next(const struct fs_online *o, int first, int end, fs_amount cpu, fs_amount mem)
{
    return descend(o, 1, 0, o->leaves, first, end, (struct online_free) { cpu, mem });
}

/* ---- Racks by their keys: a heap of nodes of the tree, each of which stands for all racks below. ---- */

/* Does node A come before node B?  Among equals the one further to the left, so that the order is the same for equal states. */
static bool
before(const struct fs_online *o, int a, int b)
{
    if (o->rack_keys[a] != o->rack_keys[b]) {
        return o->rack_keys[a] > o->rack_keys[b];
    }
    for (; a < o->rack_leaves; a *= 2) { }
    for (; b < o->rack_leaves; b *= 2) { }
    return a < b;
}

static void
add_node(struct online_racks *r, int node)
{
    alloc_grow(&r->nodes, r->n, &r->room);
    int i = r->n++;
    for (; i && before(r->online, node, r->nodes[(i - 1) / 2]); i = (i - 1) / 2) {
        r->nodes[i] = r->nodes[(i - 1) / 2];
    }
    r->nodes[i] = node;
}

static int
first_node(struct online_racks *r)
{
    int top = r->nodes[0], last = r->nodes[--r->n], i = 0;

    for (int child = 1; child < r->n; child = 2 * i + 1) {
        if (child + 1 < r->n && before(r->online, r->nodes[child + 1], r->nodes[child])) {
            child++;
        }
        if (!before(r->online, r->nodes[child], last)) {
            break;
        }
        r->nodes[i] = r->nodes[child];
        i = child;
    }
    r->nodes[i] = last;
    return top;
}

void
online_racks_begin(struct online_racks *r, const struct fs_online *online)
{
    *r = (struct online_racks) { .online = online };
    add_node(r, 1);
}

int
online_racks_next(struct online_racks *r)
{
    const struct fs_online *o = r->online;

    while (r->n) {
        int node = first_node(r);
        if (node >= o->rack_leaves) {
            if (node - o->rack_leaves < o->platform->n_racks) {
                return node - o->rack_leaves;
            }
        } else {
            add_node(r, 2 * node);
            add_node(r, 2 * node + 1);
        }
    }
    return -1;
}

void
online_racks_end(struct online_racks *r)
{
    free(r->nodes);
}
