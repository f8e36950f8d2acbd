/* The store over SQLite.  One table: kind, name, value as a block of core/pack.h, and a sum.
 *
 * Writers queue up; the first becomes the leader, writes what all have brought in one transaction and has the disk synced once, while the
 * next ones queue up behind.  A writer whose own change cannot be written fails alone.  What a file must be before it is believed is in store_file.c. */
#include "config.h"

#include "core/store_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/pack.h"
#include "core/util.h"
#include <flowstream/failpoint.h>
#include <flowstream/log.h>

FS_LOG_MODULE("store");

enum { MAX_GROUP = 256, CHECKPOINT_PAGES = 1000, BACKUP_PAGES = 256 };

struct change {
    char *kind, *name;
    unsigned char *block; /* NULL: delete */
    size_t size;
};

/* A writer that waits, or will: what it promises. */
struct fs_store_promise {
    struct fs_store *store;
    int e;
    char *error;
    bool done;
    struct fs_store_promise *next;
    size_t n;
    struct change changes[];
};

/* A file that was opened: another one by that name is not ours. */
struct identity {
    char *path;
    dev_t dev;
    ino_t ino; /* 0: there was none */
};

struct fs_store {
    char *path;
    struct identity file, log;
    pthread_mutex_t lock; /* of the queue and the figures */
    pthread_cond_t change;
    struct fs_store_promise *head, **tail;
    bool leading;
    uint64_t changes, commits;
    pthread_mutex_t db_lock; /* of the database and of all below; taken without 'lock' */
    sqlite3 *db;
    sqlite3_stmt *put, *delete, *list, *sum_of;
    struct store_sum sum;
    int log_pages;
};

/* --- Start and end --- */

static int
on_commit(void *aux, sqlite3 *db, const char *name, int pages)
{
    struct fs_store *s = aux;
    (void) db;
    (void) name;
    s->log_pages = pages;
    return SQLITE_OK;
}

static bool
prepare(struct fs_store *s)
{
    static const char *const texts[] = { "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", "DELETE FROM record WHERE kind = ? AND name = ?",
                                         "SELECT name, value, sum FROM record WHERE kind = ? ORDER BY name", "SELECT sum FROM record WHERE kind = ? AND name = ?" };
    sqlite3_stmt **const all[] = { &s->put, &s->delete, &s->list, &s->sum_of };
    bool good = true;
    for (size_t i = 0; i < sizeof all / sizeof *all && good; i++) {
        good = sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, all[i], NULL) == SQLITE_OK;
    }
    return good;
}

static void
identify(struct identity *f, char *path)
{
    struct stat st;
    bool there = !stat(path, &st);
    *f = (struct identity) { path, there ? st.st_dev : 0, there ? st.st_ino : 0 };
}

static bool
is_still(const struct identity *f)
{
    struct stat st;
    return !f->ino || (!stat(f->path, &st) && st.st_dev == f->dev && st.st_ino == f->ino);
}

/* Are the files that we write still the ones by those names?  What is written into a log that nobody finds is gone with us.  0 or ENOENT. */
static int
still_there(struct fs_store *s, char **error)
{
    if (is_still(&s->file) && is_still(&s->log)) {
        return 0;
    }
    *error = fs_xasprintf("store %s: %s was deleted or replaced while it was in use, nothing can be kept any more ('flowstream backup FILE' still writes all "
                          "that is known; then stop the daemon, copy FILE to %s, remove %s-wal and %s-shm and start it)", s->path,
                          is_still(&s->file) ? "its log" : "the file", s->path, s->path, s->path);
    return ENOENT;
}

static int
open_database(struct fs_store *s, char **error)
{
    if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK
        || sqlite3_exec(s->db, "PRAGMA busy_timeout=2000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK) {
        return store_explain(s->db, s->path, "cannot be opened", error);
    }
    if (sqlite3_db_readonly(s->db, "main") == 1) {
        *error = fs_xasprintf("store %s: it is read-only (does the folder exist, and may this user write to it?)", s->path);
        return EROFS;
    }
    identify(&s->file, store_real_name(s->path, ""));
    if (!s->file.ino) {
        *error = fs_xasprintf("store %s: %s", s->path, strerror(errno));
        return EIO;
    }
    if (FS_FAILPOINT_ERROR("store.recover")) {
        *error = fs_xasprintf("store %s: failpoint store.recover", s->path);
        return EIO;
    }
    int e = store_migrate(s->db, s->path, error);
    e = e ? e : store_verify(s->db, s->path, &s->sum, error);
    if (!e && !prepare(s)) {
        e = store_explain(s->db, s->path, "cannot be prepared", error);
    }
    identify(&s->log, store_real_name(s->path, "-wal"));
    sqlite3_wal_hook(s->db, on_commit, s); /* in place of the checkpoint after 1,000 pages, whose errors nobody sees */
    return e;
}

