/* get_meters: the meters of a switch with their counts, and whether it can have more. */
#include <stdlib.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "daemons/openflow/meters.h"
#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 8000 };

static xmlrpc_value *
describe(struct fs_switch *sw, const xmlrpc_value *which, char **error)
{
    xmlrpc_value *others = NULL, *meters = openflow_meters(sw, fs_get_int(which, "allocation", -1), &others, SWITCH_MS, error);
    return meters ? fs_set(fs_set(fs_struct(), "meters", meters), "others", others) : NULL;
}

/* Those of the ids that are taken: a short answer, however many meters there are. */
static xmlrpc_value *
look_up(struct fs_switch *sw, const xmlrpc_value *ids, char **error)
{
    struct fs_meter *meters = NULL;
    size_t n = 0;
    xmlrpc_value *taken = fs_switch_meters(sw, false, &meters, &n, SWITCH_MS, error) ? NULL : fs_array();
    for (size_t i = 0; i < fs_size(ids) && taken; i++) {
        for (size_t k = 0; k < n; k++) {
            if (fs_number(fs_item(ids, i), 0) == meters[k].id) {
                fs_append(taken, fs_double(meters[k].id));
            }
        }
    }
    free(meters);
    return taken ? fs_set(fs_struct(), "taken", taken) : NULL;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *which = fs_call_param(call, 0), *ids = fs_get(which, "ids");
    char *error = NULL;
    uint32_t room = 0;
    struct fs_switch *sw = switches_get(fs_call_state(call), fs_get_string(which, "switch", ""), fs_get_string(which, "target", ""), &error);
    xmlrpc_value *v = NULL;
    if (sw && !fs_switch_meter_room(sw, &room, SWITCH_MS, &error)) {
        v = ids ? look_up(sw, ids, &error) : describe(sw, which, &error);
    }
    if (v) {
        fs_call_return(call, fs_set(v, "most", fs_double(room)));
    } else {
        fs_call_fail(call, "%s", error);
    }
    free(error);
}

static const struct fs_member members[] = {
    OPENFLOW_WHICH,
    { "allocation", "int?", 0, 0, "only its meters" },
    { "ids", "array?", 0, 0, "ids to look for" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_meters",
    .help = "Tells of a switch's meters: most, how many it can have (0: none that Flowstream can use), meters, Flowstream's: meter (its id), allocation, kbps, burst (kbit), packets "
            "and bytes that came to it, rate_drops and rate_drop_bytes of these, and others: the ids of those that are somebody else's. Where ids are asked for, "
            "instead of meters and others: taken, those of them that a meter has, whosever it is.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
