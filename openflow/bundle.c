/* Changes that are prepared in a switch and committed later: a bundle stays open while others are prepared in other switches.
 *
 * The switch belongs to nobody meanwhile, so two that prepare in the same switches in another order never wait for each other.  A bundle lives and dies with its
 * connection: a commit on another one than the preparation's is refused here, and the switch has forgotten the bundle. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <util.h>

#include <flowstream/openflow.h>

#include "openflow/apply.h"
#include "openflow/failure.h"
#include "openflow/switch.h"

#define DISCARD_MS 1000

struct fs_bundle {
    struct fs_switch *sw;
    struct fs_change *changes; /* Copies: messages name them. */
    size_t n;
    struct apply apply;
    unsigned session;          /* Of the connection that the bundle is open on. */
    bool open;
};

static switch_operation prepare;
static switch_operation commit;
static switch_operation discard;
static void bundle_destroy(struct fs_bundle *);

int
fs_switch_prepare(struct fs_switch *sw, const struct fs_change *changes, size_t n, int deadline_ms, struct fs_bundle **bundle, char **error)
{
    *bundle = NULL;
    *error = NULL;
    int status = apply_check_cookies(sw, changes, n, error);
    if (status) {
        return status;
    }

    struct fs_bundle *b = xzalloc(sizeof *b);
    b->sw = sw;
    b->n = n;
    b->changes = xcalloc(n + 1, sizeof *b->changes);
    for (size_t i = 0; i < n; i++) {
        b->changes[i] = changes[i];
        b->changes[i].text = changes[i].text ? xstrdup(changes[i].text) : NULL;
    }
    apply_init(&b->apply, b->changes, n);
    status = switch_run(sw, prepare, b, deadline_ms, error);
    if (status) {
        bundle_destroy(b);
    } else {
        *bundle = b;
    }
    return status;
}

static int
prepare(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct fs_bundle *b = aux;

    b->apply.id = ++sw->last_bundle ? sw->last_bundle : ++sw->last_bundle;
    int status = apply_prepare(sw, &b->apply, deadline, error);
    b->open = !status;
    b->session = sw->connection.session;
    return status;
}

int
fs_bundle_commit(struct fs_bundle *b, int deadline_ms, char **error)
{
    *error = NULL;
    int status = switch_run(b->sw, commit, b, deadline_ms, error);
    bundle_destroy(b);
    return status;
}

static int
commit(struct fs_switch *sw, void *aux, int64_t deadline, char **error)
{
    struct fs_bundle *b = aux;

    if (!b->open || sw->connection.session != b->session) {
        return openflow_fail(error, ECONNRESET, "the connection was lost, or the switch started again, after the changes were prepared: they are gone");
    }
    b->open = false; /* Whatever comes of it, it is not done twice. */
    return apply_commit(sw, &b->apply, deadline, error);
}

void
fs_bundle_discard(struct fs_bundle *b)
{
    if (b) {
        switch_run(b->sw, discard, b, DISCARD_MS, NULL);
        bundle_destroy(b);
    }
}

static int
discard(struct fs_switch *sw, void *aux, int64_t deadline OVS_UNUSED, char **error OVS_UNUSED)
{
    struct fs_bundle *b = aux;

    if (b->open && sw->connection.session == b->session) {
        apply_discard(sw, &b->apply); /* Sent with whatever comes next; with the connection the bundle goes as well. */
        b->open = false;
        connection_is_alive(&sw->connection);
    }
    return 0;
}

static void
bundle_destroy(struct fs_bundle *b)
{
    apply_destroy(&b->apply);
    for (size_t i = 0; i < b->n; i++) {
        free((char *) b->changes[i].text);
    }
    free(b->changes);
    free(b);
}
