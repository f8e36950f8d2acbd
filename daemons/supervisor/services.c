/* The file of services: lines "KEY VALUE", a service from "service NAME" to "end".  The value is the rest of the line, blanks and all.
 *
 *     service resource
 *     arg /usr/bin/flowstream-resource        program and arguments, one a line
 *     arg --config=/run/flowstream/resource/config.xml
 *     log FILE        both outputs are appended to it
 *     pid FILE        "PID STARTTIME", written by the started process before it becomes the program
 *     cwd FOLDER
 *     env NAME=VALUE
 *     stale FILE      removed before each start
 *     watch SOCKET    not kept running, but run after each change of the Open vSwitch database at this socket
 *     listen tcp HOST:PORT | unix PATH        handed on as descriptors 3, 4, ... (LISTEN_FDS)
 *     end */
#include "daemons/supervisor/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
service_destroy(struct service *s)
{
    if (s) {
        char **const lists[] = { s->args, s->env, s->stale, s->listen };
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            for (char **p = lists[i]; *p; p++) {
                free(*p);
            }
        }
        service_close_sockets(s);
        if (s->pidfd >= 0) {
            close(s->pidfd);
        }
        if (s->watch_fd >= 0) {
            close(s->watch_fd);
        }
        free(s->watch);
        free(s->name);
        free(s->log);
        free(s->pid_file);
        free(s->cwd);
        free(s->last_exit);
        free(s);
    }
}

static bool
same_list(char *const *a, char *const *b)
{
    while (*a && *b && !strcmp(*a, *b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

bool
service_listens_alike(const struct service *a, const struct service *b)
{
    return same_list(a->listen, b->listen);
}

static struct service *
new_service(const char *name)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s) {
        abort();
    }
    s->name = text("%s", name);
    s->pidfd = s->watch_fd = -1;
    for (size_t i = 0; i < MAX_SOCKETS; i++) {
        s->sockets[i] = -1;
    }
    return s;
}

static bool
append(char **list, size_t room, const char *value)
{
    size_t n = 0;
    while (list[n]) {
        n++;
    }
    if (n < room) {
        list[n] = text("%s", value);
    }
    return n < room;
}

static bool
set(char **member, const char *value)
{
    bool first = !*member;
    if (first) {
        *member = text("%s", value);
    }
    return first;
}

/* One line of a service; false: it makes no sense. */
static bool
take(struct service *s, const char *key, const char *value)
{
    return !strcmp(key, "arg")      ? append(s->args, MAX_WORDS, value)
           : !strcmp(key, "env")    ? strchr(value, '=') && append(s->env, MAX_WORDS, value)
           : !strcmp(key, "stale")  ? append(s->stale, MAX_WORDS, value)
           : !strcmp(key, "listen") ? (!strncmp(value, "tcp ", 4) || !strncmp(value, "unix ", 5)) && append(s->listen, MAX_SOCKETS, value)
           : !strcmp(key, "log")    ? set(&s->log, value)
           : !strcmp(key, "pid")    ? set(&s->pid_file, value)
           : !strcmp(key, "cwd")    ? set(&s->cwd, value)
           : !strcmp(key, "watch")  ? set(&s->watch, value)
                                    : false;
}

static bool
is_whole(const struct service *s)
{
    return s->args[0] && s->log && s->pid_file && s->cwd && *s->name;
}

bool
services_read(const char *path, struct service **list, char **error)
{
    FILE *f = fopen(path, "re");
    struct service *now = NULL, **tail = list;
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t n;
    *list = NULL;
    *error = f ? NULL : text("%s: %s", path, strerror(errno));
    while (!*error && (n = getline(&line, &room, f)) >= 0) {
        number++;
        if (n && line[n - 1] == '\n') {
            line[--n] = '\0';
        }
        char *blank = strchr(line, ' '), *value = blank ? blank + 1 : line + n;
        if (blank) {
            *blank = '\0';
        }
        if (!now && !strcmp(line, "service") && *value) {
            now = new_service(value);
        } else if (now && !strcmp(line, "end") && is_whole(now)) {
            *tail = now;
            tail = &now->next;
            now = NULL;
        } else if (*line && (!now || !take(now, line, value))) {
            *error = text("%s:%zu: '%s' makes no sense here", path, number, line);
        }
    }
    if (!*error && now) {
        *error = text("%s: the last service has no end", path);
    }
    if (f) {
        fclose(f);
    }
    free(line);
    service_destroy(now);
    if (*error) {
        while (*list) {
            struct service *next = (*list)->next;
            service_destroy(*list);
            *list = next;
        }
    }
    return !*error;
}
