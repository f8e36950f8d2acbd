/* Failpoints of test builds: which are armed, and what they do.  See include/flowstream/failpoint.h; other builds have nothing of this. */
#include "config.h"

#include <flowstream/failpoint.h>

#ifdef FS_FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util.h"

struct point {
    char *name;
    enum { OFF, FAIL, KILL, DELAY } action;
    unsigned ms, at, hits; /* it fires when 'at' has come down to 0 */
    struct point *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct point *points;

static struct point *
find(const char *name)
{
    struct point *p = points;
    while (p && strcmp(p->name, name) != 0) {
        p = p->next;
    }
    if (!p) {
        p = fs_xcalloc(1, sizeof *p);
        p->name = fs_xstrdup(name);
        p->next = points;
        points = p;
    }
    return p;
}

static char *
arm(const char *name, const char *action)
{
    struct point new = { .at = 1 };
    char word[16] = "";
    const char *at = strchr(action, '@');
    if (sscanf(action, "%15[a-z]", word) != 1 || (at && sscanf(at, "@%u", &new.at) != 1) || !new.at) {
        return fs_xasprintf("failpoint %s: '%s' is no action", name, action);
    }
    if (!strcmp(word, "error") || !strcmp(word, "short")) {
        new.action = FAIL;
    } else if (!strcmp(word, "kill")) {
        new.action = KILL;
    } else if (!strcmp(word, "delay") && sscanf(action, "delay:%u", &new.ms) == 1 && new.ms <= 60000) {
        new.action = DELAY;
    } else if (strcmp(word, "off") != 0) {
        return fs_xasprintf("failpoint %s: '%s' is none of error, short, kill, delay:MILLISECONDS (60000 at most), off", name, action);
    }
    struct point *p = find(name);
    p->action = new.action;
    p->ms = new.ms;
    p->at = new.at;
    return NULL;
}

static void
arm_all(char *text, const char *where)
{
    char *rest = NULL;
    for (char *one = strtok_r(text, ";", &rest); one; one = strtok_r(NULL, ";", &rest)) {
        char *equals = strchr(one, '='), *wrong = NULL;
        if (equals) {
            *equals = '\0';
            wrong = arm(one, equals + 1);
        }
        if (!equals || wrong) {
            fprintf(stderr, "%s: %s\n", where, wrong ? wrong : one);
            exit(2);
        }
    }
    free(text);
}

static void
read_orders(void)
{
    const char *given = getenv("FLOWSTREAM_FAILPOINTS");
    char *text;
    size_t n;
    pthread_mutex_lock(&lock); /* somebody may be asking how often one was hit */
    arm_all(fs_xstrdup(given ? given : ""), "FLOWSTREAM_FAILPOINTS");
    if (!fs_read_file(AT_FDCWD, "failpoints", 4096, true, &text, &n)) {
        unlink("failpoints"); /* for this start alone */
        text[strcspn(text, "\n")] = '\0';
        arm_all(text, "failpoints");
    }
    pthread_mutex_unlock(&lock);
}

char *
fs_failpoint_set(const char *name, const char *action)
{
    pthread_once(&once, read_orders);
    pthread_mutex_lock(&lock);
    char *wrong = arm(name, action);
    pthread_mutex_unlock(&lock);
    return wrong;
}

unsigned
fs_failpoint_hits(const char *name)
{
    pthread_mutex_lock(&lock);
    unsigned hits = find(name)->hits;
    pthread_mutex_unlock(&lock);
    return hits;
}

bool
fs_failpoint(const char *name)
{
    pthread_once(&once, read_orders);
    pthread_mutex_lock(&lock);
    struct point *p = find(name), now = *p;
    p->hits++;
    bool fires = p->action != OFF && --p->at == 0;
    if (fires) {
        p->action = OFF;
    }
    pthread_mutex_unlock(&lock);
    if (fires && now.action == KILL) {
        kill(getpid(), SIGKILL);
    } else if (fires && now.action == DELAY) {
        usleep(now.ms * 1000);
    }
    return fires && now.action == FAIL;
}

#endif
