/* The table of switches of the OpenFlow daemon.  It keeps nothing on disk: whoever calls names switch and target, and the resource daemon names
 * all of them every few seconds. */
#include "config.h"

#include "daemons/openflow/switches.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "daemons/openflow/news.h"
#include <flowstream/log.h>

FS_LOG_MODULE("openflow");

enum { WATCH_MS = 1000 };

struct entry {
    char *name, *target;
    struct fs_switch *sw, *reader;
    struct fs_follow *follow;
    struct entry *next; /* newest first */
};

struct switches {
    const char *incarnation; /* of the daemon */
    pthread_mutex_t lock;
    struct entry *entries;
    struct news *news;
};

static void
library_says(void *aux, int priority, const char *module, const char *message)
{
    (void) aux;
    fs_log_limited(priority <= 4 ? FS_LOG_WARNING : FS_LOG_DEBUG, "%s: %s", module, message);
}

void *
switches_start(struct fs_daemon *daemon, const struct fs_settings *settings, char **error)
{
    (void) settings;
    (void) error;
    struct switches *s = fs_xcalloc(1, sizeof *s);
    s->incarnation = fs_daemon_incarnation(daemon);
    pthread_mutex_init(&s->lock, NULL);
    fs_openflow_set_log(library_says, NULL);
    s->news = news_start(daemon, s);
    return s;
}

void
switches_stop(void *state)
{
    struct switches *s = state;
    news_stop(s->news);
    for (struct entry *e = s->entries, *next; e; e = next) {
        next = e->next;
        fs_switch_destroy(e->sw);
        fs_switch_destroy(e->reader);
        fs_follow_destroy(e->follow);
        free(e->name);
        free(e->target);
        free(e);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct entry *
find(struct switches *s, const char *name, const char *target, char **error)
{
    if (!*name || (strncmp(target, "unix:", 5) && strncmp(target, "tcp:", 4))) {
        *error = fs_xasprintf("switch '%.64s': target '%.200s' is neither unix:PATH nor tcp:ADDRESS:PORT", name, target);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    struct entry *e = s->entries;
    while (e && (strcmp(e->name, name) || strcmp(e->target, target))) {
        e = e->next;
    }
    if (!e) {
        e = fs_xcalloc(1, sizeof *e);
        e->name = fs_xstrdup(name);
        e->target = fs_xstrdup(target);
        e->sw = fs_switch_new(name, target);
        e->reader = fs_switch_new(name, target);
        e->follow = fs_follow_new(name, target);
        e->next = s->entries;
        s->entries = e;
        fs_log_info("switch %s at %s", name, target);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

struct fs_switch *
switches_get(struct switches *s, const char *name, const char *target, char **error)
{
    struct entry *e = find(s, name, target, error);
    return e ? e->sw : NULL;
}

struct fs_switch *
switches_reader(struct switches *s, const char *name, const char *target, char **error)
{
    struct entry *e = find(s, name, target, error);
    return e ? e->reader : NULL;
}

struct fs_follow *
switches_follow(struct switches *s, const char *name, const char *target, char **error)
{
    struct entry *e = find(s, name, target, error);
    return e ? e->follow : NULL;
}

xmlrpc_value *
switches_state(struct switches *s, uint64_t state)
{
    return state ? fs_stringf("%s-%" PRIu64, s->incarnation, state) : fs_string("");
}

uint64_t
switches_read_state(struct switches *s, const char *text)
{
    size_t n = strlen(s->incarnation);
    return !strncmp(text, s->incarnation, n) && text[n] == '-' ? strtoull(text + n + 1, NULL, 10) : 0;
}

/* Each word of a text that has a space behind each. */
static xmlrpc_value *
words(const char *text)
{
    xmlrpc_value *list = fs_array();
    for (const char *end; (end = strchr(text, ' ')); text = end + 1) {
        fs_append(list, fs_stringf("%.*s", (int) (end - text), text));
    }
    return list;
}

static xmlrpc_value *
describe(struct switches *s, struct entry *e)
{
    struct fs_switch_watch watch = { 0 };
    char *error = NULL;
    if (fs_switch_watch(e->sw, WATCH_MS, &watch, &error)) {
        fs_log_limited(FS_LOG_WARNING, "%s", error);
    }
    free(error);
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "name", fs_string(e->name)), "target", fs_string(e->target));
    fs_set(v, "session", fs_int((int) watch.session));
    fs_set(v, "ports", fs_stringf("%016" PRIx64, watch.ports));
    fs_set(v, "down", words(watch.down ? watch.down : ""));
    fs_set(v, "rules", switches_state(s, fs_follow_state(e->follow, false)));
    free(watch.down);
    return v;
}

void
switches_each(struct switches *s, void (*each)(void *aux, const struct switches_one *), void *aux)
{
    pthread_mutex_lock(&s->lock);
    struct entry *first = s->entries;
    pthread_mutex_unlock(&s->lock);
    for (struct entry *e = first; e; e = e->next) {
        each(aux, &(struct switches_one) { e->name, e->target, e->sw, e->follow });
    }
}

/* Entries are never taken out, so the lock is not held while switches are asked. */
xmlrpc_value *
switches_list(struct switches *s)
{
    xmlrpc_value *all = fs_array();
    pthread_mutex_lock(&s->lock);
    struct entry *first = s->entries;
    pthread_mutex_unlock(&s->lock);
    for (struct entry *e = first; e; e = e->next) {
        bool newer = false;
        for (struct entry *x = first; x != e; x = x->next) {
            newer = newer || !strcmp(x->name, e->name);
        }
        if (!newer) {
            fs_append(all, describe(s, e));
        }
    }
    return all;
}
