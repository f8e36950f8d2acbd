/* get_digests: sums over the rules and meters of each allocation in a switch: whether anything has changed since they were looked at, in a short answer. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>
#include <flowstream/openflow.h>

#include "core/daemon.h"
#include "core/util.h"
#include "daemons/openflow/switches.h"

enum { SWITCH_MS = 8000 };

/* One sum over all; sums of another process of this daemon mean nothing, so its incarnation is a part of it. */
static char *
whole(struct fs_call *call, const struct fs_digest *d, size_t n)
{
    uint64_t sum = n;
    for (size_t i = 0; i < n; i++) {
        sum = (sum ^ d[i].allocation) * UINT64_C(0x100000001b3);
        sum = (sum ^ d[i].digest) * UINT64_C(0x100000001b3);
    }
    return fs_xasprintf("%s-%016" PRIx64, fs_daemon_incarnation(fs_call_daemon(call)), sum);
}

static xmlrpc_value *
owners(const struct fs_digest *d, size_t n)
{
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *one = fs_append(fs_array(), fs_int((int) d[i].allocation));
        fs_append(one, fs_stringf("%u-%016" PRIx64, d[i].n, d[i].digest));
        fs_append(all, fs_append(one, fs_int((int) d[i].n_meters)));
    }
    return all;
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *which = fs_call_param(call, 0);
    struct fs_digest *d = NULL;
    size_t n = 0;
    char *error = NULL;
    struct fs_switch *sw = switches_get(fs_call_state(call), fs_get_string(which, "switch", ""), fs_get_string(which, "target", ""), &error);
    if (sw && !fs_switch_digests(sw, &d, &n, SWITCH_MS, &error)) {
        char *sum = whole(call, d, n);
        xmlrpc_value *v = fs_set(fs_struct(), "digest", fs_string(sum));
        if (strcmp(sum, fs_get_string(which, "known", ""))) {
            fs_set(v, "owners", owners(d, n));
        }
        free(sum);
        fs_call_return(call, v);
    } else {
        fs_call_fail(call, "%s", error);
    }
    free(d);
    free(error);
}

static const struct fs_member members[] = {
    OPENFLOW_WHICH,
    { "known", "string?", 0, 0, "the digest that the caller has" },
    { 0 },
};

FS_COMMAND = {
    FS_IS_COMMAND,
    .name = "get_digests",
    .help = "Sums up Flowstream's rules and meters in a switch: digest, of all of them, and owners, an array of [allocation, digest of its rules and meters, number of its meters], ascending. Digests change with places, "
            "actions, cookies and timeouts, not with counters, and are to be compared with earlier ones only. Without owners where the digest is the one that is known.",
    .params = { { "which", "struct", NULL } },
    .members = { members },
    .returns = "struct",
    .idempotent = true,
    .run = run,
};
