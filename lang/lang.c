/* The front door of the language: fs_lang_check() and fs_lang_format() run the parts in their order.
 *
 *     text -> lexer.c -> parser.c -> parameters.c, parts.c
 *          -> for each request: keywords.c, check.c, ports.c, args.c, graph.c, delays.c, warnings.c -> struct fs_request
 *
 * A request and a list of diagnostics own an arena each, and what is needed no longer than the call lies in two more.
 * Every allocation that fails jumps back to run(), which gives up as a whole. */
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
#define DEFAULT_FILES 64u
#define MOST_SUBSTITUTES ((size_t) 16 << 20) /* bytes of values of parameters */
#define LARGEST_TEXT ((size_t) 1 << 30)      /* offsets have 32 bits */
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
    struct table included; /* names of files */
    size_t total;          /* bytes of all texts */
    struct arena work;     /* the tree, and what the checker finds out */
    struct arena tokens;   /* freed when they are parsed */
    char *unowned;         /* malloc()ed, to be freed when memory runs out */
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
    limits.files = limits.files ? limits.files : DEFAULT_FILES;
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

static void
drop_work(struct job *job)
{
    arena_free(&job->tokens);
    arena_free(&job->work);
}

/* Everything that changes after setjmp() lies in the caller's 'job'. */
static int
run(struct job *job)
{
    job->work.out_of_memory = job->tokens.out_of_memory = &job->out_of_memory;
    job->diagnostics = diagnostics_create(&job->out_of_memory);
    job->request = create_request(&job->out_of_memory);
    if (!job->diagnostics || !job->request || setjmp(job->out_of_memory)) {
        drop_work(job);
        drop_request(job);
        free(job->unowned);
        fs_diagnostics_destroy(job->diagnostics);
        job->diagnostics = NULL;
        return ENOMEM;
    }
    parse_and_check(job);
    drop_work(job);
    diagnostics_mute(job->diagnostics, false);
    diagnostics_finish(job->diagnostics);
    if (fs_diagnostics_errors(job->diagnostics)) {
        drop_request(job);
        return EINVAL;
    }
    job->request->document->arena.out_of_memory = NULL;
    return 0;
}

/* Are the bytes from 'start' to 'end' of 'text' text at all?  Reports the first byte that is not. */
static bool
check_bytes(struct job *job, const char *text, size_t start, size_t end)
{
    for (size_t i = start; i < end;) {
        if (text[i] >= ' ' && text[i] < 0x7f) {
            i++; /* nearly all of them */
            continue;
        }
        size_t length = utf8_length(text + i, end - i);
        struct span span = { (uint32_t) i, 1 };
        unsigned char c = (unsigned char) text[i];
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

/* ---- Included files. ---- */

/* A relative path of plain names.  What else a file may be is for the reader to refuse. */
static bool
is_harmless_path(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/";
    if (!*name || name[strspn(name, letters)] || strlen(name) > 255) {
        return false;
    }
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || part[0] == '.') {
            return false;
        }
        part += length;
        if (!*part) {
            return true;
        }
    }
}

/* What messages call an included file: its name beside the main file. */
static const char *
shown_path(struct job *job, const char *name)
{
    const char *slash = strrchr(job->file_name, '/');
    return slash ? arena_printf(&job->request->document->arena, "%.*s/%s", (int) (slash - job->file_name),
                                job->file_name, name)
                 : name;
}

/* The bytes of a file, malloc()ed; NULL after a report. */
static char *
read_include(struct job *job, const char *name, struct span span, size_t *size)
{
    char *bytes = NULL;
    *size = 0;
    if (!job->env->read_include) {
        diagnostics_error(job->diagnostics, span,
                          "'%.255s' cannot be included: this text came without the files beside it", name);
        return NULL;
    }
    int number = job->env->read_include(job->env->aux, name, &bytes, size);
    if (number) {
        diagnostics_error(job->diagnostics, span, "cannot read '%.255s': %s", name, strerror(number));
        return NULL;
    }
    if (*size > job->limits.text - job->total) {
        free(bytes);
        diagnostics_error(job->diagnostics, span, "with '%.255s' the text has more than %zu bytes", name,
                          job->limits.text);
        return NULL;
    }
    return bytes;
}

/* Put a text behind those that are there.  Returns where it begins. */
static size_t
append_text(struct job *job, const char *name, const char *bytes, size_t size)
{
    struct fs_request_document *document = job->request->document;
    size_t start = document->size + 1;
    char *longer = arena_alloc(&document->arena, start + size + 1);
    memcpy(longer, document->text, document->size);
    longer[start - 1] = '\n';
    memcpy(longer + start, bytes, size);
    document->text = longer;
    document->size = start + size;
    job->total += size;
    diagnostics_add_source(job->diagnostics, shown_path(job, name), bytes, size);
    return start;
}

/* The parser's hook. */
static bool
open_include(void *job_, const char *name, struct span span, struct parser_source *source)
{
    struct job *job = job_;
    struct fs_request_document *document = job->request->document;
    if (!is_harmless_path(name)) {
        struct fs_diagnostic *error =
            diagnostics_error(job->diagnostics, span, "'%.64s' is no name of a file beside this one", name);
        diagnostics_note(job->diagnostics, error, NULL,
                         "a name consists of letters, digits, '_', '.', '-' and '/', and leads nowhere up");
        return false;
    }
    if (table_find(&job->included, name) != TABLE_NONE) {
        return false; /* it is there already */
    }
    if (job->included.n == job->limits.files) {
        diagnostics_error(job->diagnostics, span, "more than %zu files are included", job->limits.files);
        return false;
    }
    table_add(&job->included, name, 0);
    size_t size;
    char *bytes = read_include(job, name, span, &size);
    if (!bytes) {
        return false;
    }
    job->unowned = bytes;
    size_t start = append_text(job, name, bytes, size);
    job->unowned = NULL;
    free(bytes);
    if (!check_bytes(job, document->text, start, document->size)) {
        return false;
    }
    source->text = document->text;
    source->tokens = lexer_run(&job->tokens, document->text, start, document->size, job->diagnostics);
    return true;
}

