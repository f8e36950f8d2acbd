/* A placement step for measurements: the modules of a request go, in turn, to the hosts that its NAME lists ("h1.h2").
 *
 * Dropped into the resource daemon's own folder of tasks by the programs beside it; measurements need to know where modules run.  For the default embedded
 * platform, where every path between two places leads over its one top-of-rack switch. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

enum { MAX_HOSTS = 8 };

static size_t
split(char *list, const char *hosts[MAX_HOSTS])
{
    size_t n = 0;
    char *rest = NULL;
    for (char *word = strtok_r(list, ".", &rest); word && n < MAX_HOSTS; word = strtok_r(NULL, ".", &rest)) {
        hosts[n++] = word;
    }
    return n;
}

static xmlrpc_value *
path_value(const char *from, const char *to)
{
    xmlrpc_value *path = fs_append(fs_array(), fs_string(from));
    return !strcmp(from, to) ? path : fs_append(fs_append(path, fs_string("tor0")), fs_string(to));
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *request = fs_get(fs_call_param(call, 0), "request"), *nodes = fs_get(request, "nodes");
    char *list = fs_xstrdup(fs_get_string(fs_get(request, "headers"), "NAME", ""));
    const char *chosen[MAX_HOSTS];
    size_t n = split(list, chosen), at = 0;
    xmlrpc_value *hosts = fs_struct(), *ports = fs_struct(), *places = fs_struct(), *paths = fs_array();
    for (size_t i = 0; n && i < fs_size(nodes); i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        const char *name = fs_get_string(node, "name", ""), *kind = fs_get_string(node, "kind", "");
        bool module = !strcmp(kind, "module");
        const char *place = module ? chosen[at++ % n] : fs_text(fs_item(fs_get(node, "ports"), 0), "");
        if (module || !strcmp(kind, "to")) {
            fs_set(module ? hosts : ports, name, fs_string(place));
            fs_set(places, name, fs_string(place));
        }
    }
    xmlrpc_value *flows = resource_flows(fs_call_state(call), request);
    for (size_t i = 0; i < fs_size(flows); i++) {
        const xmlrpc_value *flow = fs_item(flows, i);
        const char *io = fs_get_string(flow, "io", "");
        fs_append(paths, path_value(*io ? io : fs_get_string(places, fs_get_string(flow, "from", ""), ""),
                                    fs_get_string(places, fs_get_string(flow, "to", ""), "")));
    }
    fs_free(flows);
    fs_free(places);
    fs_call_return(call, fs_set(fs_set(fs_set(fs_struct(), "hosts", hosts), "ports", ports), "paths", paths));
    free(list);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "place_allocation",
    .help = "For measurements: puts the modules of a request on the hosts that its NAME lists (\"h1.h2\"), in turn.",
    .params = { { "parameter", "struct", "id; request (as compile_request answers)" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
