/* flowstream-lang: the allocation language on files, for people who write requests and for editors.  It reads the
 * command line, the file and those that it includes; the library does the work. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flowstream/lang.h"
#include "lang/files.h"
#include "lang/types.h"

enum { EXIT_DONE = 0, EXIT_ERRORS = 1, EXIT_USAGE = 2 };

struct options {
    const char *types;   /* NULL: beside the program */
    const char *request; /* NULL: all of the file */
    struct fs_lang_parameter *parameters;
    size_t n_parameters;
    bool json;
    const char *action, *file;
};

struct action {
    const char *name;
    int (*run)(const struct options *, const char *text, size_t size);
    const char *help;
};

static int run_check(const struct options *, const char *text, size_t size);
static int run_format(const struct options *, const char *text, size_t size);
static int run_json(const struct options *, const char *text, size_t size);
static int run_dot(const struct options *, const char *text, size_t size);

static const struct action actions[] = {
    { "check", run_check, "say what is wrong with the request; nothing if all is well" },
    { "format", run_format, "print it in its canonical form, comments kept; its modules need not be known" },
    { "json", run_json, "print what it means as one JSON object" },
    { "dot", run_dot, "print it as a graph for Graphviz" },
};
#define N_ACTIONS (sizeof actions / sizeof actions[0])

static void
print_help(void)
{
    puts("Usage: flowstream-lang [OPTION]... ACTION FILE\n"
         "Check and convert allocation requests.  FILE - is standard input.\n\n"
         "Actions:");
    for (size_t i = 0; i < N_ACTIONS; i++) {
        printf("  %-12s %s\n", actions[i].name, actions[i].help);
    }
    puts("\nHeaders that a request may begin with, as KEY=value:");
#define KEYWORD(KEY, FUNCTION, HELP) printf("  %-12s %s\n", #KEY, HELP);
#include "lang/keywords.def"
#undef KEYWORD
    puts("\nProperties of modules, and of connections, as {key=value}:");
#define PROPERTY(KEY, HEADER, OF, HELP) printf("  %-12s %s\n", #KEY, HELP);
#include "lang/keywords.def"
#undef PROPERTY
    puts("\nOptions:\n"
         "  -D NAME=VALUE  what $NAME stands for in the request; may be repeated\n"
         "  --request NAME  json, dot: of a file with several requests, only this one\n"
         "  --json       check: print the mistakes as one JSON array on standard output\n"
         "  --types DIR  the folder of the module types (default: ../lib/flowstream/types beside this program)\n"
         "  --help       this text\n"
         "  --version    the version\n\n"
         "Exit status: 0 done, 1 the request has errors or cannot be read, 2 wrong usage.");
}

static int
usage_error(const char *reason, const char *what)
{
    fprintf(stderr, "flowstream-lang: %s%s\nTry 'flowstream-lang --help'.\n", reason, what);
    return EXIT_USAGE;
}

/* NAME=VALUE behind -D.  The name's end is cut in place. */
static int
add_parameter(struct options *options, char *text)
{
    char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        return usage_error("-D takes NAME=VALUE, not ", text);
    }
    struct fs_lang_parameter *larger = reallocarray(options->parameters, options->n_parameters + 1, sizeof *larger);
    if (!larger) {
        fprintf(stderr, "flowstream-lang: %s\n", strerror(ENOMEM));
        return EXIT_ERRORS;
    }
    *equals = '\0';
    options->parameters = larger;
    options->parameters[options->n_parameters++] = (struct fs_lang_parameter) { text, equals + 1 };
    return -1;
}

/* Fill '*options'.  Returns EXIT_USAGE after a message, -1 to go on, or EXIT_DONE when everything was asked and
 * answered. */
static int
parse_options(int argc, char **argv, struct options *options)
{
    enum { OPTION_JSON = 1, OPTION_TYPES, OPTION_REQUEST, OPTION_HELP, OPTION_VERSION };
    static const struct option known[] = { { "json", no_argument, NULL, OPTION_JSON },
                                           { "types", required_argument, NULL, OPTION_TYPES },
                                           { "request", required_argument, NULL, OPTION_REQUEST },
                                           { "help", no_argument, NULL, OPTION_HELP },
                                           { "version", no_argument, NULL, OPTION_VERSION },
                                           { NULL, 0, NULL, 0 } };
    for (int c, status = -1; (c = getopt_long(argc, argv, "D:", known, NULL)) != -1;) {
        switch (c) {
        case 'D':
            status = add_parameter(options, optarg);
            if (status >= 0) {
                return status;
            }
            break;
        case OPTION_REQUEST: options->request = optarg; break;
        case OPTION_JSON: options->json = true; break;
        case OPTION_TYPES: options->types = optarg; break;
        case OPTION_HELP: print_help(); return EXIT_DONE;
        case OPTION_VERSION: puts("flowstream-lang " PACKAGE_VERSION); return EXIT_DONE;
        default: return usage_error("wrong option", ""); /* getopt_long() has named it */
        }
    }
    if (argc - optind != 2) {
        return usage_error("expected an action and a file", "");
    }
    options->action = argv[optind];
    options->file = argv[optind + 1];
    return -1;
}

