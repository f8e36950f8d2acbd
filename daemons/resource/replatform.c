/* Another platform file while the daemon runs.
 *
 * The new platform is laid beside the old one and all that is installed is entered into its account: what cannot be entered, or what is on a host or link that
 * is now fuller than it may be, would be cut.  Where nothing is cut, or the operator says so, the new one takes the old one's place under the locks of placement, so a
 * request is placed on the one or on the other. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util.h"
#include "daemons/resource/state.h"
#include <flowstream/log.h>

FS_LOG_MODULE("platform");

/* --- What is different --- */

static const char *
word(const char *text)
{
    return text ? text : "";
}

static bool
same_node(const struct fs_platform *a, const struct fs_node *x, const struct fs_platform *b, const struct fs_node *y)
{
    const struct fs_server *s = x->server >= 0 ? &a->servers[x->server] : NULL, *t = y->server >= 0 ? &b->servers[y->server] : NULL;
    const char *f = x->forward >= 0 ? a->nodes[x->forward].id : "", *g = y->forward >= 0 ? b->nodes[y->forward].id : "";
    return x->kind == y->kind && !strcmp(word(x->target), word(y->target)) && !strcmp(f, g) && !strcmp(word(x->basesys), word(y->basesys))
           && (!s || !t || (s->cpu == t->cpu && s->mem == t->mem && s->bandwidth == t->bandwidth && s->delay == t->delay));
}

static int
find_arc(const struct fs_platform *p, const char *from, const char *to)
{
    int a = fs_platform_find(p, from), b = fs_platform_find(p, to);
    for (int i = a >= 0 && b >= 0 ? p->out_start[a] : 0; a >= 0 && b >= 0 && i < p->out_start[a + 1]; i++) {
        if (p->arcs[p->out[i]].to == b) {
            return p->out[i];
        }
    }
    return -1;
}

static bool
same_arc(const struct fs_arc *x, const struct fs_arc *y)
{
    return x->bandwidth == y->bandwidth && x->delay == y->delay && x->mtu == y->mtu && !strcmp(x->port, y->port);
}

/* Names of what 'a' has and 'b' has not; where 'changed' is not NULL, of what both have and is not the same goes there. */
static void
compare(const struct fs_platform *a, const struct fs_platform *b, xmlrpc_value *missing, xmlrpc_value *changed)
{
    for (int n = 0; n < a->n_nodes; n++) {
        int other = fs_platform_find(b, a->nodes[n].id);
        if (other < 0 || b->nodes[other].kind != a->nodes[n].kind) {
            fs_append(missing, fs_string(a->nodes[n].id));
        } else if (changed && !same_node(a, &a->nodes[n], b, &b->nodes[other])) {
            fs_append(changed, fs_string(a->nodes[n].id));
        }
    }
    for (int i = 0; i < a->n_arcs; i += 2) { /* a link's two directions are neighbours */
        const char *from = a->nodes[a->arcs[i].from].id, *to = a->nodes[a->arcs[i].to].id;
        int other = find_arc(b, from, to);
        if (other < 0) {
            fs_append(missing, fs_stringf("%s-%s", from, to));
        } else if (changed && !(same_arc(&a->arcs[i], &b->arcs[other]) && same_arc(&a->arcs[i ^ 1], &b->arcs[other ^ 1]))) {
            fs_append(changed, fs_stringf("%s-%s", from, to));
        }
    }
}

static xmlrpc_value *
difference(const struct fs_platform *before, const struct fs_platform *now)
{
    xmlrpc_value *added = fs_array(), *removed = fs_array(), *changed = fs_array();
    compare(before, now, removed, changed);
    compare(now, before, added, NULL);
    return fs_set(fs_set(fs_set(fs_struct(), "added", added), "removed", removed), "changed", changed);
}

/* --- What is cut --- */

