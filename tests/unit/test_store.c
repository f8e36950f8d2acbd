/* The store against what happens to files: power that fails, bits that flip, files cut, deleted, of other versions, disks that cannot be synced.
 * A damaged store is refused with its name and a remedy, or read back as it was; never read as something else.  Prints TAP. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/store.h"
#include "core/util.h"

static int n_tests, n_failed;
/* In memory: what is tested are contents, and a sync of a busy disk takes long. */
static char in_memory[] = "/dev/shm/flowstream-store-XXXXXX", on_disk[] = "/tmp/flowstream-store-XXXXXX", *folder = in_memory;

static bool
ok(bool good, const char *name, const char *detail)
{
    printf("%sok %d - %s\n", good ? "" : "not ", ++n_tests, name);
    if (!good && detail) {
        printf("#   %s\n", detail);
    }
    n_failed += !good;
    fflush(stdout);
    return good;
}

/* --- Files --- */

static char *
in_folder(const char *name)
{
    return fs_xasprintf("%s/%s", folder, name);
}

static void
copy_file(const char *from, const char *to)
{
    char *bytes;
    size_t n;
    unlink(to);
    if (!fs_read_file(AT_FDCWD, from, 64 << 20, false, &bytes, &n)) {
        fs_write_file(AT_FDCWD, to, bytes, n, 0600);
        free(bytes);
    }
}

/* What a crash leaves: the file and its log as they are now, without the index, which nobody may believe. */
static void
copy_store(const char *from, const char *to)
{
    static const char *const ends[] = { "", "-wal", "-shm", ".made" };
    for (size_t i = 0; i < 4; i++) {
        char *a = fs_xasprintf("%s%s", from, ends[i]), *b = fs_xasprintf("%s%s", to, ends[i]);
        unlink(b);
        if (i != 2) {
            copy_file(a, b);
        }
        free(a);
        free(b);
    }
}

static off_t
size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : st.st_size;
}

static void
flip(const char *path, off_t at, unsigned bit)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char c = 0;
    if (fd < 0 || pread(fd, &c, 1, at) != 1) {
        perror(path);
        exit(1);
    }
    c ^= (unsigned char) (1u << bit);
    if (pwrite(fd, &c, 1, at) != 1) {
        perror(path);
        exit(1);
    }
    close(fd);
}

/* --- Content --- */

static void
add_line(void *aux, const char *name, xmlrpc_value *v)
{
    fs_text_addf(aux, "%s=%d,%zu ", name, fs_get_int(v, "n", -1), strlen(fs_get_string(v, "text", "")));
    fs_free(v);
}

/* All records as one text, or the error. */
static char *
content(struct fs_store *s)
{
    struct fs_text t = { 0 };
    char *error = NULL;
    fs_text_addf(&t, "%s", "");
    if (fs_store_read(s, "k", add_line, &t, &error)) {
        fs_text_addf(&t, "ERROR %s", error);
        free(error);
    }
    return t.text;
}

/* What is read from a store, or "REFUSED why". */
static char *
read_back(const char *path)
{
    struct fs_store *s;
    char *error = NULL;
    if (fs_store_open(path, &s, &error)) {
        char *text = fs_xasprintf("REFUSED %s", error);
        free(error);
        return text;
    }
    char *text = content(s);
    fs_store_close(s);
    return text;
}

static int
put(struct fs_store *s, int name, int n, size_t size, char **error)
{
    char key[16], *big = fs_xcalloc(1, size + 1);
    memset(big, 'x', size);
    snprintf(key, sizeof key, "%04d", name);
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "n", fs_int(n)), "text", fs_string(big));
    int e = fs_store_write(s, &(struct fs_record) { "k", key, v }, 1, error);
    fs_free(v);
    free(big);
    return e;
}

static struct fs_store *
open_new(const char *path)
{
    struct fs_store *s = NULL;
    char *error = NULL;
    if (fs_store_open(path, &s, &error)) {
        printf("Bail out! %s\n", error);
        exit(1);
    }
    return s;
}

static void
ok_read(const char *path, const char *wanted, const char *name)
{
    char *got = read_back(path);
    ok(!strcmp(got, wanted), name, got);
    free(got);
}

static void
ok_refused(const char *path, const char *words, const char *name)
{
    char *got = read_back(path);
    ok(!strncmp(got, "REFUSED", 7) && strstr(got, path) && strstr(got, words), name, got);
    free(got);
}