int
fs_store_open(const char *path, struct fs_store **store, char **error)
{
    bool fresh = false;
    int e = store_look(path, &fresh, error);
    if (!e && fresh) {
        e = store_make(path, error);
    }
    if (e) {
        return e;
    }
    struct fs_store *s = fs_xcalloc(1, sizeof *s);
    s->path = fs_xstrdup(path);
    s->tail = &s->head;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->db_lock, NULL);
    pthread_cond_init(&s->change, NULL);
    e = open_database(s, error);
    if (e) {
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* what is refused is left as it is: its log may be another's */
        fs_store_close(s);
        return e;
    }
    *store = s;
    return 0;
}

void
fs_store_close(struct fs_store *s)
{
    if (s) {
        sqlite3_finalize(s->put);
        sqlite3_finalize(s->delete);
        sqlite3_finalize(s->list);
        sqlite3_finalize(s->sum_of);
        sqlite3_close(s->db);
        pthread_mutex_destroy(&s->lock);
        pthread_mutex_destroy(&s->db_lock);
        pthread_cond_destroy(&s->change);
        free(s->file.path);
        free(s->log.path);
        free(s->path);
        free(s);
    }
}

void
fs_store_figures(struct fs_store *s, struct fs_store_figures *f)
{
    struct stat st;
    pthread_mutex_lock(&s->lock);
    f->changes = s->changes;
    f->commits = s->commits;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->db_lock);
    f->records = s->sum.records;
    pthread_mutex_unlock(&s->db_lock);
    f->bytes = stat(s->path, &st) ? 0 : (uint64_t) st.st_size;
    f->schema = STORE_SCHEMA;
}

/* --- Writing --- */

/* What the kernel had taken may be gone after a sync that failed, and the next sync would not say so: only what is read again from the disk is
 * known.  Reading again is what the next start does. */
static void
end_if_unsynced(struct fs_store *s, int code)
{
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) {
        fs_log_error("store %s: the disk could not be synced, nobody knows what is on it: this daemon ends; the next start reads what is there (look at the disk first)",
                     s->path);
        _exit(FS_STORE_EXIT);
    }
}

static bool
run(struct fs_store *s, const char *words)
{
    return sqlite3_exec(s->db, words, NULL, NULL, NULL) == SQLITE_OK;
}