static void
cut(xmlrpc_value *cuts, const struct allocation *a, char *why /* taken */)
{
    bool known = false;
    for (size_t i = 0; i < fs_size(cuts); i++) {
        known = known || fs_get_int(fs_item(cuts, i), "id", 0) == a->id;
    }
    if (!known) {
        xmlrpc_value *v = fs_set(fs_set(fs_struct(), "id", fs_int(a->id)), "name", fs_string(fs_packed_get_string(resource_doc(a), "name", "")));
        fs_append(cuts, fs_set(v, "why", fs_string(why)));
    }
    free(why);
}

/* Where two neighbours on a path are called otherwise; owned, or NULL. */
static char *
step_renamed(const struct fs_platform *before, const struct fs_platform *now, const char *from, const char *to)
{
    int x = find_arc(before, from, to), y = find_arc(now, from, to);
    for (int way = 0; way < 2 && x >= 0 && y >= 0; way++) {
        const struct fs_arc *old = &before->arcs[x ^ way], *new = &now->arcs[y ^ way];
        const struct fs_node *here = &before->nodes[old->from], *there = &now->nodes[new->from];
        if (here->kind != FS_NODE_IO && strcmp(old->port, new->port)) {
            return fs_xasprintf("port %s of %s is called %s", old->port, here->id, new->port);
        } else if (strcmp(word(here->target), word(there->target))) {
            return fs_xasprintf("switch %s is at %s", here->id, word(there->target));
        }
    }
    return NULL;
}

/* A port or address that the allocation's rules name and that the new platform calls otherwise; owned, or NULL. */
static char *
renamed(const struct fs_platform *before, const struct fs_platform *now, const struct allocation *a)
{
    struct fs_packed flow = { 0 }, step = { 0 };
    char *why = NULL;
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "flows")); !why && fs_packed_next(&i, &flow);) {
        const char *from = NULL;
        for (struct fs_packed_items k = fs_packed_items(fs_packed_get(flow, "path")); !why && fs_packed_next(&k, &step);) {
            why = from ? step_renamed(before, now, from, fs_packed_text(step, "")) : NULL;
            from = fs_packed_text(step, "");
        }
    }
    return why;
}

static bool
uses_server(const struct allocation *a, const char *host)
{
    struct fs_packed m = { 0 };
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "modules")); fs_packed_next(&i, &m);) {
        if (!strcmp(fs_packed_get_string(m, "host", ""), host)) {
            return true;
        }
    }
    return false;
}

static bool
uses_arc(const struct allocation *a, const char *from, const char *to)
{
    struct fs_packed flow = { 0 }, step = { 0 };
    for (struct fs_packed_items i = fs_packed_items(fs_packed_get(fs_packed_get(resource_doc(a), "plan"), "flows")); fs_packed_next(&i, &flow);) {
        const char *before = NULL;
        for (struct fs_packed_items k = fs_packed_items(fs_packed_get(flow, "path")); fs_packed_next(&k, &step);) {
            if (before && !strcmp(before, from) && !strcmp(fs_packed_text(step, ""), to)) {
                return true;
            }
            before = fs_packed_text(step, "");
        }
    }
    return false;
}

/* The youngest allocations on a host or link that has become too small give way, until the rest fits. */
static void
cut_overload(struct resource *r, const struct fs_platform *before, xmlrpc_value *cuts)
{
    const struct fs_platform *p = r->platform;
    for (int s = 0; s < p->n_servers; s++) {
        const struct fs_server *server = &p->servers[s];
        const char *id = p->nodes[server->node].id;
        int node = fs_platform_find(before, id), old = node >= 0 ? before->nodes[node].server : -1;
        bool less = old >= 0 && (server->cpu < before->servers[old].cpu || server->mem < before->servers[old].mem);
        for (;;) {
            const struct fs_server_load *load = fs_online_server(r->online, s);
            struct allocation *youngest = NULL;
            for (struct allocation *a = r->allocations; a && less && (load->cpu > server->cpu || load->mem > server->mem); a = a->next) {
                youngest = a->services && uses_server(a, id) ? a : youngest;
            }
            if (!youngest) {
                break;
            }
            resource_unaccount(r, youngest);
            cut(cuts, youngest, fs_xasprintf("host %s has too little cpu or mem left for it", id));
        }
    }
    for (int i = 0; i < p->n_arcs; i++) {
        const char *from = p->nodes[p->arcs[i].from].id, *to = p->nodes[p->arcs[i].to].id;
        int old = find_arc(before, from, to);
        bool less = old >= 0 && p->arcs[i].bandwidth < before->arcs[old].bandwidth;
        for (;;) {
            struct allocation *youngest = NULL;
            for (struct allocation *a = r->allocations; a && less && fs_online_arc(r->online, i) > p->arcs[i].bandwidth; a = a->next) {
                youngest = a->services && uses_arc(a, from, to) ? a : youngest;
            }
            if (!youngest) {
                break;
            }
            resource_unaccount(r, youngest);
            cut(cuts, youngest, fs_xasprintf("the link from %s to %s has too little bandwidth left for it", from, to));
        }
    }
}

