/* The log, by module.  Levels live in one small table; a module keeps a copy and reads it again when the table's generation has moved,
 * so a line that is not wanted costs two loads. */
#include "config.h"

#include <flowstream/log.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"

static const char *const level_names[] = { "error", "warning", "info", "debug" };

enum { MAX_MODULES = 64, N_LEVELS = sizeof level_names / sizeof *level_names };

static struct {
    pthread_mutex_t lock;
    char daemon[64];
    unsigned generation;
    enum fs_log_level otherwise;
    size_t n;
    struct {
        char name[32];
        enum fs_log_level level;
        bool own; /* set, not just seen */
    } modules[MAX_MODULES];
} table = { .lock = PTHREAD_MUTEX_INITIALIZER, .generation = 1, .otherwise = FS_LOG_INFO };

static __thread char request_id[40];

void
fs_log_open(const char *daemon)
{
    snprintf(table.daemon, sizeof table.daemon, "%s", daemon);
}

/* Index of 'name' in the table, made if need be; MAX_MODULES when the table is full. Called with the lock held. */
static size_t
row(const char *name)
{
    for (size_t i = 0; i < table.n; i++) {
        if (!strcmp(table.modules[i].name, name)) {
            return i;
        }
    }
    if (table.n == MAX_MODULES) {
        return MAX_MODULES;
    }
    snprintf(table.modules[table.n].name, sizeof table.modules[table.n].name, "%s", name);
    return table.n++;
}

bool
fs_log_wants(struct fs_log_module *m, enum fs_log_level level)
{
    if (__atomic_load_n(&m->seen, __ATOMIC_ACQUIRE) != __atomic_load_n(&table.generation, __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&table.lock);
        size_t i = row(m->name);
        enum fs_log_level now = i < MAX_MODULES && table.modules[i].own ? table.modules[i].level : table.otherwise;
        __atomic_store_n(&m->level, now, __ATOMIC_RELAXED);
        __atomic_store_n(&m->seen, table.generation, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&table.lock);
    }
    return level <= __atomic_load_n(&m->level, __ATOMIC_RELAXED);
}

bool
fs_log_spare(struct fs_log_module *m)
{
    int64_t second = fs_now_ms() / 1000;
    if (__atomic_exchange_n(&m->window, second, __ATOMIC_RELAXED) != second) {
        unsigned before = __atomic_exchange_n(&m->burst, 0, __ATOMIC_RELAXED);
        if (before > 20) {
            fs_log_write(m, FS_LOG_WARNING, "%u more lines like the last ones were left out", before - 20);
        }
    }
    return __atomic_add_fetch(&m->burst, 1, __ATOMIC_RELAXED) <= 20;
}

void
fs_log_write(struct fs_log_module *m, enum fs_log_level level, const char *format, ...)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char head[256], stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(head, sizeof head, "%s.%03ldZ %s %s %s%s%s: ", stamp, now.tv_nsec / 1000000, table.daemon, level_names[level],
             m->name, *request_id ? " request=" : "", request_id);
    va_list args;
    va_start(args, format);
    char *what = fs_xvasprintf(format, args);
    va_end(args);
    for (char *p = what; *p; p++) { /* a peer's bytes may be in it: one event stays one line */
        if ((unsigned char) *p < ' ' && *p != '\n') {
            *p = ' ';
        }
    }
    struct fs_text line = { 0 };
    fs_text_addf(&line, "%s", head);
    for (char *p = what, *end; *p; p = end + (*end == '\n')) {
        end = p + strcspn(p, "\n");
        fs_text_add(&line, p, (size_t) (end - p));
        if (*end && end[1]) {
            fs_text_add(&line, " | ", 3);
        }
    }
    fs_text_add(&line, "\n", 1);
    (void) !write(STDERR_FILENO, line.text, line.length); /* one write: lines of threads do not mix */
    free(line.text);
    free(what);
}

bool
fs_log_set_level(const char *module, const char *level)
{
    size_t i = 0;
    while (i < N_LEVELS && strcmp(level, level_names[i])) {
        i++;
    }
    if (i == N_LEVELS || strlen(module) >= sizeof table.modules->name
        || strspn(module, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(module)) {
        return false;
    }
    pthread_mutex_lock(&table.lock);
    size_t r = *module ? row(module) : MAX_MODULES;
    bool known = !*module || r < MAX_MODULES;
    if (!*module) {
        table.otherwise = (enum fs_log_level) i;
    } else if (known) {
        table.modules[r].level = (enum fs_log_level) i;
        table.modules[r].own = true;
    }
    __atomic_add_fetch(&table.generation, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&table.lock);
    return known;
}

xmlrpc_value *
fs_log_levels(void)
{
    xmlrpc_value *v = fs_struct();
    pthread_mutex_lock(&table.lock);
    fs_set(v, "", fs_string(level_names[table.otherwise]));
    for (size_t i = 0; i < table.n; i++) {
        enum fs_log_level level = table.modules[i].own ? table.modules[i].level : table.otherwise;
        fs_set(v, table.modules[i].name, fs_string(level_names[level]));
    }
    pthread_mutex_unlock(&table.lock);
    return v;
}

void
fs_log_set_request(const char *id)
{
    snprintf(request_id, sizeof request_id, "%s", id ? id : "");
}

const char *
fs_log_request(void)
{
    return request_id;
}
