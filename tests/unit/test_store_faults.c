/* The store on a disk that fails: each operation of each kind of work, one after the other, fails once, or all fail from there on, until the work gets through.
 *
 * Below SQLite is its own layer over files with a counter; the work is done in a child, and what it leaves is read by a healthy process: what was answered is
 * there, what was not is wholly there or not at all, and the store can be opened.  Prints TAP. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
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

enum { REFUSED = 1, MOST = 20000, BIG = 20000, LARGE = 200000, HUGE = 20 << 20 /* more than the log may grow */ };

static int n_tests, n_failed;
static char in_memory[] = "/dev/shm/flowstream-faults-XXXXXX", on_disk[] = "/tmp/flowstream-faults-XXXXXX", *folder = in_memory;

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

/* --- A disk that fails --- */

/* Shared with the child. */
static struct disk {
    int operations, fail_at; /* 0: none */
    bool from_there_on;
} *disk;

static int (*true_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static int (*true_delete)(sqlite3_vfs *, const char *, int);
static sqlite3_vfs failing_vfs;
static sqlite3_io_methods failing[2];
static const sqlite3_io_methods *whole[2]; /* with locks and without */

static bool
fails(void)
{
    int n = ++disk->operations;
    return disk->fail_at && (n == disk->fail_at || (disk->from_there_on && n > disk->fail_at));
}

static int
failing_write(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at)
{
    return fails() ? SQLITE_FULL : whole[0]->xWrite(f, bytes, n, at);
}

static int
failing_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : whole[0]->xTruncate(f, size);
}

static int
failing_sync(sqlite3_file *f, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : whole[0]->xSync(f, flags);
}

static int
failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    f->pMethods = NULL;
    int code = flags & SQLITE_OPEN_CREATE && fails() ? SQLITE_CANTOPEN : true_open(vfs, name, f, flags, out);
    if (code == SQLITE_OK && f->pMethods) {
        size_t i = whole[0] && whole[0] != f->pMethods;
        whole[i] = f->pMethods;
        failing[i] = *f->pMethods;
        failing[i].xWrite = failing_write;
        failing[i].xTruncate = failing_truncate;
        failing[i].xSync = failing_sync;
        f->pMethods = &failing[i];
    }
    return code;
}

static int
failing_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    return fails() ? SQLITE_IOERR_DELETE : true_delete(vfs, name, sync);
}

static void
use_failing_disk(void)
{
    failing_vfs = *sqlite3_vfs_find(NULL);
    true_open = failing_vfs.xOpen;
    true_delete = failing_vfs.xDelete;
    failing_vfs.xOpen = failing_open;
    failing_vfs.xDelete = failing_delete;
    failing_vfs.zName = "failing";
    sqlite3_vfs_register(&failing_vfs, 1);
}

/* --- Stores --- */

static char *
in_folder(const char *name)
{
    return fs_xasprintf("%s/%s", folder, name);
}

/* All files of the store by that name, and of its backup. */
static void
remove_all(const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-journal", ".made", ".new", ".new-journal", ".new-wal", ".new-shm", ".copy", ".copy.new", ".copy.new-journal" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char *file = fs_xasprintf("%s%s", path, ends[i]);
        unlink(file);
        free(file);
    }
}

static bool
is_there(const char *path, const char *end)
{
    char *file = fs_xasprintf("%s%s", path, end);
    bool there = !access(file, F_OK);
    free(file);
    return there;
}

static int
put(struct fs_store *s, const char *name, int n, size_t size, char **error)
{
    char *big = fs_xcalloc(1, size + 1);
    memset(big, 'x', size);
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "n", fs_int(n)), "text", fs_string(big));
    int e = fs_store_write(s, &(struct fs_record) { "k", name, v }, 1, error);
    fs_free(v);
    free(big);
    return e;
}

