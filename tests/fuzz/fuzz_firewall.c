/* Fuzz target: the arguments of a Firewall, and a packet for it.  The input is the arguments, a zero byte, the packet.  The type is
 * driven by its descriptor, as the runner does. */
#include "config.h"

#include <flowstream/module.h>

#include <stdlib.h>
#include <string.h>

enum { ARGS_MAX = 4096 };

extern const struct fs_module_type fs_module_type_v1;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
emit(struct fs_emitter *out, uint32_t port, const struct fs_packet *packet)
{
    (void) packet;
    if (port >= out->n_outputs) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    size_t n = end ? (size_t) (end - data) : size;
    if (n > ARGS_MAX) {
        return 0;
    }
    char *args = strndup((const char *) data, n), *why = NULL;
    void *state = fs_module_type_v1.configure(args, 1, &why);
    if (!state && !why) {
        abort(); /* a refusal has a reason */
    }
    if (state && end) {
        size_t length = size - n - 1;
        uint8_t *frame = malloc(length ? length : 1); /* so that a sanitizer sees a byte too many */
        memcpy(frame, end + 1, length);
        struct fs_packet packet = { .data = frame, .length = (uint32_t) length, .room = (uint32_t) length };
        struct fs_emitter out = { .emit = emit, .n_outputs = 1, .pass = emit };
        fs_module_type_v1.process(state, &packet, 1, &out);
        free(fs_module_type_v1.read(state, "rules"));
        free(frame);
    }
    fs_module_type_v1.destroy(state);
    free(why);
    free(args);
    return 0;
}
