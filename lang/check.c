/* The first half of the checker: who is who.  Declarations become nodes, names in connections are looked up,
 * connections become links.
 *
 * The request is gone through first, then, one after the other, each use of a part (parts.c), which has names of its
 * own.  The mistakes of a part are those of its first use.
 *
 * A name that nobody declared becomes a ghost, a node without a type: so it is reported once, and nothing else is said
 * about what is connected to it.  Names may be used before they are declared. */
#include "config.h"

#include "lang/check.h"

#include <string.h>

#include "core/suggest.h"
#include "lang/keywords.h"

#define LONGEST_NAME 64u
#define MOST_LISTED 24u

static const struct fs_lang_type from_net = { "FromNet", 0, 0, 1, 1, NULL, 0 };
static const struct fs_lang_type to_net = { "ToNet", 1, UINT32_MAX, 0, 0, NULL, 0 };

/* One scope, used once, while its names are looked up. */
struct place {
    const struct check_instance *instance;
    const struct syntax_scope *scope;
    bool again;          /* its mistakes are reported */
    struct table *names; /* to nodes */
    uint32_t *node_of;   /* element to node */
};

static bool check_instance(struct check *, const struct check_instance *);
static bool declare_all(struct check *, const struct place *);
static void refer(struct check *, const struct place *, const struct syntax_element *, enum syntax_kind, uint32_t *node);
static bool connect_all(struct check *, const struct place *);
static void index_links(struct check *);

bool
check_names(struct check *check)
{
    struct check_instance *request = arena_alloc(check->work, sizeof *request);
    *request = (struct check_instance) { .scope = check->scope, .prefix = "", .input = TABLE_NONE };
    check->waiting = NULL;
    check->last_waiting = &check->waiting;
    bool good = check_instance(check, request);
    for (struct check_instance *i = check->waiting; i && good; i = i->next) {
        diagnostics_mute(check->diagnostics, i->part->expanded);
        good = check_instance(check, i);
        diagnostics_mute(check->diagnostics, false);
        i->part->expanded = true;
    }
    if (good) {
        index_links(check);
    }
    return good;
}

/* The nodes and links of one instance. */
static bool
check_instance(struct check *check, const struct check_instance *instance)
{
    struct table own;
    struct place place = { .instance = instance,
                           .scope = instance->scope,
                           .again = instance->part && instance->part->expanded };
    place.names = instance->part ? &own : &check->names;
    table_init_like(place.names, &check->file->types);
    table_reserve(place.names, place.scope->n_names + 2);
    place.node_of = arena_array(check->work, place.scope->n_elements, sizeof *place.node_of);
    check->incomplete |= place.scope->incomplete;
    if (instance->part) {
        table_add(place.names, "input", instance->input);
        table_add(place.names, "output", instance->input + 1);
    }
    if (!declare_all(check, &place)) {
        return false;
    }
    /* What stands in a statement that could not be parsed may be declared there, also where it is spoken of before. */
    for (size_t i = 0; i < place.scope->n_elements; i++) {
        refer(check, &place, &place.scope->elements[i], SYNTAX_MENTION, &place.node_of[i]);
    }
    for (size_t i = 0; i < place.scope->n_elements; i++) {
        refer(check, &place, &place.scope->elements[i], SYNTAX_REFERENCE, &place.node_of[i]);
    }
    return connect_all(check, &place);
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
    if (name == check->file->last_type_name) {
        return check->file->last_type; /* the parser gives modules one behind the other one name */
    }
    const struct part *part = parts_find(check, name);
    uint32_t i = part ? TABLE_NONE : table_find(&check->file->types, name);
    const struct fs_lang_type *type = part ? &part->type : i == TABLE_NONE ? NULL : &check->env->types[i];
    if (type) {
        check->file->last_type_name = name;
        check->file->last_type = type;
    }
    return type;
}