/* --- What happens --- */

enum { RECORDS = 30 };

/* A store with a log that nobody has brought in, as kill -9 leaves it; its content after each change. */
static char *history[RECORDS + 1];

static char *
crashed(void)
{
    char *path = in_folder("live"), *copy = in_folder("crashed"), *error = NULL;
    struct fs_store *s = open_new(path);
    for (int i = 0; i <= RECORDS; i++) {
        history[i] = content(s);
        if (i < RECORDS && put(s, i / 2, i, 700 + 10 * (size_t) i, &error)) {
            printf("Bail out! %s\n", error);
            exit(1);
        }
    }
    copy_store(path, copy);
    fs_store_close(s);
    free(path);
    return copy;
}

static void
test_crash(const char *base)
{
    char *path = in_folder("again");
    copy_store(base, path);
    ok_read(path, history[RECORDS], "after kill -9 all that was answered is there");
    free(path);
}

/* The log cut anywhere: what is there is a prefix of what was answered. */
static void
test_torn(const char *base)
{
    char *path = in_folder("torn"), *log = fs_xasprintf("%s-wal", path), *worst = NULL;
    copy_store(base, path);
    off_t whole = size_of(log);
    int last = RECORDS + 1;
    for (off_t size = whole; size >= 0 && !worst; size -= size > whole - 20000 ? 97 : 1777) {
        copy_store(base, path);
        if (truncate(log, size)) {
            perror(log);
        }
        char *got = read_back(path);
        int i = last < RECORDS ? last : RECORDS;
        while (i >= 0 && strcmp(got, history[i]) != 0) {
            i--;
        }
        if (i < 0) {
            worst = fs_xasprintf("cut at %lld of %lld: %s", (long long) size, (long long) whole, got);
        }
        last = i;
        free(got);
    }
    ok(!worst, "a log that ends anywhere: a prefix of what was answered, in order", worst);
    free(worst);
    free(log);
    free(path);
}

/* One bit anywhere in the file or its log. */
static void
test_flips(const char *base, const char *end, int times)
{
    char *path = in_folder("flip"), *file = fs_xasprintf("%s%s", path, end), *worst = NULL;
    int refused = 0, whole = 0, last_only = 0;
    unsigned seed = 12345;
    times /= getenv("FLOWSTREAM_SANITIZED") ? 4 : 1;
    for (int i = 0; i < times && !worst; i++) {
        copy_store(base, path);
        off_t size = size_of(file);
        seed = seed * 1103515245u + 12345u;
        off_t at = i < 64 ? i : (off_t) (seed >> 3) % size; /* the header has the most to lose */
        flip(file, at, seed >> 29);
        char *got = read_back(path);
        if (!strncmp(got, "REFUSED", 7) && strstr(got, path)) {
            refused++;
        } else if (!strcmp(got, history[RECORDS])) {
            whole++;
        } else if (*end && !strcmp(got, history[RECORDS - 1])) {
            last_only++; /* the very last transaction: cannot be told from one that the power cut off, and is said in the log */
        } else {
            worst = fs_xasprintf("bit %u of byte %lld: %.300s", seed >> 29, (long long) at, got);
        }
        free(got);
    }
    char *name = fs_xasprintf("%d flipped bits in %s: refused or as it was", times, *end ? "the log" : "the file");
    ok(!worst && refused, name, worst ? worst : "none was refused");
    printf("# refused %d, harmless %d, the last transaction left out %d\n", refused, whole, last_only);
    free(name);
    free(worst);
    free(file);
    free(path);
}

/* The file closed cleanly, then cut at many lengths. */
static void
test_truncated(const char *base)
{
    char *whole = in_folder("whole"), *path = in_folder("cut"), *worst = NULL;
    copy_store(base, whole);
    free(read_back(whole)); /* brings the log in */
    off_t size = size_of(whole);
    for (off_t to = 0; to < size && !worst; to += to < 4096 ? 511 : 4001) {
        copy_store(whole, path);
        if (truncate(path, to)) {
            perror(path);
        }
        char *got = read_back(path);
        if (strncmp(got, "REFUSED", 7) != 0 && strcmp(got, history[RECORDS]) != 0) { /* the last page may have ended in nothing */
            worst = fs_xasprintf("cut at %lld of %lld: %.300s", (long long) to, (long long) size, got);
        }
        free(got);
    }
    ok(!worst, "a file cut at any length: refused or as it was", worst);
    test_flips(whole, "", 400);
    copy_store(whole, path);
    char *log = fs_xasprintf("%s.made", path);
    unlink(path);
    ok_refused(path, "somebody deleted it", "a store that was there and is gone is no empty store");
    unlink(log);
    ok_read(path, "", "where none was a new one is made");
    free(log);
    free(worst);
    free(whole);
    free(path);
}

