/* The first half of the checker: who is who.  Declarations become nodes, names in connections are looked up,
 * connections become links.
 *
 * A name that nobody declared becomes a ghost, a node without a type: so it is reported once, and nothing else is said
 * about what is connected to it.  Names may be used before they are declared. */
#include "config.h"

#include "lang/check.h"

#include <string.h>

#include "lang/suggest.h"

#define LONGEST_NAME 64u
#define MOST_LISTED 24u

static const struct fs_lang_type from_net = { "FromNet", 0, 0, 1, 1 };
static const struct fs_lang_type to_net = { "ToNet", 1, UINT32_MAX, 0, 0 };

static bool declare_all(struct check *, uint32_t *node_of);
static void refer(struct check *, const struct syntax_element *, uint32_t *node);
static bool connect_all(struct check *, const uint32_t *node_of);
static void index_links(struct check *);

bool
check_names(struct check *check)
{
    const struct syntax_tree *tree = check->tree;
    uint32_t *node_of = arena_array(check->arena, tree->n_elements, sizeof *node_of); /* element to node */

    table_init(&check->types, check->arena);
    table_init(&check->names, check->arena);
    for (size_t i = 0; i < check->env->n_types; i++) {
        if (table_find(&check->types, check->env->types[i].name) == TABLE_NONE) {
            table_add(&check->types, check->env->types[i].name, (uint32_t) i);
        }
    }
    if (!declare_all(check, node_of)) {
        return false;
    }
    for (size_t i = 0; i < tree->n_elements; i++) {
        refer(check, &tree->elements[i], &node_of[i]);
    }
    if (!connect_all(check, node_of)) {
        return false;
    }
    index_links(check);
    return true;
}

const struct fs_lang_type *
check_find_type(const struct check *check, const char *name)
{
    if (!strcmp(name, from_net.name)) {
        return &from_net;
    }
    if (!strcmp(name, to_net.name)) {
        return &to_net;
    }
    uint32_t i = table_find(&check->types, name);
    return i == TABLE_NONE ? NULL : &check->env->types[i];
}

uint32_t
check_most_ports(const struct check *check, uint32_t type_maximum)
{
    return type_maximum < check->limits.ports ? type_maximum : check->limits.ports;
}

static void
report_unknown_type(struct check *check, const struct syntax_element *element)
{
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, element->type_span, "unknown module type '%.64s'", element->type);
    if (!diagnostics_wanted(check->diagnostics)) {
        return;
    }
    struct suggestion suggestion;
    char *list = arena_copy(check->arena, "FromNet, ToNet", strlen("FromNet, ToNet"));
    suggest_begin(&suggestion, element->type);
    suggest_offer(&suggestion, from_net.name);
    suggest_offer(&suggestion, to_net.name);
    for (size_t i = 0; i < check->env->n_types; i++) {
        suggest_offer(&suggestion, check->env->types[i].name);
        if (i <= MOST_LISTED) {
            list = arena_printf(check->arena, "%s, %s", list, i < MOST_LISTED ? check->env->types[i].name : "...");
        }
    }
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
    diagnostics_note(check->diagnostics, error, NULL, "the types are: %s", list);
}

/* Append a node; its kind follows from its type. */
static uint32_t
add_node(struct check *check, const char *name, const char *type_name, struct span span,
         const struct fs_lang_type *type)
{
    check->nodes = arena_grow(check->arena, check->nodes, check->n_nodes, &check->nodes_capacity, sizeof *check->nodes);
    check->facts = arena_grow(check->arena, check->facts, check->n_nodes, &check->facts_capacity, sizeof *check->facts);
    struct fs_node *node = &check->nodes[check->n_nodes];
    *node = (struct fs_node) { .name = name, .type = type_name, .args = "" };
    node->kind = type == &from_net ? FS_NODE_FROM_NET : type == &to_net ? FS_NODE_TO_NET : FS_NODE_MODULE;
    diagnostics_locate(check->diagnostics, span.offset, &node->line, &node->column);
    check->facts[check->n_nodes] = (struct node_facts) { .span = span, .type = type };
    check->n_ghosts += !type;
    return (uint32_t) check->n_nodes++;
}

/* Type@1, Type@2, ...; no name in a text has an '@'. */
static const char *
invent_name(struct check *check, struct table *counts, const char *type)
{
    uint32_t n = table_find(counts, type);
    if (n == TABLE_NONE) {
        n = 0;
        table_add(counts, type, 0);
    }
    table_set(counts, type, n + 1);
    return arena_printf(check->arena, "%s@%u", type, n + 1);
}

static void
report_second_declaration(struct check *check, const struct syntax_element *element, uint32_t first)
{
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, element->name_span, "'%s' is declared twice", element->name);
    diagnostics_note(check->diagnostics, error, &check->facts[first].span, "'%s' is first declared here",
                     element->name);
}

