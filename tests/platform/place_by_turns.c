/* A placement step for tests, dropped into a running resource daemon: the modules of a request go to the module hosts by turns, in the order of
 * the hosts' names, so that every chain crosses computers.  For platforms of one switch, tor0, that all hosts and ports hang on. */
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>

#include "core/util.h"
#include "daemons/resource/resource.h"

/* The name of the I-th host that is up, the caller's to free, or NULL. */
static char *
host_by_turn(struct resource *r, size_t turn)
{
    xmlrpc_value *hosts = resource_hosts(r);
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < fs_size(hosts) && n < 64; i++) {
        const char *name = fs_get_string(fs_item(hosts, i), "name", "");
        if (!strcmp(fs_get_string(fs_item(hosts, i), "state", ""), "up")) {
            size_t at = n++;
            for (; at && strcmp(names[at - 1], name) > 0; at--) {
                names[at] = names[at - 1];
            }
            names[at] = name;
        }
    }
    char *chosen = n ? fs_xstrdup(names[turn % n]) : NULL;
    fs_free(hosts);
    return chosen;
}

/* Fills in where each module runs and which port each ToNet gets. */
static bool
place_nodes(struct resource *r, const xmlrpc_value *request, xmlrpc_value *hosts, xmlrpc_value *ports)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    size_t turn = 0;
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *node = fs_item(nodes, i);
        const char *name = fs_get_string(node, "name", ""), *kind = fs_get_string(node, "kind", "");
        if (!strcmp(kind, "module")) {
            char *host = host_by_turn(r, turn++);
            if (!host) {
                return false;
            }
            fs_set(hosts, name, fs_string(host));
            free(host);
        } else if (!strcmp(kind, "to")) {
            fs_set(ports, name, fs_string(fs_text(fs_item(fs_get(node, "ports"), 0), "")));
        }
    }
    return true;
}

static xmlrpc_value *
path_of(const xmlrpc_value *flow, const xmlrpc_value *hosts, const xmlrpc_value *ports)
{
    const char *from = fs_get_string(flow, "io", ""), *node = fs_get_string(flow, "to", "");
    from = *from ? from : fs_get_string(hosts, fs_get_string(flow, "from", ""), "");
    const char *to = fs_get(hosts, node) ? fs_get_string(hosts, node, "") : fs_get_string(ports, node, "");
    xmlrpc_value *path = fs_append(fs_array(), fs_string(from));
    if (strcmp(from, to)) {
        fs_append(fs_append(path, fs_string("tor0")), fs_string(to));
    }
    return path;
}

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *request = fs_get(fs_call_param(call, 0), "request");
    xmlrpc_value *flows = resource_flows(r, request), *hosts = fs_struct(), *ports = fs_struct(), *paths = fs_array();
    bool placed = place_nodes(r, request, hosts, ports);
    for (size_t i = 0; i < fs_size(flows); i++) {
        fs_append(paths, path_of(fs_item(flows, i), hosts, ports));
    }
    fs_free(flows);
    xmlrpc_value *placement = fs_set(fs_set(fs_set(fs_struct(), "hosts", hosts), "ports", ports), "paths", paths);
    if (placed) {
        fs_call_return(call, placement);
    } else {
        fs_free(placement);
        fs_call_fail(call, "no module host is up");
    }
}

FS_TASK = {
    FS_IS_TASK,
    .name = "place_allocation",
    .help = "Places modules by turns on the hosts that are up.",
    .params = { { "parameter", "struct", "id; request (as compile_request answers)" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
