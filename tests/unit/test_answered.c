/* Deletions that may be said again: what is known of them after a restart, when their write fails, when they are too many or too old, and when several come at the same time.  The
 * allocations are this program's; the store is a real one.  Prints TAP. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"
#include "daemons/resource/answered.h"
#include "daemons/resource/state.h"

enum { WRITERS = 8, PAUSE_US = 50000, OLD = 12 };

static int n_tests, n_failed;
static struct resource r;
static struct allocation allocation; /* the only one that is still there */
static bool disk_is_full;
static unsigned n_writes;

static bool
ok(bool good, const char *name)
{
    printf("%sok %d - %s\n", good ? "" : "not ", ++n_tests, name);
    n_failed += !good;
    return good;
}

/* --- What life.c and index.c do --- */

struct allocation *
resource_find(struct resource *x, int id)
{
    (void) x;
    return id == allocation.id ? &allocation : NULL;
}

void
resource_written(struct resource *x)
{
    pthread_cond_broadcast(&x->written);
}

int
resource_change(struct resource *x, int id, const xmlrpc_value *members, const struct fs_block_record *others, size_t n, char **error)
{
    n_writes++;
    struct fs_store_promise *promise = fs_store_post(x->store, others, n);
    pthread_mutex_unlock(&x->lock);
    usleep(PAUSE_US); /* the others come meanwhile */
    int e = fs_store_await(promise, error);
    if (!e && disk_is_full) {
        e = EIO;
        *error = fs_xstrdup("the disk is full");
    }
    pthread_mutex_lock(&x->lock);
    if (!e && id == allocation.id) {
        allocation.state = strcmp(fs_get_string(members, "state", ""), "deleting") ? "wrong" : "deleting";
    }
    return e;
}

/* --- The daemon's life --- */

static void
begin(const char *path)
{
    char *error = NULL;
    r = (struct resource) { 0 };
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.written, NULL);
    if (fs_store_open(path, &r.store, &error) || fs_store_read(r.store, "answered", resource_load_answered, &r, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
}

static void
end(void)
{
    resource_answered_free(&r);
    fs_store_close(r.store);
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.written);
}

static size_t
records(void)
{
    struct fs_store_figures f;
    fs_store_figures(r.store, &f);
    return f.records;
}

static int
mark(int id, const char *key, const char *what)
{
    char *error = NULL;
    int e = resource_mark_deleted(&r, id, key, what, &error);
    free(error);
    return e;
}

static enum resource_said
ask(const char *key, const char *what)
{
    int id;
    char *error = NULL;
    enum resource_said said = resource_was_deleted(&r, key, what, &id, &error);
    free(error);
    return said;
}