static void
sql(const char *path, const char *words)
{
    sqlite3 *db;
    char *why = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, words, NULL, NULL, &why) != SQLITE_OK) {
        printf("Bail out! %s: %s\n", path, why);
        exit(1);
    }
    sqlite3_close(db);
}

/* Schema 2 kept XML, with another sum. */
static void
test_schema_2(const char *path)
{
    static const char make[] = "PRAGMA journal_mode=WAL; CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"
        "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), all_sums INTEGER NOT NULL, records INTEGER NOT NULL);"
        "INSERT INTO record VALUES ('k', '1', CAST('<value><struct><member><name>n</name><value><i4>7</i4></value></member></struct></value>' AS BLOB), -1386630463536237791);"
        "INSERT INTO meta VALUES (1, -1386630463536237791, 1); PRAGMA user_version=2";
    static const char *const damages[] = { "", "UPDATE record SET value = replace(value, '7', '8')", "DELETE FROM record" };
    static const char *const answers[] = { "1=7,0 ", "the record k '1' is not what was written", "it holds 0 records and should hold 1" };
    for (size_t i = 0; i < 3; i++) {
        copy_store("/nowhere", path);
        sql(path, make);
        sql(path, damages[i]);
        (i ? ok_refused : ok_read)(path, answers[i], i ? "one that is damaged is refused" : "a store of schema 2 is brought up");
    }
    ok_refused(path, answers[2], "and stays as it was");
}

static void
test_versions(const char *base)
{
    char *path = in_folder("version"), *old = in_folder("old");
    copy_store(base, path);
    sql(path, "PRAGMA user_version=9");
    ok_refused(path, "written by a newer Flowstream (schema 9, this one knows 3)", "a store of a newer version");
    copy_store(base, path);
    sql(path, "PRAGMA user_version=0");
    ok_refused(path, "it is no store of Flowstream", "a database of something else");
    copy_store(base, path);
    sql(path, "UPDATE record SET value = replace(value, 'xxx', 'yyy') WHERE name = '0003'");
    ok_refused(path, "the record k '0003' is not what was written", "a record changed behind our back");
    copy_store(base, path);
    sql(path, "DELETE FROM record WHERE name = '0003'");
    ok_refused(path, "it holds 14 records and should hold 15", "a record lost behind our back");
    sql(old, "PRAGMA journal_mode=WAL; CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"
             "INSERT INTO record VALUES ('k', '1', CAST('<value><struct><member><name>n</name><value><i4>7</i4></value></member></struct></value>' AS BLOB));"
             "PRAGMA user_version=1");
    ok_read(old, "1=7,0 ", "a store of schema 1 is brought up");
    ok_read(old, "1=7,0 ", "and stays so");
    test_schema_2(old);
    free(old);
    free(path);
}

static void
test_deleted(void)
{
    char *path = in_folder("deleted"), *error = NULL, *copy = in_folder("rescued");
    struct fs_store *s = open_new(path);
    put(s, 1, 11, 10, &error);
    unlink(path);
    ok(put(s, 2, 22, 10, &error) && strstr(error, "deleted or replaced") && strstr(error, "flowstream backup"), "deleted while it is used: refused, with the remedy", error);
    free(error);
    error = NULL;
    ok(!fs_store_backup(s, copy, &error), "a backup still has all", error);
    fs_store_close(s);
    ok_refused(path, "somebody deleted it", "the next start says it, too");
    ok_read(copy, "0001=11,10 ", "the backup is a store");
    free(path);
    free(copy);
}

/* Answered changes go into the log: where nobody finds it any more they would be gone with the process. */
static void
test_log_deleted(void)
{
    char *path = in_folder("unlogged"), *log = fs_xasprintf("%s-wal", path), *error = NULL;
    struct fs_store *s = open_new(path);
    put(s, 1, 11, 10, &error);
    unlink(log);
    ok(put(s, 2, 22, 10, &error) && strstr(error, "its log was deleted or replaced"), "the log deleted while it is used: refused", error);
    free(error);
    error = NULL;
    fs_store_close(s);
    ok_read(path, "0001=11,10 ", "what was answered before is kept");
    free(log);
    free(path);
}