uint32_t
check_most_ports(const struct check *check, uint32_t type_maximum)
{
    return type_maximum < check->limits.ports ? type_maximum : check->limits.ports;
}

const char *
check_shown_name(const struct check *check, uint32_t node, bool output)
{
    enum node_stand stand = check->facts[node].stand;
    return stand == STAND_INPUTS && output     ? "input"
           : stand == STAND_OUTPUTS && !output ? "output"
                                               : check->nodes[node].name;
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
    size_t n_parts = 0;
    char *list = arena_copy(check->work, "FromNet, ToNet", strlen("FromNet, ToNet"));
    suggest_begin(&suggestion, element->type);
    suggest_offer(&suggestion, from_net.name);
    suggest_offer(&suggestion, to_net.name);
    for (size_t i = 0; i < check->env->n_types; i++) {
        suggest_offer(&suggestion, check->env->types[i].name);
        if (i <= MOST_LISTED) {
            list = arena_printf(check->work, "%s, %s", list, i < MOST_LISTED ? check->env->types[i].name : "...");
        }
    }
    for (size_t i = 0; i < check->file->tree->n_scopes; i++) {
        if (check->file->parts[i].scope) {
            suggest_offer(&suggestion, check->file->parts[i].type.name);
            n_parts++;
            if (n_parts <= MOST_LISTED) {
                list = arena_printf(check->work, "%s, %s", list, n_parts < MOST_LISTED ? check->file->parts[i].type.name : "...");
            }
        }
    }
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
    diagnostics_note(check->diagnostics, error, NULL, "the types are: %s", list);
}

/* The name of a file, as the request keeps it: it may outlive its diagnostics. */
static const char *
own_file(struct check *check, const char *name)
{
    if (name != check->file->last_file) {
        check->file->last_file = name;
        check->file->file_name = arena_copy(check->arena, name, strlen(name));
    }
    return check->file->file_name;
}

