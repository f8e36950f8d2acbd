/* A module type that misbehaves as its argument says: what test_pm.py tries the walls with. */
#include <flowstream/module.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static char mood[32];

/* A sentence that configure() hands back as its error: what the attempt came to. */
static void *
tell(char **error, const char *what, long result)
{
    if (asprintf(error, "%s: %ld", what, result) < 0) {
        *error = NULL;
    }
    return NULL;
}

static void *
configure(const char *args, uint32_t n_outputs, char **error)
{
    (void) n_outputs;
    snprintf(mood, sizeof mood, "%s", args);
    if (!strcmp(args, "open")) {
        return tell(error, "open", open("/etc/passwd", O_RDONLY));
    }
    if (!strcmp(args, "create")) {
        return tell(error, "create", open("/new", O_WRONLY | O_CREAT, 0600));
    }
    if (!strcmp(args, "socket")) {
        return tell(error, "socket", socket(AF_INET, SOCK_DGRAM, 0));
    }
    if (!strcmp(args, "fork")) {
        return tell(error, "fork", fork());
    }
    if (!strcmp(args, "loop")) {
        for (;;) {
            sleep(1);
        }
    }
    return calloc(1, 1);
}

static void
process(void *state, struct fs_packet *packets, size_t n, struct fs_emitter *out)
{
    (void) state;
    if (!strcmp(mood, "crash")) {
        raise(SIGSEGV);
        *(volatile char *) 0 = 1;
    } else if (!strcmp(mood, "exec")) {
        void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        fprintf(stderr, "%p\n", p);
    } else if (!strcmp(mood, "open")) {
        open("/type.so", O_RDONLY);
    } else if (!strcmp(mood, "hog")) {
        for (;;) {
            char *p = malloc(1 << 20);
            if (!p) {
                abort();
            }
            memset(p, 1, 1 << 20);
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct fs_packet p = packets[i];
        p.length = !strcmp(mood, "long") ? 1u << 20 : p.length;
        out->emit(out, !strcmp(mood, "port") ? 77 : 0, &p);
    }
}

static const struct fs_module_primitive primitives[] = { { NULL, NULL } };

FS_MODULE_TYPE = {
    .magic = FS_MODULE_MAGIC, .abi = FS_MODULE_ABI, .name = "Hostile", .description = "", .arguments = "", .primitives = primitives,
    .max_inputs = 1, .max_outputs = 1, .configure = configure, .destroy = free, .process = process,
};
