/* Parameters and their members are checked against the descriptor before a method is called, so no method checks names, types or bounds itself; and the descriptor is looked at
 * before a method is loaded, so that this can be done. */
#include "config.h"

#include "core/params.h"

#include <stdlib.h>
#include <string.h>

#include "core/suggest.h"
#include "core/util.h"

/* --- Calls --- */

static size_t
length_of(const char *type)
{
    return strcspn(type, "?");
}

static bool
may_be_left_out(const char *type)
{
    return type[length_of(type)] != '\0';
}

static bool
fits(const xmlrpc_value *v, const char *type)
{
    const char *is = fs_type_name(v);
    size_t n = length_of(type);
    if (strlen(is) == n && !strncmp(is, type, n)) {
        return true;
    }
    return (n == 3 && !strncmp(type, "any", n)) || (n == 6 && !strncmp(type, "double", n) && !strcmp(is, "int"));
}

/* What the members of a parameter are called in messages. */
static const char *
word_for(const struct fs_param *p)
{
    return strcmp(p->name, "options") ? "member" : "option";
}

static char *
tell_unknown(const struct fs_param *p, const struct fs_member *rows, const char *name)
{
    struct suggestion near;
    struct fs_text all = { 0 };
    size_t n = 0;
    suggest_begin(&near, name);
    for (; rows[n].name; n++) {
        suggest_offer(&near, rows[n].name);
        fs_text_addf(&all, "%s%s", !n ? "" : rows[n + 1].name ? ", " : " and ", rows[n].name);
    }
    char *meant = near.best ? fs_xasprintf(" (did you mean '%s'?)", near.best) : fs_xstrdup("");
    char *why = fs_xasprintf("there is no %s '%.64s'%s; %s %s possible", word_for(p), name, meant, all.text, n == 1 ? "is" : "are");
    free(meant);
    free(all.text);
    return why;
}

/* NULL, or what is wrong with the value of a member. */
static char *
check_value(const struct fs_param *p, const struct fs_member *m, const xmlrpc_value *v)
{
    if (!fits(v, m->type)) {
        bool number = !strncmp(m->type, "double", 6);
        return fs_xasprintf("%s %s must be of type %s%.*s, not %s", word_for(p), m->name, number ? "int or " : "", (int) length_of(m->type), m->type, fs_type_name(v));
    }
    if (m->least == 0 && m->most == 0) {
        return NULL;
    }
    if (fs_is(v, XMLRPC_TYPE_STRING)) {
        return (double) strlen(fs_text(v, "")) > m->most ? fs_xasprintf("%s %s is longer than %.0f bytes", word_for(p), m->name, m->most) : NULL;
    }
    double n = fs_number(v, 0);
    return n >= m->least && n <= m->most ? NULL : fs_xasprintf("%s %s is %.10g: %.10g to %.10g are possible", word_for(p), m->name, n, m->least, m->most);
}

static const struct fs_member *
find_row(const struct fs_member *rows, const char *name)
{
    for (; rows->name; rows++) {
        if (!strcmp(rows->name, name)) {
            return rows;
        }
    }
    return NULL;
}

/* NULL, or what is wrong with a struct: its names first, then its values, then what it lacks. */
static char *
check_struct(const struct fs_param *p, const struct fs_member *rows, const xmlrpc_value *strct)
{
    char *why = NULL;
    xmlrpc_value *v;
    for (size_t i = 0; i < fs_size(strct) && !why; i++) {
        const char *name = fs_member(strct, i, &v);
        why = find_row(rows, name) ? NULL : tell_unknown(p, rows, name);
    }
    for (size_t i = 0; i < fs_size(strct) && !why; i++) {
        const char *name = fs_member(strct, i, &v);
        why = check_value(p, find_row(rows, name), v);
    }
    for (const struct fs_member *m = rows; m->name && !why; m++) {
        bool lacks = !may_be_left_out(m->type) && !fs_get(strct, m->name);
        why = lacks ? fs_xasprintf("%s %s (%s) is missing", word_for(p), m->name, m->type) : NULL;
    }
    return why;
}

