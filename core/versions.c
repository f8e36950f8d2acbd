/* The record of versions: a line a fact, "WORD ...", in the files 'versions' and 'pending'. */
#include "config.h"

#include "core/versions.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/crash.h"
#include "core/loader.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("versions");

#define GENERATION_MAX ((uint64_t) 1 << 52) /* clients get it as a double */

enum { RECORD_MAX = 64 << 20, CRASHES_ALLOWED = 3, CRASH_SECONDS = 60 };

struct counter {
    enum fs_method_kind kind;
    char name[65], hash[FS_HASH_SIZE];
    uint64_t highest;
};

struct fs_versions {
    char *folder;
    bool changed;
    uint64_t generation; /* the last one given out */
    struct fs_version *list; /* newest last */
    size_t n;
    struct fs_refusal *refused;
    size_t n_refused;
    struct counter *counters;
    size_t n_counters;
};

static char
letter(enum fs_method_kind kind)
{
    return kind == FS_KIND_TASK ? 't' : 'c';
}

static enum fs_method_kind
kind_of(char c)
{
    return c == 't' ? FS_KIND_TASK : FS_KIND_COMMAND;
}

bool
fs_method_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 && name[0] != '.'
           && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") == n;
}

/* --- Reading --- */

static struct fs_version *
add_version(struct fs_versions *v)
{
    v->list = fs_xrealloc(v->list, (v->n + 1) * sizeof *v->list);
    memset(&v->list[v->n], 0, sizeof *v->list);
    return &v->list[v->n++];
}

static struct counter *
add_counter(struct fs_versions *v)
{
    v->counters = fs_xrealloc(v->counters, (v->n_counters + 1) * sizeof *v->counters);
    memset(&v->counters[v->n_counters], 0, sizeof *v->counters);
    return &v->counters[v->n_counters++];
}

static void
add_refusal(struct fs_versions *v, const char *hash, int64_t when, const char *why)
{
    v->refused = fs_xrealloc(v->refused, (v->n_refused + 1) * sizeof *v->refused);
    struct fs_refusal *r = &v->refused[v->n_refused++];
    snprintf(r->hash, sizeof r->hash, "%.64s", hash);
    r->time = when;
    r->why = fs_xstrdup(why);
}

/* What a record says is used in names of files and in answers, so a damaged one must not get that far. */
static bool
is_decent(char kind, const char *name, const char *hash)
{
    return (kind == 't' || kind == 'c') && fs_method_name_ok(name) && strlen(hash) == FS_HASH_SIZE - 1 && strspn(hash, "0123456789abcdef") == FS_HASH_SIZE - 1;
}

static void
raise_generation(struct fs_versions *v, uint64_t number)
{
    v->generation = number > v->generation ? number : v->generation;
}

static bool
read_line(struct fs_versions *v, const char *line)
{
    char kind, name[65], hash[FS_HASH_SIZE], source[16];
    uint64_t number;
    int64_t when;
    int at = 0;
    for (const char *p = line; *p; p++) {
        if (*p < ' ' || *p > '~') {
            return false;
        }
    }
    if (sscanf(line, "generation %" SCNu64, &number) == 1 && number <= GENERATION_MAX) {
        raise_generation(v, number);
    } else if (sscanf(line, "version %c %64s %64s %" SCNu64 " %" SCNd64 " %15s", &kind, name, hash, &number, &when, source) == 6 && is_decent(kind, name, hash)
               && number <= GENERATION_MAX) {
        struct fs_version *one = add_version(v);
        one->kind = kind_of(kind);
        memcpy(one->name, name, sizeof name);
        memcpy(one->hash, hash, sizeof hash);
        memcpy(one->source, source, sizeof source);
        one->generation = number;
        one->time = when;
        raise_generation(v, number);
    } else if (sscanf(line, "counter %c %64s %" SCNu64 " %64s", &kind, name, &number, hash) == 4 && is_decent(kind, name, hash)) {
        fs_versions_set_counter(v, kind_of(kind), name, number, hash);
    } else if (sscanf(line, "refused %64s %" SCNd64 " %n", hash, &when, &at) == 2 && at && is_decent('t', "a", hash)) {
        add_refusal(v, hash, when, line + at);
    } else {
        return false;
    }
    return true;
}

static void
read_record(struct fs_versions *v)
{
    char *path = fs_xasprintf("%s/versions", v->folder), *text = NULL, *rest = NULL;
    size_t size;
    int e = fs_read_file(AT_FDCWD, path, RECORD_MAX, true, &text, &size);
    if (e && e != ENOENT) {
        fs_log_warning("%s: %s: the versions from before are forgotten", path, strerror(e));
    }
    for (char *line = e ? NULL : strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (!read_line(v, line)) {
            fs_log_warning("%s: a line is damaged and left out: %.80s", path, line);
        }
    }
    free(e ? NULL : text);
    free(path);
}

