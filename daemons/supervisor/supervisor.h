/* What the files of flowstream-supervisor share.  The program uses nothing but the C library: what holds the others up must not fall with them. */
#ifndef DAEMONS_SUPERVISOR_SUPERVISOR_H
#define DAEMONS_SUPERVISOR_SUPERVISOR_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_SOCKETS = 8, MAX_WORDS = 32 };

/* A program that is to run. */
struct service {
    char *name;
    char *log, *pid_file, *cwd;
    char *args[MAX_WORDS + 1], *env[MAX_WORDS + 1], *stale[MAX_WORDS + 1]; /* NULL-terminated; stale: removed before each start */
    char *listen[MAX_SOCKETS + 1];                                         /* "tcp HOST:PORT" or "unix PATH", in the order of the descriptors 3, 4, ... */
    char *watch; /* socket of a database: run once after each of its changes, not kept running; NULL: an ordinary service */
    int watch_fd; /* -1: not connected */
    bool failed;  /* with another status than 0 the last time */
    bool wanted;  /* there was a change since it was last run */
    int64_t connect_ms; /* when to try to connect again */
    int sockets[MAX_SOCKETS];                                              /* held while it is down for a moment, too; -1: not open */
    /* Now. */
    pid_t pid; /* 0: it does not run */
    unsigned long long start_time;
    int pidfd;
    bool child;       /* ours by fork: its status can be asked */
    int64_t began_ms; /* when it was started or found, monotonic */
    int64_t next_ms;  /* when to try again */
    unsigned restarts, failures; /* failures: ends in a row, each soon after the start */
    char *last_exit;
    struct service *next;
};

/* services.c: the file that says what is to run. NULL with *error (owned), else the list (owned) in *list. */
bool services_read(const char *path, struct service **list, char **error);
void service_destroy(struct service *);
/* Do both listen at the same addresses? */
bool service_listens_alike(const struct service *, const struct service *);

/* watch.c: look for changes, connecting first where that is due. */
void service_watch(struct service *);

/* process.c */
int64_t now_ms(void);
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Open the sockets that are not; false with a line in the log. */
bool service_open_sockets(struct service *);
void service_close_sockets(struct service *);
/* Start it; false when it could not even be forked. */
bool service_start(struct service *);
/* If its pid file names a living process, that is it: take it over, with the sockets that it holds. */
bool service_adopt(struct service *);
/* Has it ended?  Then last_exit says how. */
bool service_has_ended(struct service *);

#endif