/* The sum of the record that is there now; false: there is none. */
static bool
sum_now(struct fs_store *s, const struct change *c, uint64_t *sum)
{
    sqlite3_bind_text(s->sum_of, 1, c->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(s->sum_of, 2, c->name, -1, SQLITE_STATIC);
    bool found = sqlite3_step(s->sum_of) == SQLITE_ROW;
    *sum = found ? (uint64_t) sqlite3_column_int64(s->sum_of, 0) : 0;
    sqlite3_reset(s->sum_of);
    return found;
}

static bool
write_one(struct fs_store *s, const struct change *c, struct store_sum *sum)
{
    sqlite3_stmt *st = c->block ? s->put : s->delete;
    uint64_t before;
    if (sum_now(s, c, &before)) {
        sum->all ^= before;
        sum->records--;
    }
    sqlite3_bind_text(st, 1, c->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, c->name, -1, SQLITE_STATIC);
    if (c->block) {
        uint64_t one = store_sum_of(c->kind, c->name, c->block, c->size);
        sqlite3_bind_blob64(st, 3, c->block, c->size, SQLITE_STATIC);
        sqlite3_bind_int64(st, 4, (int64_t) one);
        sum->all ^= one;
        sum->records++;
    }
    bool good = sqlite3_step(st) == SQLITE_DONE;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return good;
}

static bool
write_all(struct fs_store *s, const struct fs_store_promise *w, struct store_sum *sum)
{
    bool good = true;
    for (size_t i = 0; good && i < w->n; i++) {
        good = write_one(s, &w->changes[i], sum);
    }
    return good;
}

/* The changes of the writers from 'first' up to, not including, 'end' in one transaction: all or none.  The code of SQLite that they failed with, or SQLITE_OK. */
static int
commit(struct fs_store *s, struct fs_store_promise *first, const struct fs_store_promise *end)
{
    struct store_sum sum = s->sum;
    bool good = !FS_FAILPOINT_ERROR("store.before_write") && run(s, "BEGIN IMMEDIATE");
    for (struct fs_store_promise *w = first; good && w != end; w = w->next) {
        good = write_all(s, w, &sum);
    }
    good = good && store_put_sum(s->db, &sum);
    good = good && !FS_FAILPOINT_ERROR("store.before_commit") && run(s, "COMMIT");
    FS_FAILPOINT("store.after_commit");
    if (good) {
        s->sum = sum;
        return SQLITE_OK;
    }
    int code = sqlite3_extended_errcode(s->db);
    end_if_unsynced(s, code);
    store_explain(s->db, s->path, "cannot be written", &first->error);
    if (!sqlite3_get_autocommit(s->db)) {
        run(s, "ROLLBACK");
    }
    return code ? code : SQLITE_ERROR;
}

/* Bring the log into the file when it has grown, with eyes on the sync of the file. */
static void
checkpoint(struct fs_store *s)
{
    if (s->log_pages >= CHECKPOINT_PAGES) {
        if (FS_FAILPOINT_ERROR("store.checkpoint")) {
            return;
        }
        if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) != SQLITE_OK) {
            end_if_unsynced(s, sqlite3_extended_errcode(s->db));
            fs_log_limited(FS_LOG_WARNING, "store %s: its log cannot be brought in: %s (it is tried again)", s->path, sqlite3_errmsg(s->db));
        }
        s->log_pages = 0;
    }
}

static void
fail(struct fs_store_promise *w, int e, char *error)
{
    w->e = e;
    w->error = error;
}

/* Serve a group; returns how many syncs it took. */
static unsigned
serve(struct fs_store *s, struct fs_store_promise *group)
{
    unsigned commits = 1;
    char *error = NULL;
    pthread_mutex_lock(&s->db_lock);
    int e = still_there(s, &error);
    if (e) {
        for (struct fs_store_promise *w = group; w; w = w->next) {
            fail(w, e, fs_xstrdup(error));
        }
        free(error);
    } else if (commit(s, group, NULL) != SQLITE_OK) {
        commits = 0;
        if (!group->next) {
            group->e = EIO;
        }
        for (struct fs_store_promise *w = group; w && group->next; w = w->next) { /* one may be at fault for all: each by itself */
            free(w->error);
            w->error = NULL;
            w->e = commit(s, w, w->next) == SQLITE_OK ? 0 : EIO;
            commits += !w->e;
        }
    }
    checkpoint(s);
    pthread_mutex_unlock(&s->db_lock);
    return commits;
}

/* With the lock: take what has queued up, serve it, wake its owners. */
static void
lead(struct fs_store *s)
{
    struct fs_store_promise *group = s->head, *last = group;
    for (size_t n = 1; n < MAX_GROUP && last->next; n++) {
        last = last->next;
    }
    s->head = last->next;
    if (!s->head) {
        s->tail = &s->head;
    }
    last->next = NULL;
    s->leading = true;
    pthread_mutex_unlock(&s->lock);
    unsigned commits = serve(s, group);
    pthread_mutex_lock(&s->lock);
    s->leading = false;
    s->commits += commits;
    for (struct fs_store_promise *w = group, *next; w; w = next) {
        next = w->next; /* it may go as soon as it is done */
        s->changes += !w->e;
        w->done = true;
    }
    pthread_cond_broadcast(&s->change);
}

