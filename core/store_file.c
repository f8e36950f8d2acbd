/* A store's file before it is believed: making one, reading the whole of it, the write-ahead log that a crash left, older schemas.
 *
 * SQLite by itself trusts more than we may: an empty file is an empty database, a log with a damaged page in the middle ends there, and answered
 * changes would be gone without a word.  So the log is looked at before SQLite opens it (its format: sqlite.org/fileformat2.html, section 4).
 * Called by store.c alone. */
#include "config.h"

#include "core/store_private.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/pack.h"
#include "core/util.h"
#include "core/xmlrpc.h"
#include <flowstream/log.h>

FS_LOG_MODULE("store");

#define RESTORE "restore a backup: with the daemon stopped copy it to %s and remove %s-wal and %s-shm"

int
store_explain(sqlite3 *db, const char *path, const char *what, char **error)
{
    int code = db ? sqlite3_extended_errcode(db) & 0xff : SQLITE_NOMEM;
    const char *remedy = code == SQLITE_FULL || code == SQLITE_IOERR ? " (is the disk full?)"
                         : code == SQLITE_CORRUPT || code == SQLITE_NOTADB
                             ? " (damaged: restore a copy, or move it away to begin with an empty store)"
                         : code == SQLITE_BUSY || code == SQLITE_LOCKED ? " (another program uses it)" : "";
    if (code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_PERM) {
        remedy = " (does the folder exist, and may this user write to it?)";
    }
    *error = fs_xasprintf("store %s: %s: %s%s", path, what, db ? sqlite3_errmsg(db) : "out of memory", remedy);
    return EIO;
}

/* FNV-1a of 64 bits, finished by a mixer: each step can be undone, so no change of one byte goes unseen. */
static uint64_t
add(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}

static uint64_t
finish(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 29;
}

/* As schemas 1 and 2 had it. */
static uint64_t
old_sum_of(const char *kind, const char *name, const void *value, size_t size)
{
    uint64_t h = add(0xcbf29ce484222325u, kind, strlen(kind) + 1);
    return finish(add(add(h, name, strlen(name) + 1), value, size));
}

/* The same by words of eight bytes for the value, which is most of it: also there each step can be undone. */
uint64_t
store_sum_of(const char *kind, const char *name, const void *value, size_t size)
{
    uint64_t h = add(0xcbf29ce484222325u, kind, strlen(kind) + 1), word;
    const unsigned char *p = value;
    h = add(h, name, strlen(name) + 1);
    for (; size >= sizeof word; size -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        h = (h ^ le64toh(word)) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return finish(add(h, p, size));
}

int
store_sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? fs_xasprintf("%.*s", (int) (slash - path) + 1, path) : fs_xstrdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    free(folder);
    return e;
}

/* --- The log --- */

struct wal {
    bool big_endian; /* checksums count words in this order */
    uint32_t page, s0, s1;
    unsigned char salts[8];
};

static uint32_t
big32(const unsigned char *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static uint32_t
word(const struct wal *w, const unsigned char *p)
{
    return w->big_endian ? big32(p) : (uint32_t) p[3] << 24 | (uint32_t) p[2] << 16 | (uint32_t) p[1] << 8 | p[0];
}

static void
go_on(struct wal *w, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        w->s0 += word(w, p + i) + w->s1;
        w->s1 += word(w, p + i + 4) + w->s0;
    }
}

static bool
read_header(FILE *f, struct wal *w)
{
    unsigned char h[32];
    if (fread(h, 1, sizeof h, f) != sizeof h || (big32(h) & 0xfffffffeu) != 0x377f0682u) {
        return false;
    }
    w->big_endian = big32(h) & 1;
    w->page = big32(h + 8);
    memcpy(w->salts, h + 16, 8);
    go_on(w, h, 24);
    return w->s0 == big32(h + 24) && w->s1 == big32(h + 28) && w->page >= 512 && w->page <= 65536;
}

/* After the first frame that does not fit: commits of this log from there on.  One may be what was being written when the power failed (it was never answered);
 * two or more were synced one after the other, so the first of them was answered. */
static int
scan_frames(FILE *f, struct wal *w, size_t *good, size_t *commits)
{
    unsigned char *frame = fs_xmalloc(24 + (size_t) w->page);
    bool broken = false;
    *good = *commits = 0;
    while (fread(frame, 1, 24 + (size_t) w->page, f) == 24 + (size_t) w->page) {
        bool ours = !memcmp(frame + 8, w->salts, 8);
        if (!broken && ours) {
            go_on(w, frame, 8);
            go_on(w, frame + 24, w->page);
            broken = w->s0 != big32(frame + 16) || w->s1 != big32(frame + 20);
        } else {
            broken = true;
        }
        *good += !broken;
        *commits += broken && ours && big32(frame + 4);
    }
    free(frame);
    return broken;
}