/* Make the node of a declaration or of an unnamed module. */
static uint32_t
declare(struct check *check, const struct syntax_element *element, struct table *counts,
        const struct fs_lang_type *type)
{
    bool named = element->kind == SYNTAX_DECLARATION;
    struct span span = named ? element->name_span : element->type_span;
    if (named) {
        uint32_t first = table_find(&check->names, element->name);
        if (first != TABLE_NONE) {
            report_second_declaration(check, element, first);
            return first;
        }
        if (span.length > LONGEST_NAME) {
            diagnostics_error(check->diagnostics, span, "this name is %u bytes long, more than %u", span.length,
                              LONGEST_NAME);
        }
    }
    const char *name = named ? element->name : invent_name(check, counts, element->type);
    uint32_t node = add_node(check, name, element->type, span, type);
    check->facts[node].args = &element->args;
    check->nodes[node].args = element->args.value;
    if (named) {
        table_add(&check->names, name, node);
    }
    return node;
}

static bool
declare_all(struct check *check, uint32_t *node_of)
{
    const struct syntax_element *previous = NULL; /* one unknown type of several names is one mistake */
    struct table counts;
    table_init(&counts, check->arena);
    for (size_t i = 0; i < check->tree->n_elements; i++) {
        const struct syntax_element *element = &check->tree->elements[i];
        node_of[i] = TABLE_NONE;
        if (element->kind != SYNTAX_DECLARATION && element->kind != SYNTAX_UNNAMED) {
            continue;
        }
        const struct fs_lang_type *type = check_find_type(check, element->type);
        if (!type && !(previous && previous->type_span.offset == element->type_span.offset)) {
            report_unknown_type(check, element);
        }
        if (check->n_nodes == check->limits.modules) {
            diagnostics_error(check->diagnostics, element->type_span, "the request has more than %zu modules",
                              check->limits.modules);
            return false;
        }
        node_of[i] = declare(check, element, &counts, type);
        previous = element;
    }
    return true;
}

static void
report_undeclared(struct check *check, const struct syntax_element *element)
{
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, element->name_span, "'%.64s' is not declared", element->name);
    if (check_find_type(check, element->name)) {
        diagnostics_note(check->diagnostics, error, NULL,
                         "%s is a type: a module without a name is written %s(\"...\")", element->name, element->name);
        return;
    }
    struct suggestion suggestion;
    suggest_begin(&suggestion, element->name);
    for (size_t i = 0; i < check->n_nodes && diagnostics_wanted(check->diagnostics); i++) {
        if (check->facts[i].args) {
            suggest_offer(&suggestion, check->nodes[i].name);
        }
    }
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
}

/* Find the node that a name speaks of; make a ghost where there is none. */
static void
refer(struct check *check, const struct syntax_element *element, uint32_t *node)
{
    if (element->kind != SYNTAX_REFERENCE && element->kind != SYNTAX_MENTION) {
        return;
    }
    *node = table_find(&check->names, element->name);
    if (*node == TABLE_NONE) {
        if (element->kind == SYNTAX_REFERENCE) {
            report_undeclared(check, element);
        }
        *node = add_node(check, element->name, "", element->name_span, NULL);
        table_add(&check->names, element->name, *node);
    }
    check->facts[*node].used |= element->kind == SYNTAX_MENTION;
}

/* A port is written where no connection is. */
static void
reject_port(struct check *check, const struct syntax_port *port, const char *what, const char *where)
{
    if (port->span.length) {
        diagnostics_error(check->diagnostics, port->span, "%s port %u %s is connected to nothing", what, port->number,
                          where);
    }
}

/* A statement that connects nothing: right for declarations only. */
static void
check_single(struct check *check, const struct syntax_element *element, uint32_t node)
{
    reject_port(check, &element->input, "input", "of a module without '->' before it");
    reject_port(check, &element->output, "output", "of a module without '->' behind it");
    if (element->kind == SYNTAX_REFERENCE && check->facts[node].type) {
        diagnostics_error(check->diagnostics, element->name_span,
                          "'%s' stands alone: a connection is written '%s -> ...'", element->name, element->name);
        check->facts[node].used = true;
    }
}

