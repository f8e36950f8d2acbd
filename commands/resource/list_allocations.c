/* list_allocations: all allocations, or a page of them, with counters as the monitoring daemon last saw them. */
#include <limits.h>
#include <stdlib.h>

#include <flowstream/method.h>

#include "daemons/resource/resource.h"
#include "daemons/resource/show.h"

static void
run(struct fs_call *call)
{
    struct resource *r = fs_call_state(call);
    const xmlrpc_value *options = fs_call_param(call, 0);
    bool brief = fs_get_bool(options, "brief", false);
    int most = fs_get_int(options, "most", 0);
    size_t n;
    int *ids = resource_allocation_ids_after(r, fs_get_int(options, "after", 0), most > 0 ? (size_t) most : SIZE_MAX, &n);
    xmlrpc_value *counters = n && !brief ? resource_counters(call, -1, NULL, false) : NULL, *all = fs_array();
    struct resource_counts *counts = resource_sort_counters(fs_get(counters, "modules"));
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *shown = brief ? resource_brief(r, ids[i]) : NULL, *doc = brief ? NULL : resource_allocation(r, ids[i]);
        shown = doc ? resource_show(doc, counts) : shown;
        if (shown) {
            fs_append(all, resource_show_health(r, shown));
        }
        fs_free(doc);
    }
    free(ids);
    free(counts);
    fs_free(counters);
    fs_call_return(call, all);
}

static const struct fs_member options[] = {
    { "after", "int?", 0, 0, "only those with a higher id" },
    { "most", "int?", 0, INT_MAX, "so many of them (default 0: all)" },
    { "brief", "boolean?", 0, 0, "only id, name, owner, kind, state, message, created, hosts (names) and module_count" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "list_allocations",
    .help = "Lists all allocations as get_allocation tells them, without text and rules; counters are two seconds old at most, on a crowded platform ten times what it takes to read all. "
            "Of very many, ask for a page at a time: the ids ascend.",
    .params = { { "options", "struct?", NULL } },
    .members = { options },
    .returns = "array",
    .idempotent = true,
    .run = run,
};
