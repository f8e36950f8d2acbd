/* The table of what runs on this host; see inventory.h. */
#include "config.h"

#include "daemons/modulehost/inventory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util.h"

enum { GONE_MAX = 1024 };

struct owner {
    uint64_t id, digest, generation;
    size_t n;
    struct process *processes;
    struct owner *older, *newer; /* by generation */
};

struct inventory {
    struct process **processes; /* by name */
    size_t n_processes, process_room;
    struct owner **owners; /* by id */
    size_t n_owners, owner_room;
    struct owner *oldest, *newest;
    size_t n_gone;       /* owners that have no process */
    uint64_t generation, forgotten; /* up to here owners that have gone are not known */
};

struct inventory *
inventory_new(void)
{
    return fs_xcalloc(1, sizeof(struct inventory));
}

static void
process_free(struct process *p)
{
    if (p->look.pidfd >= 0) {
        close(p->look.pidfd);
    }
    free(p->name);
    free(p);
}

void
inventory_free(struct inventory *v)
{
    for (size_t i = 0; v && i < v->n_processes; i++) {
        process_free(v->processes[i]);
    }
    for (size_t i = 0; v && i < v->n_owners; i++) {
        free(v->owners[i]);
    }
    if (v) {
        free(v->processes);
        free(v->owners);
        free(v);
    }
}

/* --- Owners --- */