/* Lay all that is installed onto 'platform', whose account becomes the current one; what does not fit goes to 'cuts', which may be NULL. */
static void
settle_on(struct resource *r, struct fs_platform *platform, xmlrpc_value *cuts)
{
    const struct fs_platform *before = r->platform;
    resource_close_account(r);
    resource_open_account(r, platform);
    for (struct allocation *a = r->allocations; a; a = a->next) {
        char *why = resource_account(r, a);
        why = why || !cuts ? why : renamed(before, platform, a);
        if (why && cuts) {
            resource_unaccount(r, a);
            cut(cuts, a, why);
        } else {
            free(why);
        }
    }
    if (cuts) {
        cut_overload(r, before, cuts);
    }
}

/* --- Taking it up --- */

static void
warn(void *aux, struct allocation *a, char *why)
{
    (void) aux;
    if (why) {
        fs_log_warning("allocation %d does not fit the platform file any more: %s", a->id, why);
        free(why);
    }
}

char *
resource_reload_platform(struct resource *r)
{
    struct fs_platform *platform;
    char *error = NULL;
    struct stat file = { 0 };
    (void) stat(r->platform_path, &file); /* first: what changes while it is read has changed since */
    if (fs_platform_read(r->platform_path, &platform, &error)) {
        return error;
    }
    if (fs_platform_check(platform, r->platform_path, &error)) {
        fs_platform_destroy(platform);
        return error;
    }
    if (*platform->warnings) {
        fs_log_warning("%s", platform->warnings);
    }
    resource_close_account(r);
    fs_platform_destroy(r->platform);
    resource_open_account(r, platform);
    resource_account_all(r, warn, NULL);
    r->platform_file = file;
    return NULL;
}

char *
resource_reread_platform(struct resource *r)
{
    struct stat file;
    const struct stat *read = &r->platform_file;
    bool same = !stat(r->platform_path, &file) && file.st_dev == read->st_dev && file.st_ino == read->st_ino && file.st_size == read->st_size
                && file.st_mtim.tv_sec == read->st_mtim.tv_sec && file.st_mtim.tv_nsec == read->st_mtim.tv_nsec;
    return same ? NULL : resource_reload_platform(r);
}

/* Hosts that are no more: as remove_host does it. */
static void
drop_hosts(struct resource *r)
{
    for (struct host *h = r->hosts; h; h = h->next) {
        if (!h->removed && fs_platform_find(r->platform, h->name) < 0) {
            char *error = NULL;
            struct fs_record changes[] = { { "host", h->name, NULL }, { "drained", h->name, NULL } };
            if (fs_store_write(r->store, changes, 2, &error)) {
                fs_log_warning("%s", error);
            }
            free(error);
            h->removed = true;
            h->draining = h->prepared = false;
        }
    }
}

