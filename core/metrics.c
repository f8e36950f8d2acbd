/* Prometheus text (exposition format 0.0.4) from the struct that get_statistics answers: no daemon writes metrics by hand.
 * Lines of one metric must stand together, so they are gathered a name at a time in order of first appearance. */
#include "config.h"

#include "core/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "core/util.h"

struct family {
    char *name;
    struct fs_text lines;
};

struct families {
    struct family *list;
    size_t n;
};

static struct family *
family(struct families *all, const char *name)
{
    for (size_t i = all->n; i--;) { /* lines of one name come close to each other */
        if (!strcmp(all->list[i].name, name)) {
            return &all->list[i];
        }
    }
    all->list = fs_xrealloc(all->list, (all->n + 1) * sizeof *all->list);
    all->list[all->n] = (struct family) { .name = fs_xstrdup(name) };
    return &all->list[all->n++];
}

static void
add_escaped(struct fs_text *t, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n') {
            fs_text_add(t, "\\n", 2);
        } else {
            fs_text_add(t, "\\", *s == '"' || *s == '\\');
            fs_text_add(t, s, 1);
        }
    }
}

/* Only letters, digits and '_' may stand in the name of a metric or label. */
static char *
joined(const char *path, const char *key)
{
    char *name = fs_xasprintf("%s_%s", path, key);
    for (char *p = name; *p; p++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p)) {
            *p = '_';
        }
    }
    return name;
}

static char *
labels_of(const char *labels, const xmlrpc_value *item, size_t nth)
{
    struct fs_text t = { 0 };
    fs_text_addf(&t, "%s", labels);
    for (size_t i = 0, n = fs_size(item); i < n; i++) {
        xmlrpc_value *member;
        const char *key = fs_member(item, i, &member);
        const char *text = fs_text(member, NULL);
        if (text) {
            char *name = joined("", key);
            fs_text_addf(&t, ",%s=\"", strcmp(key, "daemon") ? name + 1 : name);
            free(name);
            add_escaped(&t, text);
            fs_text_add(&t, "\"", 1);
        }
    }
    if (t.length == strlen(labels)) { /* two lines may not have the same labels */
        fs_text_addf(&t, ",item=\"%zu\"", nth);
    }
    return t.text;
}

static void
walk(struct families *all, const char *path, const char *labels, const xmlrpc_value *v, int depth)
{
    if (depth > 8) {
        return;
    }
    if (fs_is(v, XMLRPC_TYPE_STRUCT)) {
        for (size_t i = 0, n = fs_size(v); i < n; i++) {
            xmlrpc_value *member;
            const char *key = fs_member(v, i, &member);
            char *name = joined(path, key);
            walk(all, name, labels, member, depth + 1);
            free(name);
        }
    } else if (fs_is(v, XMLRPC_TYPE_ARRAY)) {
        for (size_t i = 0, n = fs_size(v); i < n; i++) {
            char *more = labels_of(labels, fs_item(v, i), i);
            walk(all, path, more, fs_item(v, i), depth + 1);
            free(more);
        }
    } else if (fs_is(v, XMLRPC_TYPE_INT) || fs_is(v, XMLRPC_TYPE_DOUBLE) || fs_is(v, XMLRPC_TYPE_I8)) {
        fs_text_addf(&family(all, path)->lines, "%s{%s} %.17g\n", path, labels, fs_number(v, 0));
    }
}

char *
fs_metrics_text(const char *daemon, const xmlrpc_value *statistics)
{
    struct families all = { 0 };
    char *labels = fs_xasprintf("daemon=\"%s\"", daemon);
    walk(&all, "flowstream", labels, statistics, 0);
    free(labels);
    struct fs_text text = { 0 };
    fs_text_addf(&text, "# HELP flowstream_up The daemon answers.\n# TYPE flowstream_up gauge\nflowstream_up{daemon=\"%s\"} 1\n", daemon);
    for (size_t i = 0; i < all.n; i++) {
        fs_text_addf(&text, "# TYPE %s untyped\n", all.list[i].name);
        fs_text_add(&text, all.list[i].lines.text, all.list[i].lines.length);
        free(all.list[i].name);
        free(all.list[i].lines.text);
    }
    free(all.list);
    return text.text;
}