/* Does 'type' have the port?  Ghosts have every port. */
static bool
check_port_exists(struct check *check, uint32_t node, const struct syntax_port *port, bool output)
{
    const struct fs_lang_type *type = check->facts[node].type;
    uint32_t maximum = !type ? UINT32_MAX : output ? type->max_outputs : type->max_inputs;
    uint32_t most = check_most_ports(check, maximum);
    const char *direction = output ? "output" : "input";
    if (port->number < most || (!type && port->number < UINT32_MAX)) {
        return true;
    }
    struct span span = port->span.length ? port->span : check->facts[node].span;
    if (most == 0) {
        diagnostics_error(check->diagnostics, span, "'%s' has no %ss: it is a %s", check->nodes[node].name, direction,
                          type->name);
    } else if (most == maximum) {
        diagnostics_error(check->diagnostics, span, "'%s' has no %s %u: a %s has %u %s%s", check->nodes[node].name,
                          direction, port->number, type->name, most, direction, most == 1 ? "" : "s");
    } else {
        diagnostics_error(check->diagnostics, span, "%s %u of '%s' is beyond the limit of %u ports", direction,
                          port->number, check->nodes[node].name, check->limits.ports);
    }
    return false;
}

static struct span
place_of(const struct syntax_element *element, const struct syntax_port *port)
{
    return port->span.length ? port->span : element->name ? element->name_span : element->type_span;
}

/* One arrow. */
static void
connect(struct check *check, const struct syntax_element *from, uint32_t from_node, const struct syntax_element *to,
        uint32_t to_node)
{
    struct syntax_port output = from->output, input = to->input;
    struct link_spans spans = { place_of(from, &output), place_of(to, &input) };
    check->facts[from_node].used = check->facts[to_node].used = true;

    output.span = spans.from;
    input.span = spans.to;
    bool from_good = check_port_exists(check, from_node, &output, true);
    if (!check_port_exists(check, to_node, &input, false) || !from_good) {
        check->facts[from_node].outputs_sound = check->facts[to_node].inputs_sound = false;
        return;
    }
    struct fs_link *link = &check->links[check->n_links];
    *link = (struct fs_link) { .from = from_node, .from_port = output.number, .to = to_node, .to_port = input.number };
    diagnostics_locate(check->diagnostics, spans.to.offset, &link->line, &link->column);
    check->spans[check->n_links++] = spans;
}

static bool
connect_chain(struct check *check, const struct syntax_statement *statement, const uint32_t *node_of)
{
    const struct syntax_element *elements = &check->tree->elements[statement->first];
    const uint32_t *nodes = &node_of[statement->first];
    reject_port(check, &elements[0].input, "input", "at the beginning of a chain");
    if (!statement->broken) {
        reject_port(check, &elements[statement->n - 1].output, "output", "at the end of a chain");
    }
    for (size_t i = 0; i < statement->n; i++) {
        if (elements[i].listed) {
            diagnostics_error(check->diagnostics, elements[i].name_span,
                              "only one name can be declared within a chain");
            check->facts[nodes[i]].used = true;
        } else if (i > 0 && !elements[i - 1].listed) {
            if (check->n_links == check->limits.links) {
                diagnostics_error(check->diagnostics, place_of(&elements[i], &elements[i].input),
                                  "the request has more than %zu connections", check->limits.links);
                return false;
            }
            connect(check, &elements[i - 1], nodes[i - 1], &elements[i], nodes[i]);
        }
    }
    return true;
}

static bool
connect_all(struct check *check, const uint32_t *node_of)
{
    size_t most = check->tree->n_elements < check->limits.links ? check->tree->n_elements : check->limits.links;
    check->links = arena_array(check->arena, most, sizeof *check->links);
    check->spans = arena_array(check->arena, most, sizeof *check->spans);
    for (size_t i = 0; i < check->n_nodes; i++) {
        check->facts[i].outputs_sound = check->facts[i].inputs_sound = true;
    }
    for (size_t s = 0; s < check->tree->n_statements; s++) {
        const struct syntax_statement *statement = &check->tree->statements[s];
        if (statement->chain && statement->n) {
            if (!connect_chain(check, statement, node_of)) {
                return false;
            }
            continue;
        }
        for (size_t i = statement->first; i < statement->first + statement->n && !statement->broken; i++) {
            check_single(check, &check->tree->elements[i], node_of[i]);
        }
    }
    return true;
}

/* Sort the links by one of their ends, by counting. */
static struct link_index
make_index(struct check *check, bool outgoing)
{
    struct link_index index;
    index.first = arena_array(check->arena, check->n_nodes + 2, sizeof *index.first);
    index.by_node = arena_array(check->arena, check->n_links, sizeof *index.by_node);
    for (size_t i = 0; i < check->n_links; i++) {
        index.first[(outgoing ? check->links[i].from : check->links[i].to) + 2]++;
    }
    for (size_t n = 2; n < check->n_nodes + 2; n++) {
        index.first[n] += index.first[n - 1];
    }
    for (size_t i = 0; i < check->n_links; i++) {
        index.by_node[index.first[(outgoing ? check->links[i].from : check->links[i].to) + 1]++] = (uint32_t) i;
    }
    return index;
}

static void
index_links(struct check *check)
{
    check->outgoing = make_index(check, true);
    check->incoming = make_index(check, false);
}