/* Append a node; its kind follows from its type. */
static uint32_t
add_node(struct check *check, const struct place *place, const char *name, const char *type_name, struct span span,
         const struct fs_lang_type *type)
{
    check->nodes = arena_grow(check->arena, check->nodes, check->n_nodes, &check->nodes_capacity, sizeof *check->nodes);
    check->facts = arena_grow(check->work, check->facts, check->n_nodes, &check->facts_capacity, sizeof *check->facts);
    struct fs_request_node *node = &check->nodes[check->n_nodes];
    *node = (struct fs_request_node) { .name = name, .type = type_name, .args = "" };
    node->kind = type == &from_net ? FS_NODE_FROM_NET : type == &to_net ? FS_NODE_TO_NET : FS_NODE_MODULE;
    node->file = own_file(check, diagnostics_locate(check->diagnostics, span.offset, &node->line, &node->column));
    check->facts[check->n_nodes] = (struct node_facts) { .span = span,
                                                        .type = type,
                                                        .instance = place->instance,
                                                        .again = place->again,
                                                        .outputs_sound = true,
                                                        .inputs_sound = true };
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
report_second_declaration(struct check *check, const struct place *place, const struct syntax_element *element,
                          uint32_t first)
{
    if (first == place->instance->input || first == place->instance->input + 1) {
        diagnostics_error(check->diagnostics, element->name_span, "'%s' is what leads %s: no module can have this name",
                          element->name, first == place->instance->input ? "into the part" : "out of the part");
        return;
    }
    struct fs_diagnostic *error =
        diagnostics_error(check->diagnostics, element->name_span, "'%s' is declared twice", element->name);
    diagnostics_note(check->diagnostics, error, &check->facts[first].span, "'%s' is first declared here",
                     element->name);
}

/* The argument string of a module: its strings with ", " between them.  Several names of one declaration share it. */
static const char *
read_args(struct check *check, const struct place *place, const struct syntax_args *args)
{
    if (args->n == 0) {
        return "";
    }
    if (check->last_args.strings == args->strings && check->last_args.instance == place->instance) {
        return check->last_args.value;
    }
    const char **values = arena_array(check->work, args->n, sizeof *values);
    size_t length = 0, n_missing = check->file->n_missing;
    for (uint32_t i = 0; i < args->n; i++) {
        const struct syntax_string *string = &args->strings[i];
        values[i] = parameters_value(check, place->instance, string->value, string->variable, string->span);
        length += strlen(values[i]) + strlen(", ");
    }
    char *all = args->n == 1 ? NULL : arena_alloc(check->arena, length + 1), *to = all;
    for (uint32_t i = 0; i < args->n && all; i++) {
        to = stpcpy(stpcpy(to, i ? ", " : ""), values[i]);
    }
    check->last_args.strings = args->strings;
    check->last_args.instance = place->instance;
    check->last_args.missing = check->file->n_missing != n_missing;
    check->last_args.value = all ? all : values[0];
    return check->last_args.value;
}

/* The nodes that stand for the ports of an instance of a part. */
static void
add_instance(struct check *check, const struct place *place, const struct syntax_element *element, struct part *part,
             uint32_t input)
{
    const char *name = check->nodes[input].name;
    uint32_t output = add_node(check, place, name, element->type, check->facts[input].span, &part->type);
    check->facts[input].stand = STAND_INPUTS;
    check->facts[output].stand = STAND_OUTPUTS;
    check->facts[input].args = check->facts[output].args = &element->args;
    check->facts[input].used = part->type.max_inputs == 0 && part->type.max_outputs == 0;
    if (element->properties.n) {
        diagnostics_error(check->diagnostics, element->properties.pairs[0].key_span,
                          "'%s' is a part: properties stand behind the modules in it", name);
    }
    if (!parts_instantiate(check, part, element, name, place->instance, input)) {
        check->facts[input].type = check->facts[output].type = NULL; /* nothing more is asked of it */
        check->n_ghosts += 2;
    }
}

/* The properties and arguments of a node of the request. */
static void
fill_node(struct check *check, const struct place *place, const struct syntax_element *element, uint32_t node)
{
    struct settings settings = check->settings;
    check->facts[node].args = &element->args;
    check->nodes[node].args = read_args(check, place, &element->args);
    check->facts[node].vague = element->args.n && check->last_args.missing;
    if (check->nodes[node].kind == FS_NODE_MODULE) {
        keywords_read_properties(check, place->instance, &element->properties, true, &settings);
        check->nodes[node].needs = settings.needs;
    } else if (element->properties.n) {
        diagnostics_error(check->diagnostics, element->properties.pairs[0].key_span,
                          "'%s' is a %s, which has no properties", check->nodes[node].name, element->type);
    }
}

/* Make the node of a declaration or of an unnamed module. */
static uint32_t
declare(struct check *check, const struct place *place, const struct syntax_element *element, struct table *counts,
        const struct fs_lang_type *type)
{
    bool named = element->kind == SYNTAX_DECLARATION;
    struct span span = named ? element->name_span : element->type_span;
    if (named) {
        uint32_t first = table_enter(place->names, element->name, (uint32_t) check->n_nodes);
        if (first != TABLE_NONE) {
            report_second_declaration(check, place, element, first);
            return first;
        }
        if (span.length > LONGEST_NAME) {
            diagnostics_error(check->diagnostics, span, "this name is %u bytes long, more than %u", span.length,
                              LONGEST_NAME);
        }
    }
    const char *name = named ? element->name : invent_name(check, counts, element->type);
    if (*place->instance->prefix) {
        name = arena_printf(check->arena, "%s%s", place->instance->prefix, name);
    }
    struct part *part = parts_find(check, element->type);
    uint32_t node = add_node(check, place, name, element->type, span, type);
    if (part && type == &part->type) {
        add_instance(check, place, element, part, node);
    } else {
        fill_node(check, place, element, node);
    }
    return node;
}

static bool
declare_all(struct check *check, const struct place *place)
{
    const struct syntax_element *previous = NULL; /* one unknown type of several names is one mistake */
    struct table counts;
    table_init_like(&counts, &check->file->types);
    for (size_t i = 0; i < place->scope->n_elements; i++) {
        const struct syntax_element *element = &place->scope->elements[i];
        place->node_of[i] = TABLE_NONE;
        if (element->kind != SYNTAX_DECLARATION && element->kind != SYNTAX_UNNAMED) {
            continue;
        }
        const struct fs_lang_type *type = check_find_type(check, element->type);
        if (!type && !(previous && previous->type_span.offset == element->type_span.offset)) {
            report_unknown_type(check, element);
        }
        if (check->n_modules++ == check->limits.modules) {
            diagnostics_mute(check->diagnostics, false);
            diagnostics_error(check->diagnostics, element->type_span, "the request has more than %zu modules",
                              check->limits.modules);
            return false;
        }
        place->node_of[i] = declare(check, place, element, &counts, type);
        previous = element;
    }
    return true;
}

static void
report_undeclared(struct check *check, const struct place *place, const struct syntax_element *element)
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
        if (check->facts[i].args && check->facts[i].instance == place->instance &&
            check->facts[i].stand != STAND_OUTPUTS) {
            suggest_offer(&suggestion, check->nodes[i].name + strlen(place->instance->prefix));
        }
    }
    diagnostics_suggest(check->diagnostics, error, suggestion.best);
}

