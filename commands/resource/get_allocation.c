/* get_allocation: one allocation, with counters read now. */
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"
#include "daemons/resource/show.h"

static void
run(struct fs_call *call)
{
    int id = fs_call_int(call, 0, 0);
    xmlrpc_value *doc = resource_allocation(fs_call_state(call), id);
    if (!doc) {
        fs_call_fail(call, "there is no allocation %d (list_allocations lists them)", id);
        return;
    }
    xmlrpc_value *counters = resource_counters(call, id, doc, true);
    struct resource_counts *counts = resource_sort_counters(fs_get(counters, "modules"));
    xmlrpc_value *v = resource_show_health(fs_call_state(call), resource_show(doc, counts));
    free(counts);
    fs_set(v, "text", fs_string(fs_get_string(doc, "text", "")));
    fs_set(v, "warnings", fs_string(fs_get_string(fs_get(doc, "request"), "warnings", "")));
    xmlrpc_value *problems = fs_copy(fs_get(counters, "problems"));
    fs_set(v, "meters", resource_show_meters(call, id, doc, problems));
    fs_set(v, "problems", problems);
    fs_set(v, "rules", fs_get(fs_get(doc, "plan"), "rules") ? fs_copy(fs_get(fs_get(doc, "plan"), "rules")) : fs_array());
    fs_call_return(call, v);
    fs_free(counters);
    fs_free(doc);
}

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_allocation",
    .help = "Tells all about one allocation: id, name, owner, state, message, text, warnings (of the language, a text), modules (name, type, host, state, packets in, out and dropped, bytes, rates: read now), ports "
            "chosen for its ToNets, paths, rules of each switch, meters (of switches that hold its links to their rate: switch, from, meter, kbps, burst, packets and bytes that came, rate_drops and "
            "rate_drop_bytes of these), problems (what could not be read).",
    .params = { { "alloc_id", "int", "the id that install_allocation answered" } },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