/* Three crashes of one version within a minute take it out. */
static void
count_crashes(struct fs_versions *v)
{
    size_t n;
    struct fs_crash *crashes = fs_crash_read(v->folder, &n);
    for (size_t i = 0; i + CRASHES_ALLOWED <= n; i++) {
        size_t same = 1;
        for (size_t k = i + 1; k < n && same < CRASHES_ALLOWED; k++) {
            same += !strcmp(crashes[i].hash, crashes[k].hash) && crashes[k].time - crashes[i].time <= CRASH_SECONDS;
        }
        if (same == CRASHES_ALLOWED && !fs_versions_refused(v, crashes[i].hash)) {
            fs_log_error("%s %s (%.12s) made this daemon die %d times within %d seconds: it is taken out", crashes[i].kind == 't' ? "task" : "command", crashes[i].name,
                         crashes[i].hash, CRASHES_ALLOWED, CRASH_SECONDS);
            fs_versions_refuse(v, crashes[i].hash, "it made the daemon die three times within a minute");
        }
    }
    free(crashes);
}

struct fs_versions *
fs_versions_read(const char *folder)
{
    struct fs_versions *v = fs_xcalloc(1, sizeof *v);
    v->folder = fs_xstrdup(folder);
    read_record(v);
    fs_crash_trim(folder);
    count_crashes(v);
    return v;
}

void
fs_versions_destroy(struct fs_versions *v)
{
    if (v) {
        for (size_t i = 0; i < v->n_refused; i++) {
            free(v->refused[i].why);
        }
        free(v->refused);
        free(v->counters);
        free(v->list);
        free(v->folder);
        free(v);
    }
}

/* --- Writing --- */

