/* How many durable changes a second: threads that each write one record of 2 kB at a time and wait until it is on the disk.
 *
 * usage: store-load FOLDER SECONDS.  The rows: writers, changes/s, syncs/s, microseconds of processor a change; and the same disk
 * written and synced by hand, 2 kB at a time, as what to compare with. */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/store.h"
#include "core/util.h"

enum { MAX_WRITERS = 64 };

static struct fs_store *store;
static int64_t end_ms;

static void *
write_on(void *aux)
{
    char name[32], big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    for (unsigned i = 0; fs_now_ms() < end_ms; i++) {
        char *error = NULL;
        snprintf(name, sizeof name, "%zu-%u", (size_t) (uintptr_t) aux, i % 100);
        xmlrpc_value *v = fs_set(fs_struct(), "text", fs_string(big));
        if (fs_store_write(store, &(struct fs_record) { "bench", name, v }, 1, &error)) {
            fprintf(stderr, "%s\n", error);
            exit(1);
        }
        fs_free(v);
    }
    return NULL;
}

static double
cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void
measure(size_t writers, int ms)
{
    pthread_t threads[MAX_WRITERS];
    struct fs_store_figures before, after;
    fs_store_figures(store, &before);
    double used = cpu();
    int64_t begin = fs_now_ms();
    end_ms = begin + ms;
    for (size_t i = 0; i < writers; i++) {
        pthread_create(&threads[i], NULL, write_on, (void *) (uintptr_t) i);
    }
    for (size_t i = 0; i < writers; i++) {
        pthread_join(threads[i], NULL);
    }
    double seconds = (double) (fs_now_ms() - begin) / 1e3;
    fs_store_figures(store, &after);
    double changes = (double) (after.changes - before.changes);
    printf("%-8zu %10.0f %10.0f %10.0f\n", writers, changes / seconds, (double) (after.commits - before.commits) / seconds, (cpu() - used) / changes);
}

static void
by_hand(const char *folder, int ms)
{
    char *path = fs_xasprintf("%s/by-hand", folder), block[2000] = "";
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int64_t end = fs_now_ms() + ms;
    double n = 0, used = cpu();
    while (fs_now_ms() < end && write(fd, block, sizeof block) == sizeof block && !fdatasync(fd)) {
        n++;
    }
    printf("by hand  %10.0f %10.0f %10.0f\n", n * 1e3 / ms, n * 1e3 / ms, (cpu() - used) / n);
    close(fd);
    unlink(path);
    free(path);
}

int
main(int argc, char **argv)
{
    if (argc != 3 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: store-load FOLDER SECONDS\n");
        return 2;
    }
    char *path = fs_xasprintf("%s/store.db", argv[1]), *error = NULL;
    if (fs_store_open(path, &store, &error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    printf("%-8s %10s %10s %10s\n", "writers", "changes/s", "syncs/s", "us/change");
    int ms = atoi(argv[2]) * 1000;
    by_hand(argv[1], ms);
    static const size_t writers[] = { 1, 2, 8, 16, 64 };
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        measure(writers[i], ms);
    }
    by_hand(argv[1], ms);
    fs_store_close(store);
    free(path);
    return 0;
}