/* Records as an earlier daemon has left them: keys k0, k1 ... , the first 'age' seconds old, each next one 'step' younger. */
static void
leave_behind(size_t n, double age, double step)
{
    struct fs_record *all = fs_xcalloc(n, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *doc = fs_set(fs_set(fs_struct(), "what", fs_string("w")), "allocation", fs_int((int) i + 1));
        fs_set(doc, "time", fs_double((double) time(NULL) - age + step * (double) i));
        all[i] = (struct fs_record) { "answered", fs_xasprintf("k%zu", i), doc };
    }
    char *error = NULL;
    if (fs_store_write(r.store, all, n, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        free((void *) (uintptr_t) all[i].name);
        fs_free((xmlrpc_value *) (uintptr_t) all[i].value);
    }
    free(all);
}

/* --- Tests --- */

static void
test_said(const char *path)
{
    allocation = (struct allocation) { .id = 7, .state = "installed" };
    ok(ask("k", "w") == RESOURCE_NOT_SAID && ask("", "w") == RESOURCE_NOT_SAID, "at first nothing was said");
    ok(!mark(7, "k", "w") && !strcmp(allocation.state, "deleting"), "an allocation is marked as deleted");
    ok(ask("k", "w") == RESOURCE_BEING_DONE, "as long as it is there its deletion is under way");
    ok(ask("k", "other") == RESOURCE_SAID_OTHERWISE && ask("q", "w") == RESOURCE_NOT_SAID, "the key is not for anything else, and another one not known");
    ok(!mark(7, "k", "w") && n_writes == 1, "marked again: nothing to write");
    ok(mark(8, "k", "w") == EEXIST && mark(7, "k", "other") == EEXIST && n_writes == 1, "the key is neither for another allocation nor for another call");
    allocation = (struct allocation) { .id = 7, .state = "restoring" };
    ok(ask("k", "w") == RESOURCE_DONE, "one that a backup wants again is not deleted again");
    allocation.id = 0;
    ok(ask("k", "w") == RESOURCE_DONE, "and one that is gone is");
    end();
    begin(path);
    ok(ask("k", "w") == RESOURCE_DONE && ask("k", "other") == RESOURCE_SAID_OTHERWISE, "the same after a restart");
}

static void
test_full_disk(void)
{
    disk_is_full = true;
    ok(mark(9, "full", "w") == EIO && ask("full", "w") == RESOURCE_NOT_SAID, "what could not be written was not said");
    disk_is_full = false;
    ok(!mark(9, "full", "w") && ask("full", "w") == RESOURCE_DONE, "and can be said later");
}

static void
test_many(const char *path)
{
    size_t before = records();
    leave_behind(RESOURCE_ANSWERED_MOST - before, 5000, 1);
    end();
    begin(path);
    ok(ask("k0", "w") == RESOURCE_DONE && records() == RESOURCE_ANSWERED_MOST, "as many as are kept");
    ok(!mark(10, "one more", "w") && ask("one more", "w") == RESOURCE_DONE, "one more is kept");
    ok(ask("k0", "w") == RESOURCE_NOT_SAID && ask("k1", "w") == RESOURCE_DONE, "the oldest goes for it, and no other");
    ok(records() == RESOURCE_ANSWERED_MOST, "in the store as well");
}

static void
test_old(const char *path)
{
    leave_behind(OLD, RESOURCE_ANSWERED_SECONDS + OLD, 1); /* the last is a second more than a day old */
    end();
    begin(path);
    ok(ask("k11", "w") == RESOURCE_NOT_SAID && ask("k12", "w") == RESOURCE_DONE, "those of more than a day ago are not known any more");
    size_t before = records();
    ok(!mark(11, "k11", "again") && ask("k11", "again") == RESOURCE_DONE && records() < before, "they make place, and their keys can be used again");
    ok(!mark(12, "next", "w") && records() == before - OLD + 2, "all of them, some at a time");
    end();
    begin(path);
    ok(ask("k11", "again") == RESOURCE_DONE && ask("k10", "w") == RESOURCE_NOT_SAID, "also for the next start");
    leave_behind(1, -1e6, 0);
    end();
    begin(path);
    ok(ask("k0", "w") == RESOURCE_DONE, "one from the future, as the clock was set back, is new");
}

static void *
mark_one(void *aux)
{
    int id = *(int *) aux;
    *(int *) aux = mark(id, "at once", "w");
    return NULL;
}

/* How many of the marks of these allocations at the same time, with one key, were made. */
static int
marks(int ids[WRITERS])
{
    pthread_t threads[WRITERS];
    int n = 0;
    for (int i = 0; i < WRITERS; i++) {
        pthread_create(&threads[i], NULL, mark_one, &ids[i]);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        n += !ids[i];
    }
    return n;
}

static void *
ask_one(void *aux)
{
    usleep(PAUSE_US / 5);
    *(enum resource_said *) aux = ask("slow", "w");
    return NULL;
}

static void
test_at_once(void)
{
    int others[WRITERS], same[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        others[i] = 20 + i;
        same[i] = 40;
    }
    ok(marks(others) == 1, "of several deletions with one key one is made");
    n_writes = 0;
    pthread_mutex_lock(&r.lock);
    resource_answered_free(&r);
    pthread_mutex_unlock(&r.lock);
    ok(marks(same) == WRITERS && n_writes == 1, "the same deletion several times is written once");
    pthread_t thread;
    enum resource_said said = RESOURCE_SAID_OTHERWISE;
    pthread_create(&thread, NULL, ask_one, &said);
    disk_is_full = true;
    mark(41, "slow", "w");
    disk_is_full = false;
    pthread_join(thread, NULL);
    ok(said == RESOURCE_NOT_SAID, "who asks while it is on its way waits, and hears what became of it");
}

int
main(void)
{
    char folder[] = "/dev/shm/flowstream-answered-XXXXXX";
    char *path = mkdtemp(folder) ? fs_xasprintf("%s/store.db", folder) : NULL;
    if (!path) {
        printf("ok 1 - all # SKIP /dev/shm cannot be written\n1..1\n");
        return 0;
    }
    begin(path);
    test_said(path);
    test_full_disk();
    test_many(path);
    test_old(path);
    test_at_once();
    end();
    char *away = fs_xasprintf("rm -rf %s", folder);
    if (system(away)) {
        printf("# %s is left\n", folder);
    }
    free(away);
    free(path);
    printf("1..%d\n", n_tests);
    return n_failed != 0;
}
