/* The store over SQLite.  One table: kind, name, value as the text of an XML-RPC <value>, which the strict decoder reads back and a person
 * can read with sqlite3. */
#include "config.h"

#include "core/store.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "core/xmlrpc.h"

enum { SCHEMA_VERSION = 1 };

struct fs_store {
    char *path;
    sqlite3 *db;
    sqlite3_stmt *put, *delete, *list;
    pthread_mutex_t lock;
};

static int
explain(struct fs_store *s, const char *what, char **error)
{
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_NOMEM;
    const char *remedy = (code & 0xff) == SQLITE_FULL || (code & 0xff) == SQLITE_IOERR ? " (is the disk full?)"
                         : (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB
                             ? " (damaged: restore a copy, or move it away to begin with an empty store)"
                             : "";
    if ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY || (code & 0xff) == SQLITE_PERM) {
        remedy = " (does the folder exist, and may this user write to it?)";
    }
    *error = fs_xasprintf("store %s: %s: %s%s", s->path, what, s->db ? sqlite3_errmsg(s->db) : "out of memory", remedy);
    return EIO;
}

static int
version_of(void *data, int n, char **values, char **names)
{
    (void) names;
    *(int *) data = n == 1 && values[0] ? atoi(values[0]) : -1;
    return 0;
}

int
fs_store_open(const char *path, struct fs_store **store, char **error)
{
    struct fs_store *s = fs_xcalloc(1, sizeof *s);
    s->path = fs_xstrdup(path);
    pthread_mutex_init(&s->lock, NULL);
    int version = 0, e = 0;
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK
        || sqlite3_exec(s->db, "PRAGMA busy_timeout=2000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_exec(s->db, "PRAGMA user_version", version_of, &version, NULL) != SQLITE_OK) {
        e = explain(s, "cannot be opened", error);
    } else if (version > SCHEMA_VERSION || version < 0) {
        *error = fs_xasprintf("store %s: written by a newer Flowstream (schema %d, this one knows %d)", path, version, SCHEMA_VERSION);
        e = EINVAL;
    } else if (sqlite3_exec(s->db,
                            "CREATE TABLE IF NOT EXISTS record (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,"
                            " PRIMARY KEY (kind, name)) WITHOUT ROWID; PRAGMA user_version=1",
                            NULL, NULL, NULL) != SQLITE_OK
               || sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO record VALUES (?, ?, ?)", -1, &s->put, NULL) != SQLITE_OK
               || sqlite3_prepare_v2(s->db, "DELETE FROM record WHERE kind = ? AND name = ?", -1, &s->delete, NULL) != SQLITE_OK
               || sqlite3_prepare_v2(s->db, "SELECT name, value FROM record WHERE kind = ? ORDER BY name", -1, &s->list, NULL)
                      != SQLITE_OK) {
        e = explain(s, "cannot be prepared", error);
    }
    if (e) {
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
        sqlite3_close(s->db);
        pthread_mutex_destroy(&s->lock);
        free(s->path);
        free(s);
    }
}

static bool
write_one(struct fs_store *s, const struct fs_record *c)
{
    sqlite3_stmt *st = c->value ? s->put : s->delete;
    size_t size = 0;
    char *text = c->value ? fs_xmlrpc_encode_value(c->value, &size) : NULL;
    sqlite3_bind_text(st, 1, c->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, c->name, -1, SQLITE_STATIC);
    if (text) {
        sqlite3_bind_blob64(st, 3, text, size, SQLITE_STATIC);
    }
    bool good = sqlite3_step(st) == SQLITE_DONE;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    free(text);
    return good;
}

int
fs_store_write(struct fs_store *s, const struct fs_record *changes, size_t n, char **error)
{
    pthread_mutex_lock(&s->lock);
    bool good = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    for (size_t i = 0; good && i < n; i++) {
        good = write_one(s, &changes[i]);
    }
    good = good && sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    int e = good ? 0 : explain(s, "cannot be written", error);
    if (!good && !sqlite3_get_autocommit(s->db)) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

/* The records of a kind as an array, name and value in turn, so that nothing of the store is held while they are handed out; NULL with *error. */
static xmlrpc_value *
read_all(struct fs_store *s, const char *kind, char **error)
{
    xmlrpc_value *all = fs_array();
    bool good = true;
    int code;
    sqlite3_bind_text(s->list, 1, kind, -1, SQLITE_STATIC);
    while ((code = sqlite3_step(s->list)) == SQLITE_ROW && good) {
        const char *name = (const char *) sqlite3_column_text(s->list, 0);
        const char *bytes = sqlite3_column_blob(s->list, 1);
        xmlrpc_value *v;
        char *why;
        if (fs_xmlrpc_decode_value(bytes ? bytes : "", (size_t) sqlite3_column_bytes(s->list, 1), &v, &why)) {
            *error = fs_xasprintf("store %s: %s '%s' is damaged: %s", s->path, kind, name, why);
            free(why);
            good = false;
        } else {
            fs_append(fs_append(all, fs_string(name)), v);
        }
    }
    if (good && code != SQLITE_DONE) {
        explain(s, "cannot be read", error);
        good = false;
    }
    sqlite3_reset(s->list);
    sqlite3_clear_bindings(s->list);
    if (!good) {
        fs_free(all);
    }
    return good ? all : NULL;
}

int
fs_store_read(struct fs_store *s, const char *kind, void (*each)(void *, const char *, xmlrpc_value *), void *aux, char **error)
{
    pthread_mutex_lock(&s->lock);
    xmlrpc_value *all = read_all(s, kind, error);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0, n = fs_size(all); i < n; i += 2) {
        xmlrpc_value *v = fs_item(all, i + 1);
        xmlrpc_INCREF(v);
        each(aux, fs_text(fs_item(all, i), ""), v);
    }
    int e = all ? 0 : EIO;
    fs_free(all);
    return e;
}