static void
add_line(void *aux, const char *name, xmlrpc_value *v)
{
    fs_text_addf(aux, "%s=%d,%zu ", name, fs_get_int(v, "n", -1), strlen(fs_get_string(v, "text", "")));
    fs_free(v);
}

/* What a healthy process reads, or "REFUSED why". */
static char *
read_back(const char *path)
{
    struct fs_store *s = NULL;
    struct fs_text t = { 0 };
    char *error = NULL;
    fs_text_addf(&t, "%s", "");
    if (fs_store_open(path, &s, &error) || fs_store_read(s, "k", add_line, &t, &error)) {
        fs_text_addf(&t, "REFUSED %s", error);
        free(error);
    }
    fs_store_close(s);
    return t.text;
}

/* --- Work: each begins with what 'prepare' has made, and ends with 0 or REFUSED --- */

static int
answer(int e, char *error)
{
    free(error);
    return e ? REFUSED : 0;
}

static void
prepare_nothing(const char *path)
{
    (void) path;
}

static void
prepare_old(const char *path)
{
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK
        || sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"
                            "INSERT INTO record VALUES ('k', '1', CAST('<value><struct><member><name>n</name><value><i4>7</i4></value></member></struct></value>' AS BLOB));"
                            "PRAGMA user_version=1", NULL, NULL, NULL) != SQLITE_OK) {
        printf("Bail out! %s\n", path);
        exit(1);
    }
    sqlite3_close(db);
}

/* As kill -9 leaves it: with a log. */
static void
prepare_killed(const char *path)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        struct fs_store *s;
        char *error = NULL;
        _exit(fs_store_open(path, &s, &error) || put(s, "1", 7, 0, &error) || put(s, "2", 8, BIG, &error));
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) {
        printf("Bail out! %s\n", path);
        exit(1);
    }
}

static int
work_open(const char *path)
{
    struct fs_store *s = NULL;
    char *error = NULL;
    int e = fs_store_open(path, &s, &error);
    fs_store_close(e ? NULL : s);
    return answer(e, error);
}

/* Two changes, by one who goes on after the first has failed; the second is what it ends with. */
static int
change_twice(const char *path, size_t size)
{
    struct fs_store *s = NULL;
    char *error = NULL;
    if (fs_store_open(path, &s, &error)) {
        return answer(1, error);
    }
    put(s, "3", 9, BIG, &error);
    free(error);
    error = NULL;
    int e = put(s, "1", 9, size, &error);
    fs_store_close(s);
    return answer(e, error);
}

static int
work_write(const char *path)
{
    return change_twice(path, LARGE);
}

static int
work_write_much(const char *path)
{
    return change_twice(path, HUGE);
}

static int
work_backup(const char *path)
{
    struct fs_store *s = NULL;
    char *error = NULL, *copy = fs_xasprintf("%s.copy", path);
    int e = fs_store_open(path, &s, &error);
    if (!e) {
        e = fs_store_backup(s, copy, &error);
        fs_store_close(s);
    }
    free(copy);
    return answer(e, error);
}

/* --- What must be true afterwards: NULL, or what is not (owned) --- */

static char *
judge_read(const char *path, const char *before, const char *after, int status)
{
    char *got = read_back(path), *why = NULL;
    if (strcmp(got, after) && (!status || strcmp(got, before))) {
        why = fs_xasprintf("after status %d it holds %.300s", status, got);
    }
    free(got);
    return why;
}

static char *
judge_empty(const char *path, int status)
{
    return judge_read(path, "", "", status);
}

static char *
judge_old(const char *path, int status)
{
    return judge_read(path, "1=7,0 ", "1=7,0 ", status);
}

static char *
judge_killed(const char *path, int status)
{
    return judge_read(path, "1=7,0 2=8,20000 ", "1=7,0 2=8,20000 ", status);
}