struct fs_store_promise *
fs_store_post(struct fs_store *s, const struct fs_block_record *changes, size_t n)
{
    struct fs_store_promise *w = fs_xcalloc(1, sizeof *w + n * sizeof *w->changes);
    w->store = s;
    w->n = n;
    for (size_t i = 0; i < n; i++) {
        struct change *c = &w->changes[i];
        *c = (struct change) { fs_xstrdup(changes[i].kind), fs_xstrdup(changes[i].name), NULL, changes[i].size };
        if (changes[i].block) {
            c->block = fs_xmalloc(c->size + 1);
            memcpy(c->block, changes[i].block, c->size);
        }
    }
    pthread_mutex_lock(&s->lock);
    *s->tail = w;
    s->tail = &w->next;
    pthread_mutex_unlock(&s->lock);
    return w;
}

int
fs_store_await(struct fs_store_promise *w, char **error)
{
    struct fs_store *s = w->store;
    pthread_mutex_lock(&s->lock);
    while (!w->done) {
        if (s->leading) {
            pthread_cond_wait(&s->change, &s->lock);
        } else {
            lead(s);
        }
    }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < w->n; i++) {
        free(w->changes[i].kind);
        free(w->changes[i].name);
        free(w->changes[i].block);
    }
    int e = w->e;
    if (e) {
        *error = w->error;
    }
    free(w);
    return e;
}

int
fs_store_write(struct fs_store *s, const struct fs_record *changes, size_t n, char **error)
{
    struct fs_block_record *packed = fs_xcalloc(n + 1, sizeof *packed);
    for (size_t i = 0; i < n; i++) {
        packed[i] = (struct fs_block_record) { .kind = changes[i].kind, .name = changes[i].name };
        packed[i].block = changes[i].value ? fs_pack(changes[i].value, &packed[i].size) : NULL;
    }
    struct fs_store_promise *w = fs_store_post(s, packed, n);
    for (size_t i = 0; i < n; i++) {
        free((void *) (uintptr_t) packed[i].block);
    }
    free(packed);
    return fs_store_await(w, error);
}

/* --- Reading --- */

/* Goes through the records of a kind with the lock of the database held; 'take' tells whether a record is good. */
static bool
walk(struct fs_store *s, const char *kind, bool (*take)(void *aux, const char *name, const unsigned char *block, size_t size), void *aux, char **error)
{
    sqlite3_stmt *st = s->list;
    bool good = true;
    int code;
    sqlite3_bind_text(st, 1, kind, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(st)) == SQLITE_ROW && good) {
        const char *name = (const char *) sqlite3_column_text(st, 0);
        const unsigned char *block = sqlite3_column_blob(st, 1);
        size_t size = (size_t) sqlite3_column_bytes(st, 1);
        good = store_sum_of(kind, name, block, size) == (uint64_t) sqlite3_column_int64(st, 2) && take(aux, name, block, size);
        if (!good) {
            *error = fs_xasprintf("store %s: %s '%s' is damaged: it is not what was written", s->path, kind, name);
        }
    }
    if (good && code != SQLITE_DONE) {
        store_explain(s->db, s->path, "cannot be read", error);
        good = false;
    }
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return good;
}

static bool
take_value(void *all, const char *name, const unsigned char *block, size_t size)
{
    xmlrpc_value *v;
    if (fs_unpack(block, size, &v)) {
        return false;
    }
    fs_append(fs_append(all, fs_string(name)), v);
    return true;
}

/* The records of a kind as an array, name and value in turn, so that nothing of the store is held while they are handed out; NULL with *error. */
static xmlrpc_value *
read_all(struct fs_store *s, const char *kind, char **error)
{
    xmlrpc_value *all = fs_array();
    if (!walk(s, kind, take_value, all, error)) {
        fs_free(all);
        return NULL;
    }
    return all;
}

int
fs_store_read(struct fs_store *s, const char *kind, void (*each)(void *, const char *, xmlrpc_value *), void *aux, char **error)
{
    pthread_mutex_lock(&s->db_lock);
    xmlrpc_value *all = read_all(s, kind, error);
    pthread_mutex_unlock(&s->db_lock);
    for (size_t i = 0, n = fs_size(all); i < n; i += 2) {
        xmlrpc_value *v = fs_item(all, i + 1);
        xmlrpc_INCREF(v);
        each(aux, fs_text(fs_item(all, i), ""), v);
    }
    int e = all ? 0 : EIO;
    fs_free(all);
    return e;
}

