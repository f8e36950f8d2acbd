/* restore: bring what is wanted to what a backup says, by ordinary steps: delete, enter, install.
 *
 * Each step is in the store before it is done, so a daemon that dies in the middle goes on with what it had entered, and a second call does the rest.  An id is never
 * used for two requests: the same id with another text is deleted and installed anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flowstream/failpoint.h>
#include <flowstream/log.h>
#include <flowstream/method.h>

#include "core/daemon.h"
#include "core/store.h"
#include "core/util.h"
#include "daemons/resource/resource.h"

FS_LOG_MODULE("restore");

/* What the backup has: arrays of values, and the lists of the answer. */
struct plan {
    xmlrpc_value *docs; /* "ID" -> allocation, those that were wanted */
    xmlrpc_value *deleted, *restored, *unchanged, *problems;
};

/* One in another state is being installed, and nobody was answered, or deleted, and soon gone. */
static bool
is_wanted(const xmlrpc_value *doc)
{
    const char *state = fs_get_string(doc, "state", "");
    return !strcmp(state, "installed") || !strcmp(state, "restoring");
}

static void
take_doc(void *aux, const char *name, xmlrpc_value *doc)
{
    struct plan *p = aux;
    if (is_wanted(doc)) {
        fs_set(p->docs, name, doc);
    } else {
        fs_free(doc);
    }
}

static char *
read_backup(struct fs_call *call, struct plan *p)
{
    char *path = fs_xasprintf("%s/restore.db", fs_daemon_dir(fs_call_daemon(call))), *mark = fs_xasprintf("%s.made", path), *error = NULL;
    struct fs_store *s = NULL;
    if (access(path, R_OK)) {
        error = fs_xasprintf("%s: there is no backup to restore; write_backup takes one in", path);
    } else if (!fs_store_open(path, &s, &error)) {
        fs_store_read(s, "allocation", take_doc, p, &error);
        fs_store_close(s);
    }
    unlink(path); /* it was read, or is of no use */
    unlink(mark);
    free(mark);
    free(path);
    return error;
}

static bool
is_same(struct fs_call *call, int id, const struct plan *p)
{
    char name[16];
    snprintf(name, sizeof name, "%d", id);
    const xmlrpc_value *theirs = fs_get(p->docs, name);
    xmlrpc_value *mine = resource_allocation(fs_call_state(call), id);
    bool same = theirs && mine && is_wanted(mine) && !strcmp(fs_get_string(mine, "text", ""), fs_get_string(theirs, "text", ""))
                && fs_get_double(mine, "created", 0) == fs_get_double(theirs, "created", 1);
    fs_free(mine);
    return same;
}

/* Claim all that is to go; NULL, or which one somebody works on, and then none is claimed. */
static char *
claim_all(struct fs_call *call, const int *ids, size_t n, const struct plan *p)
{
    struct resource *r = fs_call_state(call);
    for (size_t i = 0; i < n; i++) {
        if (!resource_claim(r, ids[i])) {
            char *why = fs_xasprintf("allocation %d is being installed or deleted right now: try again", ids[i]);
            while (i--) {
                resource_release(r, ids[i]);
            }
            return why;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (is_same(call, ids[i], p)) {
            fs_append(p->unchanged, fs_int(ids[i]));
            resource_release(r, ids[i]);
        } else {
            fs_append(p->deleted, fs_int(ids[i]));
        }
    }
    return NULL;
}

static void
note(struct plan *p, int id, const char *what)
{
    fs_append(p->problems, fs_stringf("allocation %d: %s", id, what));
}

static void
delete_all(struct fs_call *call, struct plan *p)
{
    for (size_t i = 0; i < fs_size(p->deleted); i++) {
        struct fs_reply reply;
        int id = (int) fs_number(fs_item(p->deleted, i), 0);
        if (fs_call_task(call, "undo_allocation", fs_set(fs_struct(), "id", fs_int(id)), &reply)) {
            note(p, id, reply.message);
        }
        fs_reply_clear(&reply);
    }
}

/* All are entered before the first is installed: from then on it is known what is wanted. */
static void
enter_all(struct fs_call *call, struct plan *p)
{
    for (size_t i = 0; i < fs_size(p->docs); i++) {
        xmlrpc_value *doc;
        int id = atoi(fs_member(p->docs, i, &doc));
        char *error = NULL;
        if (!is_same(call, id, p)) {
            const char *failpoint = FS_FAILPOINT_WHY("restore.enter");
            if (failpoint || resource_restore_allocation(fs_call_state(call), id, doc, &error)) {
                note(p, id, failpoint ? failpoint : error);
            } else {
                fs_append(p->restored, fs_int(id));
            }
            free(error);
        }
    }
}

static void
install_all(struct fs_call *call, struct plan *p)
{
    for (size_t i = 0; i < fs_size(p->restored); i++) {
        struct fs_reply reply = { 0 };
        int id = (int) fs_number(fs_item(p->restored, i), 0);
        if (resource_claim(fs_call_state(call), id) && fs_call_task(call, "install", fs_set(fs_struct(), "id", fs_int(id)), &reply)) {
            note(p, id, reply.message);
        }
        fs_reply_clear(&reply);
    }
}

static void
run(struct fs_call *call)
{
    struct plan p = { fs_struct(), fs_array(), fs_array(), fs_array(), fs_array() };
    char *why = read_backup(call, &p);
    size_t n = 0;
    int *ids = why ? NULL : resource_allocation_ids(fs_call_state(call), &n);
    why = why ? why : claim_all(call, ids, n, &p);
    if (why) {
        fs_call_fail(call, "%s", why);
    } else {
        delete_all(call, &p);
        enter_all(call, &p);
        install_all(call, &p);
        fs_log_info("a backup is restored: %zu allocations deleted, %zu installed again, %zu unchanged, %zu problems", fs_size(p.deleted), fs_size(p.restored),
                    fs_size(p.unchanged), fs_size(p.problems));
        xmlrpc_value *answer = fs_set(fs_set(fs_struct(), "deleted", p.deleted), "restored", p.restored);
        fs_call_return(call, fs_set(fs_set(answer, "unchanged", p.unchanged), "problems", p.problems));
        p.deleted = p.restored = p.unchanged = p.problems = NULL;
    }
    fs_free(p.docs);
    fs_free(p.deleted);
    fs_free(p.restored);
    fs_free(p.unchanged);
    fs_free(p.problems);
    free(ids);
    free(why);
}

FS_TASK = {
    FS_IS_TASK,
    .name = "restore",
    .help = "Brings what is wanted to what the backup that write_backup has taken in says: see restore_store.",
    .params = { { "parameter", "any?", "not used" } },
    .returns = "struct",
    .run = run,
};