/* Of two changes each may be there or not where one has failed. */
static char *
judge_write(const char *path, int status)
{
    char *got = read_back(path), *why = NULL;
    bool first = strstr(got, "3=9,20000 "), second = strstr(got, "1=9,200000 ") || strstr(got, "1=9,20971520 "), before = strstr(got, "1=7,0 "), other = strstr(got, "2=8,20000 ");
    if (!other || second == before || (!status && !second) || (!first && strstr(got, "3="))) {
        why = fs_xasprintf("after status %d it holds %.300s", status, got);
    }
    free(got);
    return why;
}

static char *
judge_backup(const char *path, int status)
{
    char *copy = fs_xasprintf("%s.copy", path), *why = judge_killed(path, status), *error = NULL;
    struct fs_store_figures f;
    if (!why && is_there(path, ".copy") && (fs_store_check(copy, &f, &error) || f.records != 2)) {
        why = fs_xasprintf("the copy: %s", error ? error : "not all records");
    } else if (!why && !status && !is_there(path, ".copy")) {
        why = fs_xasprintf("there is no copy");
    } else if (!why && status == REFUSED && is_there(path, ".copy.new")) {
        why = fs_xasprintf("half a copy is left");
    }
    free(error);
    free(copy);
    return why;
}

static const struct {
    const char *name;
    void (*prepare)(const char *path);
    int (*work)(const char *path);
    char *(*judge)(const char *path, int status);
    int step; /* which operations fail; 0: each */
} works[] = {
    { "a first start", prepare_nothing, work_open, judge_empty, 0 },
    { "an older schema is brought up", prepare_old, work_open, judge_old, 0 },
    { "a start after kill -9", prepare_killed, work_open, judge_killed, 0 },
    { "two changes", prepare_killed, work_write, judge_write, 0 },
    { "two changes and the log brought in", prepare_killed, work_write_much, judge_write, 601 },
    { "a backup", prepare_killed, work_backup, judge_backup, 0 },
};

/* The work in a child: its status, or what is wrong with how it ended. */
static int
run_child(int (*work)(const char *), const char *path, char **why)
{
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, 2); /* the store's log */
        use_failing_disk();
        disk->operations = 0;
        _exit(work(path));
    }
    int status;
    waitpid(pid, &status, 0);
    int ended = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (ended != 0 && ended != REFUSED && ended != FS_STORE_EXIT) {
        *why = fs_xasprintf("it ended with status %#x", (unsigned) status);
    }
    return ended;
}

static void
test_work(size_t i, bool from_there_on)
{
    char *path = in_folder("store"), *why = NULL;
    int refused = 0, ended = 0, last = 0;
    disk->from_there_on = from_there_on;
    for (disk->fail_at = 1; disk->fail_at <= MOST && !why; disk->fail_at += works[i].step ? works[i].step : 1) {
        remove_all(path);
        works[i].prepare(path);
        int status = run_child(works[i].work, path, &why);
        refused += status == REFUSED;
        ended += status == FS_STORE_EXIT;
        why = why ? why : works[i].judge(path, status);
        if (why) {
            char *at = fs_xasprintf("operation %d of %d: %s", disk->fail_at, disk->operations, why);
            free(why);
            why = at;
        }
        last = disk->operations;
        if (last < disk->fail_at) {
            break;
        }
    }
    char *name = fs_xasprintf("%s while one of %d operations of the disk fails%s: %d refused, %d ended the process", works[i].name, last, from_there_on ? ", and all after it" : "",
                              refused, ended);
    ok(!why && last && refused + ended, name, why ? why : "nothing has failed");
    free(name);
    free(why);
    remove_all(path);
    free(path);
}

int
main(void)
{
    if (!mkdtemp(folder) && !mkdtemp(folder = on_disk)) {
        perror(folder);
        return 1;
    }
    disk = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        test_work(i, false);
        test_work(i, true);
    }
    if (rmdir(folder)) {
        ok(false, "nothing is left in the folder", strerror(errno));
    }
    printf("1..%d\n", n_tests);
    return n_failed != 0;
}