/* Find the node that a name speaks of, if it is of this kind; make a ghost where there is none. */
static void
refer(struct check *check, const struct place *place, const struct syntax_element *element, enum syntax_kind kind,
      uint32_t *node)
{
    if (element->kind != kind) {
        return;
    }
    *node = table_find(place->names, element->name);
    if (*node == TABLE_NONE) {
        if (element->kind == SYNTAX_REFERENCE) {
            report_undeclared(check, place, element);
        }
        *node = add_node(check, place, element->name, "", element->name_span, NULL);
        table_add(place->names, element->name, *node);
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
    bool inner = check->facts[node].stand == (output ? STAND_INPUTS : STAND_OUTPUTS);
    if (inner && port->number < check->limits.ports) {
        return true; /* the ports of a part are those that it connects */
    }
    most = inner ? check->limits.ports : most;
    if (most == 0) {
        diagnostics_error(check->diagnostics, span, "'%s' has no %ss: it is a %s", check->nodes[node].name, direction,
                          type->name);
    } else if (most == maximum && !inner) {
        diagnostics_error(check->diagnostics, span, "'%s' has no %s %u: a %s has %u %s%s", check->nodes[node].name,
                          direction, port->number, type->name, most, direction, most == 1 ? "" : "s");
    } else {
        diagnostics_error(check->diagnostics, span, "%s %u of '%s' is beyond the limit of %u ports", direction,
                          port->number, check_shown_name(check, node, output), check->limits.ports);
    }
    return false;
}

static struct span
place_of(const struct syntax_element *element, const struct syntax_port *port)
{
    return port->span.length ? port->span : element->name ? element->name_span : element->type_span;
}

/* The node that a connection begins or ends at, where 'node' is what its name stands for; TABLE_NONE: it cannot. */
static uint32_t
end_of_link(struct check *check, const struct place *place, const struct syntax_element *element, uint32_t node,
            bool output)
{
    const struct check_instance *instance = place->instance;
    bool inner = instance->part && (node == instance->input || node == instance->input + 1);
    if (!inner) {
        check->facts[node].used = true;
        return check->facts[node].stand == STAND_INPUTS && output ? node + 1 : node;
    }
    if ((node == instance->input) == output) {
        return node;
    }
    diagnostics_error(check->diagnostics, element->name_span,
                      output ? "'output' leads out of the part: nothing in it can come behind"
                             : "'input' leads into the part: nothing in it can come before");
    return TABLE_NONE;
}

/* One arrow. */
static void
connect(struct check *check, const struct place *place, const struct syntax_element *from, uint32_t from_node,
        const struct syntax_element *to, uint32_t to_node)
{
    struct syntax_port output = from->output, input = to->input;
    struct link_spans spans = { place_of(from, &output), place_of(to, &input) };
    struct settings settings = { .rate = 0 }; /* the default comes in when parts are dissolved */
    from_node = end_of_link(check, place, from, from_node, true);
    to_node = end_of_link(check, place, to, to_node, false);
    keywords_read_properties(check, place->instance, &to->arrow, false, &settings);
    if (from_node == TABLE_NONE || to_node == TABLE_NONE) {
        check->incomplete = true;
        return;
    }
    output.span = spans.from;
    input.span = spans.to;
    bool from_good = check_port_exists(check, from_node, &output, true);
    if (!check_port_exists(check, to_node, &input, false) || !from_good) {
        check->facts[from_node].outputs_sound = check->facts[to_node].inputs_sound = false;
        return;
    }
    check->links = arena_grow(check->arena, check->links, check->n_links, &check->links_capacity, sizeof *check->links);
    check->spans = arena_grow(check->work, check->spans, check->n_links, &check->spans_capacity, sizeof *check->spans);
    struct fs_request_link *link = &check->links[check->n_links];
    *link = (struct fs_request_link) {
        .from = from_node, .from_port = output.number, .to = to_node, .to_port = input.number, .rate = settings.rate
    };
    diagnostics_locate(check->diagnostics, spans.to.offset, &link->line, &link->column);
    check->spans[check->n_links++] = spans;
}

static bool
connect_chain(struct check *check, const struct place *place, const struct syntax_statement *statement)
{
    const struct syntax_element *elements = &place->scope->elements[statement->first];
    const uint32_t *nodes = &place->node_of[statement->first];
    reject_port(check, &elements[0].input, "input", "at the beginning of a chain");
    if (!statement->broken) {
        reject_port(check, &elements[statement->n - 1].output, "output", "at the end of a chain");
    }
    for (size_t i = 0; i < statement->n; i++) {
        if (elements[i].kind == SYNTAX_REFERENCE && elements[i].properties.n) {
            diagnostics_error(
                check->diagnostics, elements[i].properties.pairs[0].key_span,
                "the properties of '%.64s' stand where it is declared; those of a connection behind its '->'",
                elements[i].name);
        }
        if (elements[i].listed) {
            diagnostics_error(check->diagnostics, elements[i].name_span,
                              "only one name can be declared within a chain");
            check->facts[nodes[i]].used = true;
        } else if (i > 0 && !elements[i - 1].listed) {
            if (check->n_links == check->limits.links) {
                diagnostics_mute(check->diagnostics, false);
                diagnostics_error(check->diagnostics, place_of(&elements[i], &elements[i].input),
                                  "the request has more than %zu connections", check->limits.links);
                return false;
            }
            connect(check, place, &elements[i - 1], nodes[i - 1], &elements[i], nodes[i]);
        }
    }
    return true;
}

static bool
connect_all(struct check *check, const struct place *place)
{
    for (size_t s = 0; s < place->scope->n_statements; s++) {
        const struct syntax_statement *statement = &place->scope->statements[s];
        if (statement->chain && statement->n) {
            if (!connect_chain(check, place, statement)) {
                return false;
            }
            continue;
        }
        for (size_t i = statement->first; i < statement->first + statement->n && !statement->broken; i++) {
            check_single(check, &place->scope->elements[i], place->node_of[i]);
        }
    }
    return true;
}

/* Sort the links by one of their ends, by counting. */
static struct link_index
make_index(struct check *check, bool outgoing)
{
    struct link_index index;
    index.first = arena_array(check->work, check->n_nodes + 2, sizeof *index.first);
    index.by_node = arena_array(check->work, check->n_links, sizeof *index.by_node);
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