static const char *
shown_name(const struct options *options)
{
    return strcmp(options->file, "-") ? options->file : "<stdin>";
}

/* Print and free a text of the library's. */
static int
print_text(char *text, const char *end, FILE *stream)
{
    bool good = text && fputs(text, stream) >= 0 && fputs(end, stream) >= 0 && fflush(stream) == 0;
    if (!good) {
        fprintf(stderr, "flowstream-lang: cannot write: %s\n", strerror(text ? errno : ENOMEM));
    }
    free(text);
    return good ? EXIT_DONE : EXIT_ERRORS;
}

/* Print the diagnostics where people look for them, and destroy them. */
static int
report(int error, struct fs_diagnostics *diagnostics, bool json)
{
    if (error == ENOMEM) {
        fprintf(stderr, "flowstream-lang: %s\n", strerror(ENOMEM));
        return EXIT_ERRORS;
    }
    int status = json ? print_text(fs_diagnostics_json(diagnostics), "\n", stdout)
                      : print_text(fs_diagnostics_text(diagnostics, isatty(STDERR_FILENO)), "", stderr);
    fs_diagnostics_destroy(diagnostics);
    return error ? EXIT_ERRORS : status;
}

/* Print what 'writer' makes of the requests that are asked for: 'between' them, and 'open' and 'close' around several. */
static int
write_requests(const struct options *options, const struct fs_request *request,
               char *(*writer)(const struct fs_request *), const char *open, const char *between, const char *close)
{
    const struct fs_request *only = options->request ? fs_request_find(request, options->request)
                                    : request->next  ? NULL
                                                     : request;
    if (options->request && !only) {
        fprintf(stderr, "flowstream-lang: %s has no request '%s'\n", shown_name(options), options->request);
        return EXIT_ERRORS;
    }
    if (only) {
        return print_text(writer(only), strlen(close) ? "\n" : "", stdout);
    }
    fputs(open, stdout);
    int status = EXIT_DONE;
    for (; request && status == EXIT_DONE; request = request->next) {
        status = print_text(writer(request), request->next ? between : close, stdout);
    }
    return status;
}

/* Check the text; with a 'writer', print what it makes of the requests. */
static int
check_and_write(const struct options *options, const char *text, size_t size,
                char *(*writer)(const struct fs_request *), const char *open, const char *between, const char *close)
{
    struct installed_types *types = NULL;
    struct fs_lang_env env;
    char *message = NULL;
    if (types_load(options->types, &types, &env, &message)) {
        fprintf(stderr, "flowstream-lang: %s\n", message ? message : strerror(ENOMEM));
        free(message);
        return EXIT_ERRORS;
    }
    struct fs_request *request = NULL;
    struct fs_diagnostics *diagnostics = NULL;
    types_set_file(types, options->file);
    env.read_include = types_read_include;
    env.parameters = options->parameters;
    env.n_parameters = options->n_parameters;
    int error = fs_lang_check(text, size, shown_name(options), &env, &request, &diagnostics);
    int status = report(error, diagnostics, options->json);
    if (status == EXIT_DONE && writer) {
        status = write_requests(options, request, writer, open, between, close);
    }
    fs_request_destroy(request);
    types_destroy(types);
    return status;
}

static int
run_check(const struct options *options, const char *text, size_t size)
{
    return check_and_write(options, text, size, NULL, "", "", "");
}

static int
run_json(const struct options *options, const char *text, size_t size)
{
    return check_and_write(options, text, size, fs_request_json, "[", ",\n", "]\n");
}

static int
run_dot(const struct options *options, const char *text, size_t size)
{
    return check_and_write(options, text, size, fs_request_dot, "", "", "");
}

static int
run_format(const struct options *options, const char *text, size_t size)
{
    char *formatted = NULL;
    struct fs_diagnostics *diagnostics = NULL;
    int error = fs_lang_format(text, size, shown_name(options), NULL, &formatted, &diagnostics);
    int status = report(error, diagnostics, options->json);
    if (status == EXIT_DONE) {
        return print_text(formatted, "", stdout);
    }
    free(formatted);
    return status;
}

int
main(int argc, char **argv)
{
    struct options options = { .types = NULL };
    int status = parse_options(argc, argv, &options);
    if (status >= 0) {
        free(options.parameters);
        return status;
    }
    size_t i = 0;
    while (i < N_ACTIONS && strcmp(actions[i].name, options.action)) {
        i++;
    }
    if (i == N_ACTIONS) {
        return usage_error("unknown action ", options.action);
    }
    if (options.json && actions[i].run != run_check) {
        return usage_error("--json goes with check only", "");
    }
    size_t size;
    char *text = files_read(options.file, &size);
    if (!text) {
        fprintf(stderr, "flowstream-lang: cannot read %s: %s\n", options.file, strerror(errno));
        return EXIT_ERRORS;
    }
    status = actions[i].run(&options, text, size);
    free(options.parameters);
    free(text);
    return status;
}