/* Write the file at once or not at all; NULL or why not. */
static char *
write_file(const char *path, const char *text)
{
    char *new = fs_xasprintf("%s.new", path), *why = NULL;
    size_t length = strlen(text), done = 0;
    int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n = 0;
    while (fd >= 0 && done < length && (n = write(fd, text + done, length - done)) > 0) {
        done += (size_t) n;
    }
    bool good = fd >= 0 && done == length && !fsync(fd);
    int e = errno;
    if (fd >= 0 && close(fd)) {
        good = false;
        e = errno;
    }
    if (!good || rename(new, path)) {
        why = fs_xasprintf("%s: %s", path, strerror(good ? errno : e));
        unlink(new);
    }
    free(new);
    return why;
}

static char *
refusal(const xmlrpc_value *cuts)
{
    struct fs_text t = { 0 };
    for (size_t i = 0; i < fs_size(cuts); i++) {
        const xmlrpc_value *c = fs_item(cuts, i);
        fs_text_addf(&t, "%sallocation %d (%s): %s", i ? "; " : "", fs_get_int(c, "id", 0), fs_get_string(c, "name", ""), fs_get_string(c, "why", ""));
    }
    char *why = fs_xasprintf("the new platform would cut what is installed: %s. Delete them first, or say force", t.text);
    free(t.text);
    return why;
}

xmlrpc_value *
resource_apply_platform(struct resource *r, const char *text, bool check, bool force, char **error)
{
    struct fs_platform *new = NULL;
    *error = NULL;
    int e = text ? fs_platform_read_memory(text, strlen(text), "platform", &new, error) : fs_platform_read(r->platform_path, &new, error);
    e = e ? e : fs_platform_check(new, text ? "platform" : r->platform_path, error);
    if (e) {
        fs_platform_destroy(new);
        return NULL;
    }
    pthread_mutex_lock(&r->placing);
    pthread_mutex_lock(&r->lock);
    struct fs_platform *old = r->platform;
    xmlrpc_value *answer = difference(old, new), *cuts = fs_array();
    settle_on(r, new, cuts);
    if (!check && fs_size(cuts) && !force) {
        *error = refusal(cuts);
    }
    if (!check && !*error && text) {
        *error = write_file(r->platform_path, text);
    }
    if (check || *error) {
        settle_on(r, old, NULL);
        old = new;
    } else {
        drop_hosts(r);
        r->platform_file = (struct stat) { 0 };
        fs_log_info("the platform has changed: %zu parts added, %zu removed, %zu changed", fs_size(fs_get(answer, "added")),
                    fs_size(fs_get(answer, "removed")), fs_size(fs_get(answer, "changed")));
    }
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&r->placing);
    fs_platform_destroy(old);
    fs_set(answer, "cut", cuts);
    if (*error) {
        fs_free(answer);
        return NULL;
    }
    return answer;
}

/* --- What is left of what was cut --- */

static bool
is_there(const xmlrpc_value *switches, const xmlrpc_value *where)
{
    for (size_t i = 0; i < fs_size(switches); i++) {
        const xmlrpc_value *sw = fs_item(switches, i);
        if (!strcmp(fs_get_string(sw, "name", ""), fs_get_string(where, "switch", ""))
            && !strcmp(fs_get_string(sw, "target", ""), fs_get_string(where, "target", ""))) {
            return true;
        }
    }
    return false;
}

xmlrpc_value *
resource_rules_still_there(struct resource *r, const xmlrpc_value *rules)
{
    xmlrpc_value *switches = resource_switches(r), *left = fs_array();
    for (size_t i = 0; i < fs_size(rules); i++) {
        if (is_there(switches, fs_item(rules, i))) {
            fs_append(left, fs_copy(fs_item(rules, i)));
        }
    }
    fs_free(switches);
    return left;
}

xmlrpc_value *
resource_modules_still_there(struct resource *r, const xmlrpc_value *modules)
{
    xmlrpc_value *left = fs_array();
    for (size_t i = 0; i < fs_size(modules); i++) {
        if (resource_node_kind(r, fs_get_string(fs_item(modules, i), "host", "")) == 'h') {
            fs_append(left, fs_copy(fs_item(modules, i)));
        }
    }
    return left;
}
