/* The formatter: tokens to canonical text.
 *
 * It works on the tokens, not on the tree, and so keeps every comment.  One statement a line; one empty line where
 * there are any; a chain that was broken over lines goes on with an indented "->" on each; what stands in a block is
 * indented.  Comments stay behind what they stand behind: only those on both sides of a line break at an arrow come to
 * stand before the arrow. */
#include "config.h"

#include "lang/document.h"

#include "lang/text.h"

#define INDENT 4

struct formatter {
    const char *source;
    const struct token *token; /* to be written next */
    struct text out;
    enum token_kind last;   /* what was written last */
    unsigned int depth;     /* blocks that are open */
    bool statement_begun;   /* further lines are indented */
    bool line_begun;        /* the line has something on it */
    bool break_due;         /* nothing but a comment may come on this line */
    unsigned int line_ends; /* in the source since what was written last */
};

static void format_one(struct formatter *);

char *
format_tokens(const char *text, struct tokens tokens)
{
    struct formatter formatter = { .source = text, .token = tokens.array, .last = TOKEN_STATEMENT_END };
    while (formatter.token->kind != TOKEN_END_OF_TEXT) {
        format_one(&formatter);
    }
    if (formatter.line_begun) {
        text_puts(&formatter.out, "\n");
    }
    return text_take(&formatter.out);
}

/* End the line; keep one of the empty lines between statements. */
static void
new_line(struct formatter *formatter)
{
    if (formatter->line_begun) {
        text_puts(&formatter->out, "\n");
    }
    bool edge = formatter->last == TOKEN_OPEN_BLOCK || formatter->token->kind == TOKEN_CLOSE_BLOCK;
    if (!formatter->statement_begun && formatter->line_ends > 1 && formatter->out.length && !edge) {
        text_puts(&formatter->out, "\n");
    }
    text_repeat(&formatter->out, ' ', (formatter->depth + formatter->statement_begun) * INDENT);
    formatter->line_begun = false;
    formatter->break_due = false;
}

/* Does a space belong between two tokens on one line? */
static bool
spaced(enum token_kind last, enum token_kind next)
{
    if (last == TOKEN_COMMENT || next == TOKEN_COMMENT) {
        return true;
    }
    switch (next) {
    case TOKEN_COLONS:
    case TOKEN_ARROW:
    case TOKEN_LESS:
    case TOKEN_OPEN_PROPERTIES:
    case TOKEN_OPEN_BLOCK: return true;
    case TOKEN_CLOSE_PROPERTIES: return false;
    default: break;
    }
    switch (last) {
    case TOKEN_COLONS:
    case TOKEN_ARROW:
    case TOKEN_LESS:
    case TOKEN_CLOSE_PROPERTIES: return true;
    case TOKEN_COMMA: return next != TOKEN_CLOSE && next != TOKEN_CLOSE_PORT;
    case TOKEN_NAME: return next == TOKEN_NAME || next == TOKEN_STRING;
    default: return false;
    }
}

static void
write_token(struct formatter *formatter, const struct token *token)
{
    if (formatter->line_begun && spaced(formatter->last, token->kind)) {
        text_puts(&formatter->out, " ");
    }
    text_add(&formatter->out, formatter->source + token->span.offset, token->span.length);
    formatter->last = token->kind;
    formatter->line_begun = true;
    formatter->line_ends = 0;
}

static bool
is_line_comment(const struct formatter *formatter, const struct token *token)
{
    const char *comment = formatter->source + token->span.offset;
    return comment[0] == '#' || comment[1] == '/';
}

/* A comment stays on the line of what stands before it, or has a line of its own. */
static void
write_comment(struct formatter *formatter, const struct token *token)
{
    bool own_line = !formatter->line_begun || formatter->line_ends > 0 ||
                    (formatter->break_due && formatter->last == TOKEN_COMMENT);
    if (own_line) {
        new_line(formatter);
    }
    bool between = !formatter->statement_begun;
    write_token(formatter, token);
    if (is_line_comment(formatter, token) || between) {
        formatter->break_due = true;
    }
}

/* Is there a line end between here and the next token that is neither line end nor comment?  '*next' becomes that
 * token. */
static bool
line_ends_before(const struct token *token, const struct token **next)
{
    bool found = false;
    while (token->kind == TOKEN_COMMENT || token->kind == TOKEN_LINE_END) {
        found |= token->kind == TOKEN_LINE_END;
        token++;
    }
    *next = token;
    return found;
}

/* The comments behind the arrow go before it, where they do not get between the arrow and what it leads to. */
static void
write_arrow(struct formatter *formatter)
{
    const struct token *arrow = formatter->token, *next;
    bool broken = line_ends_before(arrow + 1, &next);
    broken |= formatter->line_ends > 0 || formatter->break_due;
    for (const struct token *token = arrow + 1; token < next; token++) {
        if (token->kind == TOKEN_COMMENT) {
            write_comment(formatter, token);
        } else {
            formatter->line_ends++;
        }
    }
    if (broken || formatter->break_due) {
        new_line(formatter);
    }
    write_token(formatter, arrow);
    formatter->token = next;
}

/* The brace of a block, and what is indented from there on. */
static void
open_block(struct formatter *formatter, const struct token *token)
{
    write_token(formatter, token);
    formatter->depth++;
    formatter->statement_begun = false;
    formatter->break_due = true;
}

static void
close_block(struct formatter *formatter, const struct token *token)
{
    formatter->statement_begun = false;
    formatter->depth -= formatter->depth > 0;
    new_line(formatter);
    write_token(formatter, token);
    formatter->break_due = true;
}

static void
end_statement(struct formatter *formatter, const struct token *token)
{
    formatter->statement_begun = false;
    formatter->break_due = true;
    formatter->line_ends += formatter->source[token->span.offset] == '\n';
}

static void
format_one(struct formatter *formatter)
{
    const struct token *token = formatter->token;
    switch (token->kind) {
    case TOKEN_ARROW: write_arrow(formatter); return;
    case TOKEN_COMMENT: write_comment(formatter, token); break;
    case TOKEN_STATEMENT_END: end_statement(formatter, token); break;
    case TOKEN_LINE_END: formatter->line_ends++; break;
    case TOKEN_OPEN_BLOCK: open_block(formatter, token); break;
    case TOKEN_CLOSE_BLOCK: close_block(formatter, token); break;
    default:
        if (formatter->break_due) {
            new_line(formatter);
        }
        write_token(formatter, token);
        formatter->statement_begun = true;
        break;
    }
    formatter->token++;
}
