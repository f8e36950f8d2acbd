/* The module host's table of processes against one that is made anew by going through all: digests, what has changed since when, and what is forgotten.  Prints TAP. */
#include "config.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemons/modulehost/inventory.h"

enum { NAMES = 40, OWNERS = 12, STEPS = 4000, LOOK_BACK = 50, MANY = 3000 };

static int n_tests, n_failed;

static void
ok(bool good, const char *name)
{
    printf("%sok %d - %s\n", good ? "" : "not ", ++n_tests, name);
    n_failed += !good;
}

struct seen {
    uint64_t digest[OWNERS];
    size_t processes[OWNERS];
    bool told[OWNERS];
};

static void
see(void *aux, uint64_t id, uint64_t digest, size_t processes)
{
    struct seen *s = aux;
    s->told[id] = true;
    s->digest[id] = digest;
    s->processes[id] = processes;
}

static struct seen
all_of(struct inventory *v)
{
    struct seen s = { 0 };
    inventory_changes(v, UINT64_MAX, see, &s);
    return s;
}

static void
count(void *aux, uint64_t id, uint64_t digest, size_t processes)
{
    (void) id;
    (void) digest;
    *(size_t *) aux += processes > 0;
}

/* The same processes in a new table have the same digests, in whatever order they came. */
static bool
is_as_new(struct inventory *v)
{
    struct inventory *fresh = inventory_new();
    size_t n;
    struct process **all = inventory_all(v, &n);
    bool changed, same = true;
    for (size_t i = n; i-- > 0;) {
        inventory_put(fresh, all[i]->name, &all[i]->look, &changed);
        same = same && changed;
    }
    struct seen a = all_of(v), b = all_of(fresh);
    for (size_t id = 1; id < OWNERS; id++) {
        same = same && a.processes[id] == b.processes[id] && a.digest[id] == b.digest[id];
    }
    inventory_free(fresh);
    return same;
}

/* What is told since a generation, put over what was told then, is what is told now. */
static bool
catches_up(struct inventory *v, const struct seen *then, uint64_t generation)
{
    struct seen now = all_of(v), later = *then;
    bool known = inventory_changes(v, generation, see, &later);
    for (size_t id = 1; id < OWNERS && known; id++) {
        known = later.processes[id] == now.processes[id] && (!now.processes[id] || later.digest[id] == now.digest[id]);
    }
    return known;
}

static void
test_steps(void)
{
    struct inventory *v = inventory_new();
    struct seen then[LOOK_BACK] = { 0 };
    uint64_t generations[LOOK_BACK] = { 0 };
    bool as_new = true, follows = true, quiet = true;
    srand(4711);
    for (int step = 0; step < STEPS; step++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", rand() % NAMES);
        struct process *p = inventory_find(v, name);
        uint64_t before = inventory_generation(v);
        if (p && rand() % 3 == 0) {
            inventory_drop(v, p);
        } else {
            /* Owner 0 is one that is being made. */
            struct fs_process_look look = { .owner = (uint64_t) (rand() % OWNERS), .made_as = (uint64_t) (rand() % 2), .pid = rand() % 2 * 77, .pidfd = -1 };
            bool changed, grew;
            p = inventory_put(v, name, &look, &changed);
            grew = inventory_generation(v) > before;
            quiet = quiet && (changed || !grew) && (grew || !changed || !look.owner) && !strcmp(p->name, name);
        }
        as_new = as_new && (step % 50 || is_as_new(v));
        follows = follows && catches_up(v, &then[step % LOOK_BACK], generations[step % LOOK_BACK]);
        then[step % LOOK_BACK] = all_of(v);
        generations[step % LOOK_BACK] = inventory_generation(v);
    }
    ok(as_new, "digests kept over 4,000 changes are those of a table made anew");
    ok(follows, "what was told then and what has changed since is what there is");
    ok(quiet, "what is as it was changes no generation, what is not does");
    inventory_free(v);
}

static void
test_forgotten(void)
{
    struct inventory *v = inventory_new();
    struct fs_process_look look = { .owner = 1, .made_as = 1, .pid = 2, .pidfd = -1 };
    bool changed;
    inventory_put(v, "stays", &look, &changed);
    uint64_t early = inventory_generation(v);
    for (uint64_t i = 2; i < MANY; i++) {
        look.owner = i;
        inventory_drop(v, inventory_put(v, "goes", &look, &changed));
    }
    size_t n = 0;
    uint64_t now = inventory_generation(v);
    ok(!inventory_changes(v, early, count, &n) && n == 1, "since before owners that are forgotten: not known, so all that are there are told");
    ok(inventory_changes(v, now - 1, count, &n) && inventory_changes(v, now, count, &n) && n == 1, "since a moment ago: known, and none that is there has changed");
    n = 0;
    ok(!inventory_changes(v, now + 1, count, &n) && n == 1, "since a generation that is yet to come, as of another table: not known");
    const struct process *p = inventory_of(v, 1);
    ok(p && !strcmp(p->name, "stays") && !p->next_of_owner && !inventory_of(v, 2), "processes are found by their owner");
    inventory_free(v);
}

int
main(void)
{
    test_steps();
    test_forgotten();
    printf("1..%d\n", n_tests);
    return n_failed > 0;
}
