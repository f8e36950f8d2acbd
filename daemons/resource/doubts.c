/* Looking at a host or switch: what it tells of changes comes into doubt, and what is in doubt is sorted out; see reconcile.h. */
#include "config.h"

#include <stdlib.h>

#include "core/util.h"
#include "daemons/resource/reconcile.h"

/* The place has told all that is there: nothing is there of the others, and those that should be there are in doubt where it has told nothing of them. */
static void
note_all(struct resource *r, const char *place, const char *name, const xmlrpc_value *owners, resource_ids_at *ids_at)
{
    size_t n = fs_size(owners), n_wanted;
    int *there = fs_xcalloc(n + 1, sizeof *there), *wanted = ids_at(r, name, &n_wanted);
    for (size_t i = 0; i < n; i++) {
        there[i] = (int) fs_number(fs_item(fs_item(owners, i), 0), 0);
    }
    if (n) {
        qsort(there, n, sizeof *there, resource_by_id);
    }
    resource_memory_tell_gone(r, place, there, n);
    for (size_t i = 0; i < n_wanted; i++) {
        if (!bsearch(&wanted[i], there, n, sizeof *there, resource_by_id)) {
            resource_memory_tell(r, place, wanted[i], "");
        }
    }
    free(wanted);
    free(there);
}

void
resource_note_changes(struct resource *r, const char *place, const char *name, const xmlrpc_value *told, resource_ids_at *ids_at)
{
    const xmlrpc_value *owners = fs_get(told, "owners");
    for (size_t i = 0; i < fs_size(owners); i++) {
        const xmlrpc_value *one = fs_item(owners, i);
        resource_memory_tell(r, place, (int) fs_number(fs_item(one, 0), 0), fs_text(fs_item(one, 1), ""));
    }
    if (fs_get_bool(told, "all", false)) {
        note_all(r, place, name, owners, ids_at);
    }
    resource_memory_set_right(r, place, fs_get_string(told, "state", ""));
}

size_t
resource_sort_out(struct resource *r, const char *place, struct resource_doubt *doubts, size_t n, xmlrpc_value *orphans)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        if (resource_knows(r, doubts[i].id)) {
            doubts[known++] = doubts[i];
        } else if (doubts[i].there) {
            fs_append(orphans, fs_int(doubts[i].id));
        } else {
            resource_memory_settle(r, place, &doubts[i], true);
        }
    }
    return known;
}

void
resource_note_undoubted_healthy(struct resource *r, const char *place)
{
    size_t n;
    struct resource_doubt *doubts = resource_memory_doubted(r, place, &n);
    int *ids = fs_xcalloc(n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        ids[i] = doubts[i].id;
    }
    resource_note_others_healthy(r, place, ids, n);
    free(ids);
    free(doubts);
}