/* The index beside the log is made anew, whatever it holds. */
static void
test_index(const char *base)
{
    char *path = in_folder("index"), *index = fs_xasprintf("%s-shm", path), junk[40000];
    memset(junk, 0x5a, sizeof junk);
    for (size_t size = 0; size <= sizeof junk; size += sizeof junk / 4) {
        copy_store(base, path);
        fs_write_file(AT_FDCWD, index, junk, size, 0600);
        ok_read(path, history[RECORDS], "an index that is torn or means nothing");
    }
    free(index);
    free(path);
}

/* A backup was put in the place of the store, and its log forgotten. */
static void
test_foreign_log(const char *base)
{
    char *path = in_folder("foreign"), *log = fs_xasprintf("%s-wal", path), *theirs = fs_xasprintf("%s-wal", base), *copy = in_folder("foreign.copy"), *error = NULL;
    char *bytes, *again;
    size_t n, m;
    struct fs_store *s = open_new(path);
    put(s, 1, 11, 3000, &error);
    put(s, 2, 22, 90000, &error);
    fs_store_close(s);
    copy_file(path, copy);
    copy_file(theirs, log);
    if (fs_read_file(AT_FDCWD, path, 64 << 20, false, &bytes, &n)) {
        exit(1);
    }
    ok_refused(path, "damaged", "the log of another store");
    bool same = !fs_read_file(AT_FDCWD, path, 64 << 20, false, &again, &m) && n == m && !memcmp(bytes, again, n);
    ok(same && size_of(log) > 0, "both are left as they were", NULL);
    unlink(log);
    ok_read(path, "0001=11,3000 0002=22,90000 ", "without that log it is whole");
    free(again);
    free(bytes);
    free(copy);
    free(theirs);
    free(log);
    free(path);
}

/* A store on another disk, by a symbolic link: its log lies there, too, and is looked at as well. */
static void
test_link(const char *base)
{
    char *path = in_folder("link"), *there = in_folder("there"), *log = fs_xasprintf("%s-wal", there), *error = NULL;
    copy_store(base, there);
    if (symlink(there, path)) {
        perror(path);
        exit(1);
    }
    ok_read(path, history[RECORDS], "a store that is a link");
    copy_store(base, there);
    flip(log, size_of(log) / 2, 1);
    ok_refused(path, "transactions follow", "with a log that is damaged where the link leads");
    copy_store(base, there);
    struct fs_store *s = open_new(path);
    unlink(there);
    ok(put(s, 99, 1, 10, &error) && strstr(error, "deleted or replaced"), "deleted where the link leads", error);
    free(error);
    fs_store_close(s);
    ok_refused(path, "somebody deleted it", "a link that leads nowhere is no empty store");
    unlink(path);
    free(log);
    free(there);
    free(path);
}

static void
test_no_file(void)
{
    char *path = in_folder("thing");
    mkdir(path, 0700);
    ok_refused(path, "it is no file", "a folder in the place of the store");
    rmdir(path);
    mkfifo(path, 0600);
    ok_refused(path, "it is no file", "a pipe in the place of the store");
    unlink(path);
    free(path);
}

/* --- A disk that cannot be synced: SQLite's own layer over files, with a sync that fails when we say so --- */

static int *syncs_fail; /* shared with the child */
static int (*true_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static sqlite3_vfs bad_vfs;
static sqlite3_io_methods bad_methods[2];
static const sqlite3_io_methods *true_methods[2];
static int (*true_sync)(sqlite3_file *, int);

static int
bad_sync(sqlite3_file *f, int flags)
{
    return *syncs_fail ? SQLITE_IOERR_FSYNC : true_sync(f, flags);
}

static int
bad_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    int code = true_open(vfs, name, f, flags, out);
    if (code == SQLITE_OK && f->pMethods) {
        size_t i = true_methods[0] && true_methods[0] != f->pMethods;
        true_methods[i] = f->pMethods;
        bad_methods[i] = *f->pMethods;
        true_sync = f->pMethods->xSync;
        bad_methods[i].xSync = bad_sync;
        f->pMethods = &bad_methods[i];
    }
    return code;
}