static size_t
owner_position(const struct inventory *v, uint64_t id)
{
    size_t low = 0, high = v->n_owners;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v->owners[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct owner *
find_owner(const struct inventory *v, uint64_t id)
{
    size_t i = owner_position(v, id);
    return i < v->n_owners && v->owners[i]->id == id ? v->owners[i] : NULL;
}

static void
unlink_owner(struct inventory *v, struct owner *o)
{
    *(o->older ? &o->older->newer : &v->oldest) = o->newer;
    *(o->newer ? &o->newer->older : &v->newest) = o->older;
}

static void
link_newest(struct inventory *v, struct owner *o)
{
    o->older = v->newest;
    o->newer = NULL;
    *(v->newest ? &v->newest->newer : &v->oldest) = o;
    v->newest = o;
}

static struct owner *
make_owner(struct inventory *v, uint64_t id)
{
    size_t i = owner_position(v, id);
    if (v->n_owners == v->owner_room) {
        v->owner_room = v->owner_room * 2 + 64;
        v->owners = fs_xrealloc(v->owners, v->owner_room * sizeof *v->owners);
    }
    memmove(v->owners + i + 1, v->owners + i, (v->n_owners++ - i) * sizeof *v->owners);
    struct owner *o = v->owners[i] = fs_xcalloc(1, sizeof *o);
    o->id = id;
    v->n_gone++;
    link_newest(v, o);
    return o;
}

static void
forget_owner(struct inventory *v, struct owner *o)
{
    size_t i = owner_position(v, o->id);
    memmove(v->owners + i, v->owners + i + 1, (--v->n_owners - i) * sizeof *v->owners);
    v->forgotten = o->generation;
    v->n_gone--;
    unlink_owner(v, o);
    free(o);
}

/* The longest gone are forgotten. */
static void
forget_some(struct inventory *v)
{
    for (struct owner *o = v->oldest, *newer; o && v->n_gone > GONE_MAX; o = newer) {
        newer = o->newer;
        if (!o->n) {
            forget_owner(v, o);
        }
    }
}

static uint64_t
mix(uint64_t sum, uint64_t number)
{
    sum = (sum ^ number) * UINT64_C(0xff51afd7ed558ccd);
    return sum ^ sum >> 32;
}

/* Its share of the owner's digest, a sum: the order of processes says nothing. */
static uint64_t
digest_of(const struct process *p)
{
    uint64_t sum = 0;
    for (const char *c = p->name; *c; c++) {
        sum = mix(sum, (unsigned char) *c);
    }
    return mix(mix(sum, p->look.made_as), (uint64_t) p->look.pid);
}

static void
touch(struct inventory *v, struct owner *o)
{
    unlink_owner(v, o);
    link_newest(v, o);
    o->generation = ++v->generation;
}

static void
give_to_owner(struct inventory *v, struct process *p)
{
    struct owner *o = !p->look.owner ? NULL : find_owner(v, p->look.owner);
    o = o || !p->look.owner ? o : make_owner(v, p->look.owner);
    p->owner = o;
    if (o) {
        v->n_gone -= !o->n++;
        o->digest += digest_of(p);
        p->next_of_owner = o->processes;
        o->processes = p;
        touch(v, o);
    }
}

static void
take_from_owner(struct inventory *v, struct process *p)
{
    struct owner *o = p->owner;
    if (o) {
        struct process **at = &o->processes;
        while (*at != p) {
            at = &(*at)->next_of_owner;
        }
        *at = p->next_of_owner;
        o->digest -= digest_of(p);
        v->n_gone += !--o->n;
        touch(v, o);
        p->owner = NULL;
        forget_some(v);
    }
}

/* --- Processes --- */

static size_t
position(const struct inventory *v, const char *name)
{
    size_t low = 0, high = v->n_processes;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(v->processes[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct process **
inventory_all(struct inventory *v, size_t *n)
{
    *n = v->n_processes;
    return v->processes;
}

struct process *
inventory_find(struct inventory *v, const char *name)
{
    size_t i = position(v, name);
    return i < v->n_processes && !strcmp(v->processes[i]->name, name) ? v->processes[i] : NULL;
}

static struct process *
make_process(struct inventory *v, const char *name)
{
    size_t i = position(v, name);
    if (v->n_processes == v->process_room) {
        v->process_room = v->process_room * 2 + 64;
        v->processes = fs_xrealloc(v->processes, v->process_room * sizeof *v->processes);
    }
    memmove(v->processes + i + 1, v->processes + i, (v->n_processes++ - i) * sizeof *v->processes);
    struct process *p = v->processes[i] = fs_xcalloc(1, sizeof *p);
    p->name = fs_xstrdup(name);
    p->look.pidfd = -1;
    return p;
}

struct process *
inventory_put(struct inventory *v, const char *name, const struct fs_process_look *look, bool *changed)
{
    struct process *p = inventory_find(v, name);
    *changed = !p || p->look.owner != look->owner || p->look.pid != look->pid || p->look.made_as != look->made_as;
    if (!*changed) {
        if (look->pidfd >= 0) {
            close(look->pidfd); /* the one that we have is watched already */
        }
        return p;
    }
    p = p ? p : make_process(v, name);
    take_from_owner(v, p);
    if (p->look.pidfd >= 0) {
        close(p->look.pidfd);
    }
    p->look = *look;
    p->since = fs_now_ms();
    give_to_owner(v, p);
    return p;
}

void
inventory_drop(struct inventory *v, struct process *p)
{
    size_t i = position(v, p->name);
    take_from_owner(v, p);
    memmove(v->processes + i, v->processes + i + 1, (--v->n_processes - i) * sizeof *v->processes);
    process_free(p);
}

/* --- Changes --- */

uint64_t
inventory_generation(const struct inventory *v)
{
    return v->generation;
}

bool
inventory_changes(struct inventory *v, uint64_t since, void (*visit)(void *aux, uint64_t id, uint64_t digest, size_t processes), void *aux)
{
    bool known = since >= v->forgotten && since <= v->generation;
    for (const struct owner *o = v->newest; o && (!known || o->generation > since); o = o->older) {
        if (known || o->n) {
            visit(aux, o->id, o->digest, o->n);
        }
    }
    return known;
}

struct process *
inventory_of(struct inventory *v, uint64_t id)
{
    struct owner *o = find_owner(v, id);
    return o ? o->processes : NULL;
}
