/* What list_tasks, list_commands and system.methodHelp say: all from the descriptors. */
#include "config.h"

#include "core/describe.h"

#include <stdlib.h>
#include <string.h>

#include "core/daemon.h"
#include "core/loader.h"
#include "core/util.h"

char *
fs_describe_help(const struct fs_method *m)
{
    struct fs_text t = { 0 };
    fs_text_addf(&t, "%s(", m->name);
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name; i++) {
        fs_text_addf(&t, "%s%s %s", i ? ", " : "", m->params[i].name, m->params[i].type);
    }
    fs_text_addf(&t, ") -> %s\n\n%s\n", m->returns ? m->returns : "nil", m->help ? m->help : "");
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name; i++) {
        fs_text_addf(&t, "\n  %s: %s", m->params[i].name, m->params[i].help ? m->params[i].help : "");
        for (const struct fs_member *row = m->members[i]; row && row->name; row++) {
            fs_text_addf(&t, "\n    %s %s: %s", row->name, row->type, row->help ? row->help : "");
        }
    }
    if (m->idempotent) {
        fs_text_addf(&t, "\nDoing it again changes nothing more.");
    }
    if (m->undo) {
        fs_text_addf(&t, "\nundone by: %s", m->undo);
    }
    return t.text;
}

/* Name, type and help of a parameter or of a member. */
static xmlrpc_value *
row_of(const char *name, const char *type, const char *help)
{
    return fs_set(fs_set(fs_set(fs_struct(), "name", fs_string(name)), "type", fs_string(type)), "help", fs_string(help));
}

static xmlrpc_value *
members_of(const struct fs_member *rows)
{
    xmlrpc_value *members = fs_array();
    for (; rows->name; rows++) {
        fs_append(members, row_of(rows->name, rows->type, rows->help));
    }
    return members;
}

static xmlrpc_value *
describe(const struct fs_loaded *l)
{
    const struct fs_method *m = l->method;
    xmlrpc_value *params = fs_array();
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name; i++) {
        xmlrpc_value *p = row_of(m->params[i].name, m->params[i].type, m->params[i].help);
        fs_append(params, m->members[i] ? fs_set(p, "members", members_of(m->members[i])) : p);
    }
    xmlrpc_value *v = fs_struct();
    fs_set(v, "name", fs_string(m->name));
    fs_set(v, "version", fs_string(m->version ? m->version : "1"));
    fs_set(v, "file", fs_string(l->path));
    fs_set(v, "sha256", fs_string(l->hash));
    fs_set(v, "help", fs_string(m->help));
    fs_set(v, "parameters", params);
    fs_set(v, "returns", fs_string(m->returns ? m->returns : "nil"));
    fs_set(v, "idempotent", fs_bool(m->idempotent));
    fs_set(v, "undo", fs_string(m->undo));
    double calls, failures, seconds;
    fs_loaded_figures(l, &calls, &failures, &seconds);
    fs_set(v, "calls", fs_double(calls));
    fs_set(v, "failures", fs_double(failures));
    return fs_set(v, "seconds", fs_double(seconds));
}

xmlrpc_value *
fs_describe_methods(struct fs_call *call, enum fs_method_kind kind)
{
    size_t n;
    char *problems;
    struct fs_loader *l = fs_daemon_loader(fs_call_daemon(call));
    struct fs_table *table = fs_loader_take(l, kind, NULL); /* as it is now, not as it was when the call began */
    struct fs_loaded **list = fs_table_list(l, table, kind, &n, &problems);
    xmlrpc_value *all = fs_array();
    for (size_t i = 0; i < n; i++) {
        xmlrpc_value *v = describe(list[i]);
        const char *why = fs_table_problem(table, kind, list[i]->method->name);
        if (why) {
            fs_set(v, "problem", fs_string(why)); /* the file has changed, but this older version serves */
        }
        fs_append(all, v);
    }
    char *rest = NULL;
    for (char *line = problems ? strtok_r(problems, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        fs_append(all, fs_set(fs_set(fs_struct(), "name", fs_string("")), "problem", fs_string(line)));
    }
    free(list);
    free(problems);
    fs_loader_give(l, table);
    return all;
}