static void
test_sync_fails(void)
{
    char *path = in_folder("sync"), *words = in_folder("sync.said"), *said = NULL;
    size_t n;
    int status;
    syncs_fail = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        if (!freopen(words, "w", stderr)) {
            _exit(1);
        }
        bad_vfs = *sqlite3_vfs_find(NULL);
        true_open = bad_vfs.xOpen;
        bad_vfs.xOpen = bad_open;
        bad_vfs.zName = "bad";
        sqlite3_vfs_register(&bad_vfs, 1);
        struct fs_store *s = open_new(path);
        char *error = NULL;
        if (put(s, 1, 11, 10, &error) || put(s, 2, 22, 10, &error)) {
            _exit(2);
        }
        *syncs_fail = 1;
        put(s, 3, 33, 10, &error);
        _exit(3); /* it must not come back */
    }
    waitpid(pid, &status, 0);
    fs_read_file(AT_FDCWD, words, 65536, false, &said, &n);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == FS_STORE_EXIT, "a sync that fails ends the process at once", said);
    ok(said && strstr(said, path) && strstr(said, "could not be synced"), "and says why", said);
    free(said);
    char *got = read_back(path);
    ok(!strncmp(got, "0001=11,10 0002=22,10 ", 22), "the next start has all that was answered before", got);
    free(got);
    free(words);
    free(path);
}

/* --- Many writers --- */

static struct fs_store *shared;

static void *
write_many(void *aux)
{
    int base = (int) (intptr_t) aux * 1000;
    char *error = NULL;
    for (int i = 0; i < 50; i++) {
        if (put(shared, base + i, i, 50, &error)) {
            return error;
        }
    }
    return NULL;
}

static void
test_group(void)
{
    char *path = in_folder("group"), *copy = in_folder("group.copy"), *error = NULL;
    shared = open_new(path);
    ok(!put(shared, 0, 0, 50, &error), "one record before the backup, which one of the eight writes again", error);
    pthread_t threads[8];
    for (intptr_t i = 0; i < 8; i++) {
        pthread_create(&threads[i], NULL, write_many, (void *) i);
    }
    ok(!fs_store_backup(shared, copy, &error), "a backup while eight write", error);
    bool good = true;
    for (size_t i = 0; i < 8; i++) {
        void *why;
        pthread_join(threads[i], &why);
        good = good && !why;
    }
    struct fs_store_figures f;
    fs_store_figures(shared, &f);
    char *detail = fs_xasprintf("%llu changes, %llu commits, %llu records", (unsigned long long) f.changes, (unsigned long long) f.commits, (unsigned long long) f.records);
    ok(good && f.changes == 401 && f.records == 400 && f.commits <= 401, "eight writers at the same time", detail);
    printf("# %s\n", detail);
    ok(fs_store_backup(shared, copy, &error) == EEXIST && strstr(error, "already"), "a backup does not overwrite", error);
    free(error);
    error = NULL;
    ok(!fs_store_check(copy, &f, &error), "the backup is whole", error);
    fs_store_close(shared);
    char *bytes;
    size_t size;
    if (fs_read_file(AT_FDCWD, copy, 64 << 20, false, &bytes, &size)) {
        exit(1);
    }
    flip(copy, (const char *) memmem(bytes, size, "xxxxx", 5) - bytes, 3);
    free(bytes);
    ok(fs_store_check(copy, &f, &error) && strstr(error, copy), "a damaged backup is known as one", error);
    free(error);
    free(detail);
    free(copy);
    free(path);
}

int
main(void)
{
    if (!mkdtemp(folder) && !mkdtemp(folder = on_disk)) {
        perror(folder);
        return 1;
    }
    char *base = crashed();
    test_crash(base);
    test_torn(base);
    test_flips(base, "-wal", 400);
    test_truncated(base);
    test_versions(base);
    test_deleted();
    test_log_deleted();
    test_index(base);
    test_foreign_log(base);
    test_link(base);
    test_no_file();
    test_sync_fails();
    test_group();
    for (int i = 0; i <= RECORDS; i++) {
        free(history[i]);
    }
    free(base);
    char *away = fs_xasprintf("rm -rf %s", folder);
    if (system(away)) {
        printf("# %s is left\n", folder);
    }
    free(away);
    printf("1..%d\n", n_tests);
    return n_failed != 0;
}