struct receiver {
    void (*each)(void *, const char *, const unsigned char *, size_t);
    void *aux;
};

static bool
take_block(void *aux, const char *name, const unsigned char *block, size_t size)
{
    const struct receiver *to = aux;
    bool good = !fs_pack_check(block, size);
    if (good) {
        to->each(to->aux, name, block, size);
    }
    return good;
}

int
fs_store_read_blocks(struct fs_store *s, const char *kind, void (*each)(void *, const char *, const unsigned char *, size_t), void *aux, char **error)
{
    struct receiver to = { each, aux };
    pthread_mutex_lock(&s->db_lock);
    bool good = walk(s, kind, take_block, &to, error);
    pthread_mutex_unlock(&s->db_lock);
    return good ? 0 : EIO;
}

/* --- Copies --- */

int
fs_store_check(const char *path, struct fs_store_figures *f, char **error)
{
    struct stat st;
    sqlite3 *db = NULL;
    struct store_sum sum = { 0, 0 };
    char *uri = fs_xasprintf("file:%s?immutable=1", path); /* whatever lies beside it is not part of a backup */
    int schema = 0, e = stat(path, &st) ? errno : strpbrk(path, "?#%") ? EINVAL : 0;
    if (e) {
        *error = fs_xasprintf("store %s: %s", path, e == EINVAL ? "its name has a ?, # or %%" : strerror(e));
    } else if (st.st_size < 512) {
        e = EIO;
        *error = fs_xasprintf("store %s: it has %lld bytes, it was cut off", path, (long long) st.st_size);
    } else if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        e = store_explain(db, path, "cannot be opened", error);
    } else if ((schema = store_schema(db, path, error)) < 0) {
        e = EINVAL;
    } else if (schema < STORE_SCHEMA) {
        e = EINVAL;
        *error = fs_xasprintf("store %s: it has the older schema %d; start a daemon on a copy of it once, which brings it to %d", path, schema, STORE_SCHEMA);
    } else {
        e = store_verify(db, path, &sum, error);
    }
    sqlite3_close(db);
    free(uri);
    if (!e && f) {
        *f = (struct fs_store_figures) { .records = sum.records, .bytes = (uint64_t) st.st_size, .schema = schema };
    }
    return e;
}

/* Page by page, a few at a time, so that writers come through between them; what they write goes into the copy as well. */
static int
copy_pages(struct fs_store *s, sqlite3 *to)
{
    pthread_mutex_lock(&s->db_lock);
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->db, "main");
    int code = b ? SQLITE_OK : sqlite3_errcode(to);
    while (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED) {
        code = sqlite3_backup_step(b, BACKUP_PAGES);
        pthread_mutex_unlock(&s->db_lock);
        usleep(code == SQLITE_OK ? 100 : 10000);
        pthread_mutex_lock(&s->db_lock);
        if (FS_FAILPOINT_ERROR("store.backup")) {
            code = SQLITE_FULL;
        }
    }
    int end = b ? sqlite3_backup_finish(b) : code;
    pthread_mutex_unlock(&s->db_lock);
    return code == SQLITE_DONE ? end : code;
}

int
fs_store_backup(struct fs_store *s, const char *path, char **error)
{
    struct stat st;
    if (!lstat(path, &st)) {
        *error = fs_xasprintf("%s: there is such a file already", path);
        return EEXIST;
    }
    char *new = fs_xasprintf("%s.new", path);
    sqlite3 *to = NULL;
    unlink(new);
    int e = 0;
    if (sqlite3_open_v2(new, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK || copy_pages(s, to) != SQLITE_OK
        || sqlite3_exec(to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL) != SQLITE_OK) { /* one file, nothing beside it */
        e = store_explain(to, new, "cannot be written", error);
    }
    sqlite3_close(to);
    e = e ? e : fs_store_check(new, NULL, error);
    if (!e && (rename(new, path) || (errno = store_sync_folder(path)))) {
        e = errno;
        *error = fs_xasprintf("%s: %s", path, strerror(e));
    }
    if (e) {
        unlink(new);
    }
    free(new);
    return e;
}

void
fs_store_remove(const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-journal", ".made" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char *file = fs_xasprintf("%s%s", path, ends[i]);
        unlink(file);
        free(file);
    }
}
