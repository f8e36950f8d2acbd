/* Fuzz target of what a daemon remembers of its methods: the record of versions, a patch under way and the crashes, any bytes each (the input is cut in three).  Whatever was read can be
 * listed, is written so that reading it again gives the same, and never names a method or a hash that is longer than its room. */
#include "config.h"

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/crash.h"
#include "core/util.h"
#include "core/versions.h"
#include <flowstream/log.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[] = "/dev/shm/flowstream-fuzz-XXXXXX"; /* in memory: each input is synced twice */

static void
clean_up(void)
{
    static const char *const names[] = { "versions", "pending", "crashes" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = fs_xasprintf("%s/%s", folder, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(folder);
}

static void
put(const char *name, const void *bytes, size_t size)
{
    char *path = fs_xasprintf("%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && write(fd, bytes, size) == (ssize_t) size);
    close(fd);
    free(path);
}

/* Everything that is known, as one text. */
static char *
listing(struct fs_versions *v)
{
    struct fs_text t = { 0 };
    size_t n;
    const struct fs_version **list = fs_versions_list(v, 0, NULL, &n);
    fs_text_addf(&t, "%llu\n", (unsigned long long) fs_versions_generation(v));
    for (size_t i = 0; i < n; i++) {
        assert(strlen(list[i]->name) < sizeof list[i]->name && strlen(list[i]->hash) < sizeof list[i]->hash);
        const char *counted;
        uint64_t counter = fs_versions_counter(v, list[i]->kind, list[i]->name, &counted);
        fs_text_addf(&t, "%d %s %s %lld %s %llu %s\n", (int) list[i]->kind, list[i]->name, list[i]->hash, (long long) list[i]->time, list[i]->source, (unsigned long long) counter, counted);
    }
    free(list);
    const struct fs_refusal *r = fs_versions_refusals(v, &n);
    for (size_t i = 0; i < n; i++) {
        assert(fs_versions_refused(v, r[i].hash));
        fs_text_addf(&t, "%s %s\n", r[i].hash, r[i].why);
    }
    return t.text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static bool ready;
    if (!ready) {
        ready = mkdtemp(folder) != NULL;
        atexit(clean_up);
        fs_log_set_level("", "error");
        assert(ready);
    }
    const uint8_t *second = size ? memchr(bytes, 1, size) : NULL, *end = bytes + size;
    const uint8_t *third = second ? memchr(second + 1, 1, (size_t) (end - second - 1)) : NULL;
    put("versions", bytes, (size_t) ((second ? second : end) - bytes));
    put("pending", second ? second + 1 : end, (size_t) (second ? (third ? third : end) - second - 1 : 0));
    put("crashes", third ? third + 1 : end, (size_t) (third ? end - third - 1 : 0));
    struct fs_versions *v = fs_versions_read(folder);
    size_t n;
    free(fs_versions_pending(v, &n));
    fs_versions_refuse(v, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "for the test"); /* so that there is something to write */
    char *before = listing(v);
    assert(!fs_versions_write(v));
    fs_versions_destroy(v);
    put("crashes", "", 0);
    v = fs_versions_read(folder);
    char *after = listing(v);
    if (strcmp(before, after)) {
        fprintf(stderr, "before:\n%s\nafter:\n%s\n", before, after);
        abort();
    }
    free(before);
    free(after);
    fs_versions_destroy(v);
    return 0;
}