/* 'fsync' on the folder: a new name is there after a crash of the machine as well. */
static int
replace(const struct fs_versions *v, const char *name, const char *text, size_t size)
{
    int dir = open(v->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = dir < 0 ? errno : fs_write_file(dir, name, text, size, 0600);
    if (!e && fsync(dir)) {
        e = errno;
    }
    if (dir >= 0) {
        close(dir);
    }
    return e;
}

int
fs_versions_write(struct fs_versions *v)
{
    if (!v->changed) {
        return 0;
    }
    struct fs_text t = { 0 };
    fs_text_addf(&t, "generation %" PRIu64 "\n", v->generation);
    for (size_t i = 0; i < v->n; i++) {
        const struct fs_version *one = &v->list[i];
        fs_text_addf(&t, "version %c %s %s %" PRIu64 " %" PRId64 " %s\n", letter(one->kind), one->name, one->hash, one->generation, one->time, one->source);
    }
    for (size_t i = 0; i < v->n_counters; i++) {
        const struct counter *c = &v->counters[i];
        fs_text_addf(&t, "counter %c %s %" PRIu64 " %s\n", letter(c->kind), c->name, c->highest, c->hash);
    }
    for (size_t i = 0; i < v->n_refused; i++) {
        fs_text_addf(&t, "refused %s %" PRId64 " %s\n", v->refused[i].hash, v->refused[i].time, v->refused[i].why);
    }
    int e = replace(v, "versions", t.text, t.length);
    free(t.text);
    v->changed = e != 0;
    return e;
}

/* --- Versions --- */

static bool
is_of(const struct fs_version *one, enum fs_method_kind kind, const char *name)
{
    return one->kind == kind && !strcmp(one->name, name);
}

static void
drop_version(struct fs_versions *v, size_t i)
{
    memmove(&v->list[i], &v->list[i + 1], (v->n - i - 1) * sizeof *v->list);
    v->n--;
}

bool
fs_versions_note(struct fs_versions *v, enum fs_method_kind kind, const char *name, const char *hash, const char *source)
{
    size_t kept = 0, again = SIZE_MAX;
    for (size_t i = v->n; i--;) { /* from the newest: that is the active one */
        if (is_of(&v->list[i], kind, name)) {
            if (!kept && !strcmp(v->list[i].hash, hash)) {
                return false;
            }
            again = !strcmp(v->list[i].hash, hash) ? i : again;
            kept++;
        }
    }
    if (again != SIZE_MAX) { /* it comes back: it is listed once */
        drop_version(v, again);
        kept--;
    }
    for (size_t i = 0; i < v->n && kept >= FS_VERSIONS_KEPT;) {
        if (is_of(&v->list[i], kind, name)) {
            drop_version(v, i);
            kept--;
        } else {
            i++;
        }
    }
    struct fs_version *one = add_version(v);
    one->kind = kind;
    snprintf(one->name, sizeof one->name, "%s", name);
    snprintf(one->hash, sizeof one->hash, "%s", hash);
    snprintf(one->source, sizeof one->source, "%s", source);
    one->generation = ++v->generation;
    one->time = (int64_t) time(NULL);
    v->changed = true;
    return true;
}

static int
by_method(const void *a, const void *b)
{
    const struct fs_version *const *x = a, *const *y = b;
    int c = (*x)->kind != (*y)->kind ? ((*x)->kind < (*y)->kind ? -1 : 1) : strcmp((*x)->name, (*y)->name);
    return c ? c : (*x)->generation > (*y)->generation ? -1 : (*x)->generation < (*y)->generation;
}

const struct fs_version **
fs_versions_list(const struct fs_versions *v, enum fs_method_kind kind, const char *name, size_t *n)
{
    const struct fs_version **list = fs_xcalloc(v->n + 1, sizeof *list);
    *n = 0;
    for (size_t i = 0; i < v->n; i++) {
        if (!name || is_of(&v->list[i], kind, name)) {
            list[(*n)++] = &v->list[i];
        }
    }
    qsort(list, *n, sizeof *list, by_method);
    return list;
}

bool
fs_versions_has(const struct fs_versions *v, const char *hash)
{
    for (size_t i = 0; i < v->n; i++) {
        if (!strcmp(v->list[i].hash, hash)) {
            return true;
        }
    }
    return false;
}

uint64_t
fs_versions_generation(const struct fs_versions *v)
{
    return v->generation;
}

/* --- Refused hashes --- */

const char *
fs_versions_refused(const struct fs_versions *v, const char *hash)
{
    for (size_t i = 0; i < v->n_refused; i++) {
        if (!strcmp(v->refused[i].hash, hash)) {
            return v->refused[i].why;
        }
    }
    return NULL;
}

void
fs_versions_refuse(struct fs_versions *v, const char *hash, const char *why)
{
    if (!fs_versions_refused(v, hash)) {
        add_refusal(v, hash, (int64_t) time(NULL), why);
        v->changed = true;
    }
}

bool
fs_versions_lift(struct fs_versions *v, const char *hash)
{
    size_t kept = 0, before = v->n_refused;
    for (size_t i = 0; i < v->n_refused; i++) {
        if (*hash && strcmp(v->refused[i].hash, hash)) {
            v->refused[kept++] = v->refused[i];
        } else {
            fs_crash_forget(v->folder, v->refused[i].hash);
            free(v->refused[i].why);
        }
    }
    v->n_refused = kept;
    v->changed |= kept != before;
    return kept != before;
}

const struct fs_refusal *
fs_versions_refusals(const struct fs_versions *v, size_t *n)
{
    *n = v->n_refused;
    return v->refused;
}

/* --- Counters of signatures --- */

static struct counter *
find_counter(const struct fs_versions *v, enum fs_method_kind kind, const char *name)
{
    for (size_t i = 0; i < v->n_counters; i++) {
        if (v->counters[i].kind == kind && !strcmp(v->counters[i].name, name)) {
            return &v->counters[i];
        }
    }
    return NULL;
}

uint64_t
fs_versions_counter(const struct fs_versions *v, enum fs_method_kind kind, const char *name, const char **hash)
{
    const struct counter *c = find_counter(v, kind, name);
    *hash = c ? c->hash : "";
    return c ? c->highest : 0;
}

void
fs_versions_set_counter(struct fs_versions *v, enum fs_method_kind kind, const char *name, uint64_t counter, const char *hash)
{
    struct counter *c = find_counter(v, kind, name);
    if (!c) {
        c = add_counter(v);
        c->kind = kind;
        snprintf(c->name, sizeof c->name, "%s", name);
    }
    if (c->highest != counter || strcmp(c->hash, hash)) {
        c->highest = counter;
        snprintf(c->hash, sizeof c->hash, "%s", hash);
        v->changed = true;
    }
}

/* --- A patch under way --- */

int
fs_versions_begin(struct fs_versions *v, const struct fs_intent *intents, size_t n)
{
    struct fs_text t = { 0 };
    for (size_t i = 0; i < n; i++) {
        fs_text_addf(&t, "%c %s %s\n", letter(intents[i].kind), intents[i].name, intents[i].hash);
    }
    fs_text_addf(&t, "end\n"); /* without it the file was not written to its end */
    int e = replace(v, "pending", t.text, t.length);
    free(t.text);
    return e;
}

void
fs_versions_end(struct fs_versions *v)
{
    char *path = fs_xasprintf("%s/pending", v->folder);
    if (unlink(path) && errno != ENOENT) {
        fs_log_warning("%s: %s", path, strerror(errno));
    }
    free(path);
}

struct fs_intent *
fs_versions_pending(struct fs_versions *v, size_t *n)
{
    char *path = fs_xasprintf("%s/pending", v->folder), *text = NULL, *rest = NULL;
    struct fs_intent *list = NULL;
    size_t size;
    *n = 0;
    bool there = !fs_read_file(AT_FDCWD, path, RECORD_MAX, true, &text, &size), whole = there && size >= 4 && !strcmp(text + size - 4, "end\n");
    for (char *line = whole ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        struct fs_intent one;
        char kind;
        if (sscanf(line, "%c %64s %64s", &kind, one.name, one.hash) == 3 && is_decent(kind, one.name, one.hash)) {
            one.kind = kind_of(kind);
            list = fs_xrealloc(list, (*n + 1) * sizeof *list);
            list[(*n)++] = one;
        }
    }
    free(there ? text : NULL);
    free(path);
    return list;
}