/* The same for a parameter that is a struct, or an array of structs. */
static char *
check_members(const struct fs_param *p, const struct fs_member *rows, const xmlrpc_value *v)
{
    if (fs_is(v, XMLRPC_TYPE_STRUCT)) {
        return check_struct(p, rows, v);
    }
    for (size_t i = 0, n = fs_size(v); i < n; i++) {
        const xmlrpc_value *item = fs_item(v, i);
        char *wrong = fs_is(item, XMLRPC_TYPE_STRUCT) ? check_struct(p, rows, item) : fs_xasprintf("it must be a struct, not %s", fs_type_name(item));
        if (wrong) {
            char *why = fs_xasprintf("item %zu: %s", i + 1, wrong);
            free(wrong);
            return why;
        }
    }
    return NULL;
}

static char *
check_number(const struct fs_method *m, size_t given)
{
    size_t n = 0, needed = 0;
    for (; n < FS_MAX_PARAMS && m->params[n].name; n++) {
        needed += !may_be_left_out(m->params[n].type);
    }
    if (given >= needed && given <= n) {
        return NULL;
    }
    struct fs_text list = { 0 };
    for (size_t i = 0; i < n; i++) {
        fs_text_addf(&list, "%s%s %s", i ? ", " : "", m->params[i].name, m->params[i].type);
    }
    char *why = fs_xasprintf("%s takes %s%s%s; %zu were given", m->name, n ? "the parameters (" : "no parameters", list.text ? list.text : "", n ? ")" : "", given);
    free(list.text);
    return why;
}

char *
fs_params_check(const struct fs_method *m, const xmlrpc_value *params)
{
    size_t given = fs_size(params);
    char *why = check_number(m, given);
    for (size_t i = 0; i < given && !why; i++) {
        const struct fs_param *p = &m->params[i];
        const xmlrpc_value *v = fs_item(params, i);
        if (!fits(v, p->type)) {
            why = fs_xasprintf("%s: parameter %zu (%s) must be of type %.*s, not %s", m->name, i + 1, p->name, (int) length_of(p->type), p->type, fs_type_name(v));
        }
    }
    for (size_t i = 0; i < given && !why; i++) {
        char *wrong = m->members[i] ? check_members(&m->params[i], m->members[i], fs_item(params, i)) : NULL;
        why = wrong ? fs_xasprintf("%s: parameter %zu (%s): %s", m->name, i + 1, m->params[i].name, wrong) : NULL;
        free(wrong);
    }
    return why;
}

/* --- Descriptors --- */

static bool
is_type(const char *type)
{
    static const char *const types[] = { "int", "double", "boolean", "string", "struct", "array", "base64", "any" };
    size_t n = length_of(type);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i]) == n && !strncmp(types[i], type, n)) {
            return !type[n] || !type[n + 1];
        }
    }
    return false;
}

static char *
vet_type(size_t i, const char *name, const char *type)
{
    return type && is_type(type)
               ? NULL
               : fs_xasprintf("its descriptor gives parameter %zu (%.64s) %s%.40s%s: the types are int, double, boolean, string, struct, array, base64 and any, with '?' behind "
                              "where it may be left out", i + 1, name, type ? "the type '" : "no type", type ? type : "", type ? "'" : "");
}

/* Members of what has none would never be looked at. */
static char *
vet_members(size_t i, const struct fs_param *p, const struct fs_member *rows)
{
    if (!p->name || (strncmp(p->type, "struct", 6) && strncmp(p->type, "array", 5))) {
        return fs_xasprintf("its descriptor names members of parameter %zu, which is %s%s", i + 1, p->name ? "of type " : "not there", p->name ? p->type : "");
    }
    char *why = NULL;
    for (; rows->name && !why; rows++) {
        why = vet_type(i, rows->name, rows->type);
    }
    return why;
}

char *
fs_params_vet(const struct fs_method *m)
{
    char *why = NULL;
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name && !why; i++) {
        why = vet_type(i, m->params[i].name, m->params[i].type);
    }
    for (size_t i = 0; i < FS_MAX_PARAMS && !why; i++) {
        why = m->members[i] ? vet_members(i, &m->params[i], m->members[i]) : NULL;
    }
    return why;
}