char *
store_real_name(const char *path, const char *end)
{
    char *real = realpath(path, NULL), *name = fs_xasprintf("%s%s", real ? real : path, end);
    free(real);
    return name;
}

static int
look_at_log(const char *path, char **error)
{
    char *name = store_real_name(path, "-wal");
    struct stat st;
    FILE *f = fopen(name, "re");
    int e = 0;
    if (f && !fstat(fileno(f), &st) && st.st_size > 32) {
        struct wal w = { 0 };
        size_t good, commits;
        if (!read_header(f, &w)) {
            *error = fs_xasprintf("store %s: the header of its log %s is damaged, changes in it cannot be read (" RESTORE
                                  "; without one, remove the log to go on without the newest changes)", path, name, path, path, path);
            e = EIO;
        } else if (scan_frames(f, &w, &good, &commits) && commits > 1) {
            *error = fs_xasprintf("store %s: its log %s is damaged behind page %zu, and %zu transactions follow (" RESTORE
                                  "; without one, cut the log at %zu bytes to go on without them)",
                                  path, name, good, commits - 1, path, path, path, 32 + good * (24 + (size_t) w.page));
            e = EIO;
        } else if (commits == 1) {
            fs_log_warning("store %s: the last transaction in its log is not whole and is left out: the machine went down before it was answered", path);
        }
    }
    if (f) {
        fclose(f);
    }
    free(name);
    return e;
}

/* --- The file --- */

/* A store that was once made has its mark beside it: where the mark is and the store is not, somebody deleted it.  To begin with an empty one then
 * would take everything away that runs. */
static char *
mark_of(const char *path)
{
    return fs_xasprintf("%s.made", path);
}

int
store_look(const char *path, bool *fresh, char **error)
{
    struct stat st, wal, made;
    char *mark = mark_of(path), *log = fs_xasprintf("%s-wal", path);
    bool there = !stat(path, &st);
    int e = 0;
    *fresh = !there;
    if (!there && errno != ENOENT && errno != ENOTDIR) {
        e = errno;
        *error = fs_xasprintf("store %s: %s", path, strerror(e));
    } else if (!there && (!stat(mark, &made) || (!stat(log, &wal) && wal.st_size > 0))) {
        *error = fs_xasprintf("store %s: it is gone, but %s is there: somebody deleted it (" RESTORE "; to begin with an empty store and lose all allocations remove %s*)",
                              path, stat(mark, &made) ? log : mark, path, path, path, path);
        e = ENOENT;
    } else if (there && !S_ISREG(st.st_mode)) {
        *error = fs_xasprintf("store %s: it is no file (" RESTORE ")", path, path, path, path);
        e = EINVAL;
    } else if (there && st.st_size < 512) {
        *error = fs_xasprintf("store %s: it has %lld bytes, it was cut off (damaged: restore a copy, or move it away with %s to begin with an empty store)", path,
                              (long long) st.st_size, mark);
        e = EIO;
    } else if (there) {
        e = look_at_log(path, error);
    }
    free(log);
    free(mark);
    return e;
}

/* A record of up to a quarter of a page lies whole in the tree; with pages of 4,096 bytes most of each would be in a page of its own. */
#define PAGES "PRAGMA page_size=16384;"
#define TABLES \
    "CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, sum INTEGER NOT NULL," \
    " PRIMARY KEY (kind, name)) WITHOUT ROWID;" \
    "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), all_sums INTEGER NOT NULL, records INTEGER NOT NULL);" \
    "INSERT INTO meta VALUES (1, 0, 0);"

static int
make_mark(const char *path)
{
    char *mark = mark_of(path);
    int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int e = fd < 0 || fsync(fd) ? errno : store_sync_folder(path);
    if (fd >= 0) {
        close(fd);
    }
    free(mark);
    return e;
}

