/* Meters between values and switches, for install_rules, remove_rules, mend_rules, get_meters and get_statistics. */
#include "config.h"

#include "daemons/openflow/meters.h"

#include <errno.h>
#include <stdlib.h>

#include "core/util.h"

char *
openflow_read_meters(const xmlrpc_value *list, uint32_t allocation, struct fs_meter **meters, size_t *n)
{
    *meters = fs_xrealloc(*meters, (*n + fs_size(list) + 1) * sizeof **meters);
    for (size_t i = 0; i < fs_size(list); i++) {
        const xmlrpc_value *v = fs_item(list, i);
        double kbps = fs_get_double(v, "kbps", 0), burst = fs_get_double(v, "burst", 0);
        int id = fs_get_int(v, "meter", 0);
        if (id < 1 || !(kbps >= 1 && kbps <= FS_METER_KBPS_MAX) || !(burst >= 1 && burst <= FS_METER_KBPS_MAX)) {
            return fs_xasprintf("meter %d of %g kbit/s and a burst of %g kbit: an id from 1 on is needed, and rate and burst from 1 to %u", id, kbps, burst, FS_METER_KBPS_MAX);
        }
        (*meters)[(*n)++] = (struct fs_meter) { .id = (uint32_t) id, .ours = true, .allocation = allocation, .kbps = (uint32_t) kbps, .burst = (uint32_t) burst };
    }
    return NULL;
}

int
openflow_mend_meters(struct fs_switch *sw, const struct fs_meter_difference *d, size_t n, bool extra, int ms, char **error)
{
    struct fs_meter_change *changes = fs_xcalloc(n + 1, sizeof *changes);
    size_t n_changes = 0;
    for (size_t i = 0; i < n; i++) {
        if ((d[i].kind == FS_RULE_EXTRA) == extra && !d[i].why) {
            enum fs_meter_op op = extra ? FS_METER_DELETE : d[i].kind == FS_RULE_MISSING ? FS_METER_ADD : FS_METER_MODIFY;
            changes[n_changes++] = (struct fs_meter_change) { op, d[i].meter, d[i].adopt };
        }
    }
    int e = fs_switch_change_meters(sw, changes, n_changes, ms, error);
    free(changes);
    return e;
}

int
openflow_put_meters(struct fs_switch *sw, uint32_t allocation, const struct fs_meter *wanted, size_t n, int ms, bool *fresh, char **error)
{
    struct fs_meter_difference *d = NULL;
    size_t n_differences = 0, missing = 0;
    int e = fs_switch_compare_meters(sw, &allocation, 1, wanted, n, &d, &n_differences, ms, error);
    for (size_t i = 0; i < n_differences; i++) {
        missing += d[i].kind == FS_RULE_MISSING;
    }
    *fresh = !e && missing == n && missing == n_differences;
    for (size_t i = 0; i < n_differences && !e; i++) {
        if (d[i].why) {
            *error = fs_xasprintf("switch %s: %s", fs_switch_name(sw), d[i].why);
            e = EEXIST;
        }
    }
    e = e ? e : openflow_mend_meters(sw, d, n_differences, false, ms, error);
    fs_meter_differences_free(d, n_differences);
    return e;
}

int
openflow_trim_meters(struct fs_switch *sw, uint32_t allocation, const struct fs_meter *wanted, size_t n, int ms, char **error)
{
    struct fs_meter_difference *d = NULL;
    size_t n_differences = 0;
    int e = fs_switch_compare_meters(sw, &allocation, 1, wanted, n, &d, &n_differences, ms, error);
    e = e ? e : openflow_mend_meters(sw, d, n_differences, true, ms, error);
    fs_meter_differences_free(d, n_differences);
    return e;
}

static xmlrpc_value *
describe(const struct fs_meter *m)
{
    xmlrpc_value *v = fs_set(fs_set(fs_struct(), "meter", fs_int((int) m->id)), "allocation", fs_stringf("%u", m->allocation));
    fs_set(fs_set(v, "kbps", fs_double(m->kbps)), "burst", fs_double(m->burst));
    fs_set(fs_set(v, "packets", fs_double((double) m->packets)), "bytes", fs_double((double) m->bytes));
    return fs_set(fs_set(v, "rate_drops", fs_double((double) m->dropped_packets)), "rate_drop_bytes", fs_double((double) m->dropped_bytes));
}

xmlrpc_value *
openflow_meters(struct fs_switch *sw, int allocation, xmlrpc_value **others, int ms, char **error)
{
    struct fs_meter *meters = NULL;
    size_t n = 0;
    if (fs_switch_meters(sw, true, &meters, &n, ms, error)) {
        return NULL;
    }
    xmlrpc_value *ours = fs_array();
    if (others) {
        *others = fs_array();
    }
    for (size_t i = 0; i < n; i++) {
        if (meters[i].ours && (allocation < 0 || meters[i].allocation == (uint32_t) allocation)) {
            fs_append(ours, describe(&meters[i]));
        } else if (others && !meters[i].ours) {
            fs_append(*others, fs_double(meters[i].id));
        }
    }
    free(meters);
    return ours;
}
