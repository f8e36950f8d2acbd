/* The front door of the language: fs_lang_check() and fs_lang_format() run the parts in their order.
 *
 *     text -> lexer.c -> parser.c -> keywords.c, check.c, ports.c, args.c, graph.c -> struct fs_request
 *
 * A request and a list of diagnostics own an arena each.  Every allocation that fails jumps back to run(), which gives
 * up as a whole. */
#include "config.h"

#include "flowstream/lang.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lang/check.h"
#include "lang/document.h"
#include "lang/keywords.h"
#include "lang/utf8.h"

#define DEFAULT_TEXT ((size_t) 1 << 20)
#define DEFAULT_MODULES 100000u
#define DEFAULT_LINKS 400000u
#define DEFAULT_PORTS 64u
#define DEFAULT_MESSAGES 100u
#define LARGEST_TEXT ((size_t) 1 << 30) /* offsets have 32 bits */
#define MOST_PORTS 65536u

/* One call. */
struct job {
    const char *text;
    size_t size;
    const char *file_name;
    const struct fs_lang_env *env; /* NULL: syntax only */
    struct fs_lang_limits limits;
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    jmp_buf out_of_memory;
};

static int run(struct job *);
static void parse_and_check(struct job *);
static struct fs_lang_limits complete_limits(const struct fs_lang_limits *);

int
fs_lang_check(const char *text, size_t size, const char *file_name, const struct fs_lang_env *env,
              struct fs_request **request, struct fs_diagnostics **diagnostics)
{
    assert(env);
    struct job job = {
        .text = text, .size = size, .file_name = file_name, .env = env, .limits = complete_limits(&env->limits)
    };
    int error = run(&job);
    *request = job.request;
    *diagnostics = job.diagnostics;
    return error;
}

int
fs_lang_format(const char *text, size_t size, const char *file_name, const struct fs_lang_limits *limits,
               char **formatted, struct fs_diagnostics **diagnostics)
{
    struct fs_lang_limits none = { .text = 0 };
    struct job job = {
        .text = text, .size = size, .file_name = file_name, .limits = complete_limits(limits ? limits : &none)
    };
    int error = run(&job);
    *formatted = error ? NULL : fs_request_format(job.request);
    fs_request_destroy(job.request);
    if (!error && !*formatted) {
        fs_diagnostics_destroy(job.diagnostics);
        job.diagnostics = NULL;
        error = ENOMEM;
    }
    *diagnostics = job.diagnostics;
    return error;
}

static struct fs_lang_limits
complete_limits(const struct fs_lang_limits *given)
{
    struct fs_lang_limits limits = *given;
    limits.text = !limits.text ? DEFAULT_TEXT : limits.text < LARGEST_TEXT ? limits.text : LARGEST_TEXT;
    limits.modules = limits.modules ? limits.modules : DEFAULT_MODULES;
    limits.links = limits.links ? limits.links : DEFAULT_LINKS;
    limits.ports = !limits.ports ? DEFAULT_PORTS : limits.ports < MOST_PORTS ? limits.ports : MOST_PORTS;
    limits.messages = limits.messages ? limits.messages : DEFAULT_MESSAGES;
    return limits;
}

static struct fs_request *
create_request(jmp_buf *out_of_memory)
{
    struct fs_request *request = calloc(1, sizeof *request);
    struct fs_request_document *document = calloc(1, sizeof *document);
    if (!request || !document) {
        free(request);
        free(document);
        return NULL;
    }
    document->arena.out_of_memory = out_of_memory;
    request->document = document;
    return request;
}

static void
drop_request(struct job *job)
{
    fs_request_destroy(job->request);
    job->request = NULL;
}

/* Everything that changes after setjmp() lies in the caller's 'job'. */
static int
run(struct job *job)
{
    job->diagnostics = diagnostics_create(&job->out_of_memory);
    job->request = create_request(&job->out_of_memory);
    if (!job->diagnostics || !job->request || setjmp(job->out_of_memory)) {
        drop_request(job);
        fs_diagnostics_destroy(job->diagnostics);
        job->diagnostics = NULL;
        return ENOMEM;
    }
    parse_and_check(job);
    diagnostics_finish(job->diagnostics);
    if (fs_diagnostics_errors(job->diagnostics)) {
        drop_request(job);
        return EINVAL;
    }
    job->request->document->arena.out_of_memory = NULL;
    return 0;
}

/* Is it text at all?  Reports the first byte that is not. */
static bool
check_bytes(struct job *job)
{
    for (size_t i = 0; i < job->size;) {
        size_t length = utf8_length(job->text + i, job->size - i);
        struct span span = { (uint32_t) i, 1 };
        unsigned char c = (unsigned char) job->text[i];
        if (c == '\0') {
            diagnostics_error(job->diagnostics, span, "the text has a NUL byte");
            return false;
        }
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f) {
            diagnostics_error(job->diagnostics, span, "the text has a control character: byte 0x%02x", c);
            return false;
        }
        if (length == 0) {
            diagnostics_error(job->diagnostics, span, "the text is not UTF-8: byte 0x%02x", c);
            return false;
        }
        i += length;
    }
    return true;
}

static void
check_meaning(struct job *job, const struct syntax_tree *tree, const char *text)
{
    struct fs_request *request = job->request;
    struct check check = { .arena = &request->document->arena,
                           .diagnostics = job->diagnostics,
                           .env = job->env,
                           .limits = job->limits,
                           .text = text,
                           .tree = tree };
    request->headers = keywords_check(check.arena, tree, job->diagnostics);
    request->n_headers = tree->n_headers;
    if (!check_names(&check)) {
        return;
    }
    check_ports(&check);
    check_args(&check);
    check_graph(&check);
    request->nodes = check.nodes;
    request->n_nodes = check.n_nodes;
    request->links = check.links;
    request->n_links = check.n_links;
}

static void
parse_and_check(struct job *job)
{
    bool fits = job->size <= job->limits.text;
    diagnostics_set_source(job->diagnostics, job->file_name, job->text, fits ? job->size : 0, job->limits.messages);
    if (!fits) {
        struct span start = { 0, 0 };
        diagnostics_error(job->diagnostics, start, "the text has %zu bytes, more than %zu", job->size,
                          job->limits.text);
        return;
    }
    if (!check_bytes(job)) {
        return;
    }
    struct fs_request_document *document = job->request->document;
    struct syntax_tree tree = { .headers = NULL };
    document->text = arena_copy(&document->arena, job->text, job->size);
    document->tokens = lexer_run(&document->arena, document->text, job->size, job->diagnostics);
    parser_run(&document->arena, document->text, document->tokens, job->diagnostics, &tree);
    if (job->env) {
        check_meaning(job, &tree, document->text);
    }
}