int
store_make(const char *path, char **error)
{
    char *new = fs_xasprintf("%s.new", path);
    sqlite3 *db = NULL;
    unlink(new);
    bool good = sqlite3_open_v2(new, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK
                && sqlite3_exec(db, PAGES "PRAGMA synchronous=FULL; BEGIN;" TABLES "PRAGMA user_version=3; COMMIT; PRAGMA journal_mode=WAL", NULL, NULL, NULL) == SQLITE_OK;
    int e = good ? 0 : store_explain(db, path, "cannot be made", error);
    sqlite3_close(db);
    if (!e && (rename(new, path) || (errno = store_sync_folder(path)))) {
        e = errno;
        *error = fs_xasprintf("store %s: cannot be made: %s", path, strerror(e));
    }
    if (e) {
        unlink(new);
    }
    free(new);
    return e;
}

/* --- What is inside --- */

static int
number(sqlite3 *db, const char *query, int64_t *value)
{
    sqlite3_stmt *st = NULL;
    bool good = sqlite3_prepare_v2(db, query, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW;
    if (good) {
        *value = sqlite3_column_int64(st, 0);
    }
    sqlite3_finalize(st);
    return !good;
}

int
store_schema(sqlite3 *db, const char *path, char **error)
{
    int64_t schema = 0;
    if (number(db, "PRAGMA user_version", &schema)) {
        store_explain(db, path, "cannot be read", error);
        return -1;
    }
    if (schema > STORE_SCHEMA || schema < 1) {
        *error = schema < 1 ? fs_xasprintf("store %s: it is no store of Flowstream (schema %lld; damaged: restore a copy, or move it away to begin with an empty store)",
                                           path, (long long) schema)
                            : fs_xasprintf("store %s: written by a newer Flowstream (schema %lld, this one knows %d): start that one, or restore a backup from before it",
                                           path, (long long) schema, STORE_SCHEMA);
        return -1;
    }
    return (int) schema;
}

bool
store_put_sum(sqlite3 *db, const struct store_sum *sum)
{
    sqlite3_stmt *st = NULL;
    bool good = sqlite3_prepare_v2(db, "UPDATE meta SET all_sums = ?, records = ? WHERE id = 1", -1, &st, NULL) == SQLITE_OK
                && sqlite3_bind_int64(st, 1, (int64_t) sum->all) == SQLITE_OK && sqlite3_bind_int64(st, 2, (int64_t) sum->records) == SQLITE_OK
                && sqlite3_step(st) == SQLITE_DONE && sqlite3_changes(db) == 1;
    sqlite3_finalize(st);
    return good;
}

/* The record at hand of an older schema into the table of this one; what was damaged before is not made whole. */
static bool
convert(sqlite3_stmt *from, sqlite3_stmt *to, bool has_sums, struct store_sum *old, struct store_sum *sum, char **damage)
{
    const char *kind = (const char *) sqlite3_column_text(from, 0), *name = (const char *) sqlite3_column_text(from, 1), *text = sqlite3_column_blob(from, 2);
    size_t size = (size_t) sqlite3_column_bytes(from, 2);
    uint64_t before = old_sum_of(kind, name, text, size);
    xmlrpc_value *v = NULL;
    if ((has_sums && before != (uint64_t) sqlite3_column_int64(from, 3)) || fs_xmlrpc_decode_value(text ? text : "", size, &v, damage)) {
        free(*damage);
        *damage = fs_xasprintf("the record %s '%s' is not what was written", kind, name);
        return false;
    }
    unsigned char *block = fs_pack(v, &size);
    uint64_t one = store_sum_of(kind, name, block, size);
    for (int i = 0; i < 2; i++) {
        sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
    }
    sqlite3_bind_blob64(to, 3, block, size, SQLITE_STATIC);
    sqlite3_bind_int64(to, 4, (int64_t) one);
    bool good = sqlite3_step(to) == SQLITE_DONE;
    sqlite3_reset(to);
    sqlite3_clear_bindings(to);
    old->all ^= before;
    old->records++;
    sum->all ^= one;
    sum->records++;
    free(block);
    fs_free(v);
    return good;
}

/* Schema 1 had no sums; schemas 1 and 2 kept values as XML. */
static bool
to_schema_3(sqlite3 *db, bool has_sums, char **damage)
{
    struct store_sum old = { 0, 0 }, sum = { 0, 0 };
    int64_t all = 0, records = 0;
    sqlite3_stmt *from = NULL, *to = NULL;
    bool good = !has_sums || (!number(db, "SELECT all_sums FROM meta WHERE id = 1", &all) && !number(db, "SELECT records FROM meta WHERE id = 1", &records));
    good = good && sqlite3_exec(db, "DROP TABLE IF EXISTS meta; ALTER TABLE record RENAME TO old;" TABLES, NULL, NULL, NULL) == SQLITE_OK
           && sqlite3_prepare_v2(db, "SELECT * FROM old", -1, &from, NULL) == SQLITE_OK
           && sqlite3_prepare_v2(db, "INSERT INTO record VALUES (?, ?, ?, ?)", -1, &to, NULL) == SQLITE_OK;
    int code = SQLITE_DONE;
    while (good && (code = sqlite3_step(from)) == SQLITE_ROW) {
        good = convert(from, to, has_sums, &old, &sum, damage);
    }
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    if (good && has_sums && ((uint64_t) all != old.all || (uint64_t) records != old.records)) {
        *damage = fs_xasprintf("it holds %llu records and should hold %lld, or others", (unsigned long long) old.records, (long long) records);
        return false;
    }
    return good && code == SQLITE_DONE && store_put_sum(db, &sum) && sqlite3_exec(db, "DROP TABLE old; PRAGMA user_version=3", NULL, NULL, NULL) == SQLITE_OK;
}

int
store_migrate(sqlite3 *db, const char *path, char **error)
{
    int schema = store_schema(db, path, error), e = schema < 0 ? EINVAL : 0;
    if (!e && schema < STORE_SCHEMA) {
        char *damage = NULL;
        bool good = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK && to_schema_3(db, schema > 1, &damage)
                    && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
        if (damage) {
            *error = fs_xasprintf("store %s: %s (damaged: restore a copy, or move it away to begin with an empty store)", path, damage);
            e = EIO;
        } else if (!good) {
            e = store_explain(db, path, "cannot be brought up to the schema of this version, it is left as it was", error);
        }
        if (!good) {
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
            free(damage);
            return e;
        }
        fs_log_info("store %s: schema %d is now %d", path, schema, STORE_SCHEMA);
    }
    if (!e && (errno = make_mark(path))) {
        e = errno;
        *error = fs_xasprintf("store %s.made: %s (may this user write to the folder?)", path, strerror(e));
    }
    return e;
}

static int
verify_form(sqlite3 *db, const char *path, char **error)
{
    sqlite3_stmt *st = NULL;
    int e = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW) {
        e = store_explain(db, path, "cannot be checked", error);
    } else if (strcmp((const char *) sqlite3_column_text(st, 0), "ok") != 0) {
        *error = fs_xasprintf("store %s: %s (damaged: restore a copy, or move it away to begin with an empty store)", path, (const char *) sqlite3_column_text(st, 0));
        e = EIO;
    }
    sqlite3_finalize(st);
    return e;
}

/* Each record against its own sum, all against the sum of all. */
static int
verify_records(sqlite3 *db, const char *path, struct store_sum *sum, char **error)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT kind, name, value, sum FROM record", -1, &st, NULL), e = 0;
    *sum = (struct store_sum) { 0, 0 };
    while (!e && code != SQLITE_ERROR && (code = sqlite3_step(st)) == SQLITE_ROW) {
        const char *kind = (const char *) sqlite3_column_text(st, 0), *name = (const char *) sqlite3_column_text(st, 1);
        const void *value = sqlite3_column_blob(st, 2);
        uint64_t one = store_sum_of(kind ? kind : "", name ? name : "", value, (size_t) sqlite3_column_bytes(st, 2));
        if (one != (uint64_t) sqlite3_column_int64(st, 3)) {
            *error = fs_xasprintf("store %s: the record %s '%s' is not what was written (damaged: restore a copy, or move it away to begin with an empty store)", path,
                                  kind, name);
            e = EIO;
        }
        sum->all ^= one;
        sum->records++;
    }
    if (!e && code != SQLITE_DONE) {
        e = store_explain(db, path, "cannot be read", error);
    }
    sqlite3_finalize(st);
    return e;
}

int
store_verify(sqlite3 *db, const char *path, struct store_sum *sum, char **error)
{
    int64_t all = 0, records = 0;
    int e = verify_form(db, path, error);
    e = e ? e : verify_records(db, path, sum, error);
    if (!e && (number(db, "SELECT all_sums FROM meta WHERE id = 1", &all) || number(db, "SELECT records FROM meta WHERE id = 1", &records)
               || (uint64_t) all != sum->all || (uint64_t) records != sum->records)) {
        *error = fs_xasprintf("store %s: it holds %llu records and should hold %llu, or others (damaged: restore a copy, or move it away to begin with an empty store)",
                              path, (unsigned long long) sum->records, (unsigned long long) records);
        e = EIO;
    }
    return e;
}
