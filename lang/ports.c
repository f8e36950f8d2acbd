/* The checker, about ports: outputs are connected once each and without gaps, inputs at least once each, as many of
 * both as the type needs.  How often a port may be used at all was checked when the links were made (check.c). */
#include "config.h"

#include "lang/check.h"

/* One side of a node while it is being checked. */
struct side {
    bool output;
    const char *direction;
    uint32_t minimum; /* of the type */
    uint32_t n;       /* highest connected port + 1 */
    uint32_t n_distinct;
    bool sound;
};

static void check_node(struct check *, uint32_t node, uint32_t *users);

void
check_ports(struct check *check)
{
    uint32_t *users = arena_array(check->work, (size_t) check->limits.ports + 1, sizeof *users); /* port to link + 1 */
    for (size_t i = 0; i < check->n_nodes; i++) {
        if (check->facts[i].type) {
            diagnostics_mute(check->diagnostics, check->facts[i].again);
            check_node(check, (uint32_t) i, users);
        }
    }
    diagnostics_mute(check->diagnostics, false);
}

static void
report_twice(struct check *check, uint32_t node, uint32_t port, struct span span, const struct span *first)
{
    struct fs_diagnostic *error = diagnostics_error(check->diagnostics, span, "output %u of '%s' is connected twice",
                                                    port, check_shown_name(check, node, true));
    if (check->facts[node].stand == STAND_NONE && check->facts[node].type->max_outputs == 1) {
        diagnostics_note(check->diagnostics, error, first,
                         "it is first connected here; a %s has one output only, a Mirror may have several",
                         check->nodes[node].type);
    } else {
        diagnostics_note(check->diagnostics, error, first,
                         "it is first connected here; each further output has a number of its own: %s[%u]",
                         check_shown_name(check, node, true), port + 1);
    }
}

/* Enter the links of one side in 'users'. */
static void
count_ports(struct check *check, uint32_t node, struct side *side, uint32_t *users)
{
    const struct link_index *index = side->output ? &check->outgoing : &check->incoming;
    for (uint32_t i = index->first[node]; i < index->first[node + 1]; i++) {
        uint32_t link = index->by_node[i],
                 port = side->output ? check->links[link].from_port : check->links[link].to_port;
        side->n = port >= side->n ? port + 1 : side->n;
        if (users[port] == 0) {
            users[port] = link + 1;
            side->n_distinct++;
        } else if (side->output) {
            report_twice(check, node, port, check->spans[link].from, &check->spans[users[port] - 1].from);
            side->sound = false;
        }
    }
}

/* Report each port below the highest that nothing is connected to. */
static void
report_gaps(struct check *check, uint32_t node, struct side *side, const uint32_t *users)
{
    const struct link_spans *last = &check->spans[users[side->n - 1] - 1];
    for (uint32_t port = 0; port < side->n; port++) {
        if (users[port] == 0) {
            diagnostics_error(check->diagnostics, side->output ? last->from : last->to,
                              "%s %u of '%s' is connected, but %s %u is not", side->direction, side->n - 1,
                              check_shown_name(check, node, side->output), side->direction, port);
            side->sound = false;
        }
    }
}

static void
report_missing(struct check *check, uint32_t node, struct side *side)
{
    const char *name = check->nodes[node].name;
    struct span span = check->facts[node].span;
    if (!side->output && side->n == 0) {
        diagnostics_error(check->diagnostics, span, "no FromNet leads to '%s': nothing is connected to its input",
                          name);
    } else if (side->n == 0) {
        diagnostics_error(check->diagnostics, span, "nothing is connected to the output of '%s'", name);
    } else {
        diagnostics_error(check->diagnostics, span, "'%s' has %u connected %s%s, but a %s needs %u", name, side->n,
                          side->direction, side->n == 1 ? "" : "s", check->nodes[node].type, side->minimum);
    }
    side->sound = false;
}

static void
check_side(struct check *check, uint32_t node, struct side *side, uint32_t *users)
{
    bool elsewhere = check->env->partial && check->nodes[node].kind == FS_NODE_MODULE;
    bool complete = side->sound && !elsewhere && !check->incomplete; /* else what is missing may be in what was not understood */
    count_ports(check, node, side, users);
    if (complete && side->n_distinct < side->n) {
        report_gaps(check, node, side, users);
    } else if (complete && side->n < side->minimum) {
        report_missing(check, node, side);
    }
    for (uint32_t port = 0; port < side->n; port++) {
        users[port] = 0;
    }
}

/* A module whose packets could go on, but do not. */
static void
warn_of_end(struct check *check, uint32_t node)
{
    const struct fs_lang_type *type = check->facts[node].type;
    if (check->facts[node].stand == STAND_NONE && check->nodes[node].kind == FS_NODE_MODULE && type->max_outputs > 0) {
        diagnostics_warning(check->diagnostics, check->facts[node].span,
                            "nothing is connected to the output of '%s': its packets end there",
                            check->nodes[node].name);
    }
}

static void
check_node(struct check *check, uint32_t node, uint32_t *users)
{
    struct node_facts *facts = &check->facts[node];
    bool second = facts->stand == STAND_OUTPUTS; /* of an instance, of which the first is used or not */
    if (!check->facts[second ? node - 1 : node].used) {
        facts->inputs_sound = facts->outputs_sound = false;
        if (!check->incomplete && !second) {
            diagnostics_error(check->diagnostics, facts->span, "'%s' is declared, but not connected to anything",
                              check->nodes[node].name);
        }
        return;
    }
    struct side input = { .direction = "input", .minimum = facts->type->min_inputs, .sound = facts->inputs_sound };
    struct side output = {
        .output = true, .direction = "output", .minimum = facts->type->min_outputs, .sound = facts->outputs_sound
    };
    if (facts->stand == STAND_INPUTS) {
        output.minimum = 0; /* inside, it is what it is */
    } else if (second) {
        input.minimum = 0;
    }
    check_side(check, node, &input, users);
    check_side(check, node, &output, users);
    facts->inputs_sound = input.sound;
    facts->outputs_sound = output.sound;
    check->nodes[node].n_inputs = input.n;
    check->nodes[node].n_outputs = output.n;
    if (output.n == 0 && output.sound && !check->incomplete && !check->env->partial) {
        warn_of_end(check, node);
    }
}