/* ---- Requests. ---- */

/* Bounds speak of nodes, whose numbers change when parts are dissolved: FromNets and ToNets of the request itself come
 * before all that are in parts, but not before what stands for parts. */
static void
renumber_delays(const struct check *check, struct fs_request *request)
{
    struct fs_request_delay *delays = arena_array(check->arena, request->n_delays, sizeof *delays);
    for (size_t i = 0; i < request->n_delays; i++) {
        delays[i] = request->delays[i];
        delays[i].from = check->new_index[delays[i].from];
        delays[i].to = check->new_index[delays[i].to];
    }
    request->delays = delays;
}

/* Check the request that 'scope' says, into 'request'. */
static void
check_request(struct job *job, struct check_file *file, const struct syntax_scope *scope, struct fs_request *request)
{
    struct check check = { .arena = &job->request->document->arena,
                           .work = &job->work,
                           .diagnostics = job->diagnostics,
                           .env = job->env,
                           .limits = job->limits,
                           .text = job->request->document->text,
                           .file = file,
                           .scope = scope };
    if (scope != &file->tree->top) {
        parameters_declare(&check, scope);
    }
    keywords_check(&check, request);
    if (!check_names(&check)) {
        return;
    }
    check_ports(&check);
    check_args(&check);
    check_graph(&check);
    check_delays(&check, request);
    check_warnings(&check);
    if (fs_diagnostics_errors(job->diagnostics) == 0) {
        parts_dissolve(&check);
        renumber_delays(&check, request);
    }
    request->nodes = arena_trim(check.arena, check.nodes, check.n_nodes, &check.nodes_capacity, sizeof *check.nodes);
    request->n_nodes = check.n_nodes;
    request->links = arena_trim(check.arena, check.links, check.n_links, &check.links_capacity, sizeof *check.links);
    request->n_links = check.n_links;
}

/* Check all requests of the file: those in blocks, or the one that the text is. */
static void
check_requests(struct job *job, struct check_file *file)
{
    const struct syntax_tree *tree = file->tree;
    struct fs_request *request = job->request;
    if (tree->n_requests == 0) {
        check_request(job, file, &tree->top, request);
        return;
    }
    if (tree->top.n_statements || tree->top.n_delays) {
        diagnostics_error(job->diagnostics,
                          tree->top.n_statements ? tree->top.first_statement : tree->top.delays[0].from_span,
                          "this stands outside of the requests: only headers, parameters, parts and includes may");
    }
    bool first = true;
    for (size_t i = 0; i < tree->n_scopes; i++) {
        if (tree->scopes[i]->part) {
            continue;
        }
        if (!first) {
            request->next = arena_alloc(&job->request->document->arena, sizeof *request);
            request = request->next;
            request->document = job->request->document;
        }
        check_request(job, file, tree->scopes[i], request);
        first = false;
    }
}

static void
check_meaning(struct job *job, const struct syntax_tree *tree)
{
    struct check_file file = { .tree = tree, .substitutes_left = MOST_SUBSTITUTES };
    struct check check = { .arena = &job->request->document->arena,
                           .work = &job->work,
                           .diagnostics = job->diagnostics,
                           .env = job->env,
                           .limits = job->limits,
                           .text = job->request->document->text,
                           .file = &file };
    table_init(&file.types, &job->work);
    table_init_like(&file.part_names, &file.types);
    table_init_like(&file.variable_names, &file.types);
    for (size_t i = 0; i < job->env->n_types; i++) {
        if (table_find(&file.types, job->env->types[i].name) == TABLE_NONE) {
            table_add(&file.types, job->env->types[i].name, (uint32_t) i);
        }
    }
    parts_declare(&check);
    parameters_declare(&check, &tree->top);
    check_requests(job, &file);
    if (fs_diagnostics_errors(job->diagnostics) == 0) {
        parts_report_unused(&check);
        parameters_report_unknown(&check);
    }
}

static void
parse_and_check(struct job *job)
{
    bool fits = job->size <= job->limits.text;
    diagnostics_set_limit(job->diagnostics, job->limits.messages);
    diagnostics_add_source(job->diagnostics, job->file_name, job->text, fits ? job->size : 0);
    if (!fits) {
        struct span start = { 0, 0 };
        diagnostics_error(job->diagnostics, start, "the text has %zu bytes, more than %zu", job->size,
                          job->limits.text);
        return;
    }
    if (!check_bytes(job, job->text, 0, job->size)) {
        return;
    }
    struct fs_request_document *document = job->request->document;
    struct syntax_tree *tree = arena_alloc(&job->work, sizeof *tree);
    struct parser_includes includes = { open_include, job };
    document->text = arena_copy(&document->arena, job->text, job->size);
    document->size = document->first_size = job->total = job->size;
    struct parser_source source = { document->text, lexer_run(&job->tokens, document->text, 0, job->size, job->diagnostics) };
    table_init(&job->included, &job->work);
    parser_run(&document->arena, &job->work, &source, job->env ? &includes : NULL, job->diagnostics, tree);
    arena_free(&job->tokens);
    if (job->env) {
        check_meaning(job, tree);
    }
}
