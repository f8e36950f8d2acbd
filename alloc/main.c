/* flowstream-alloc: the allocator on files.
 *
 * Reads a platform and services, places the services, judges the result by the definitions alone, writes the solution and
 * prints one JSON object.  Exit status: 0 all constraints met, 1 the best found breaks some, 2 bad input, 3 proven that
 * no solution meets all. */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flowstream/alloc.h"

#include "alloc/trace.h"

enum { EXIT_MET, EXIT_BROKEN, EXIT_BAD_INPUT, EXIT_PROVEN };

struct settings {
    const char *platform, *services, *output, *trace;
    double seconds;
    uint64_t steps, seed, threads;
    const struct fs_algorithm *algorithm;
    const struct fs_objective *objective;
    bool per_link;
};

static const struct option long_options[] = {
    { "platform", required_argument, NULL, 'p' },   { "services", required_argument, NULL, 's' },
    { "output", required_argument, NULL, 'o' },     { "time-limit", required_argument, NULL, 't' },
    { "steps", required_argument, NULL, 'n' },      { "seed", required_argument, NULL, 'r' },
    { "threads", required_argument, NULL, 'j' },    { "algorithm", required_argument, NULL, 'a' },
    { "paths", required_argument, NULL, 'w' },      { "objective", required_argument, NULL, 'b' },
    { "trace", required_argument, NULL, 'c' },      { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },          { NULL, 0, NULL, 0 },
};

static void
print_help(void)
{
    puts("usage: flowstream-alloc --platform P.xml --services S.xml --output SOL.xml [OPTION]...\n"
         "Places the modules of services on the servers of a platform and chooses the ways between them.\n"
         "\n"
         "  --platform FILE       the platform\n"
         "  --services FILE       the services\n"
         "  --output FILE         where to write the solution\n"
         "  --algorithm NAME      how to search (default pack):");
    for (const struct fs_algorithm *a = fs_algorithms(); a->name; a++) {
        printf("                          %-13s %s\n", a->name, a->help);
    }
    puts("  --objective NAME      what to make least once all limits are met (default satisfaction):");
    for (const struct fs_objective *o = fs_objectives(); o->name; o++) {
        printf("                          %-13s %s\n", o->name, o->help);
    }
    puts("  --trace FILE          also write what the best solution exceeds, against time: a plot for FILE.svg, else CSV\n"
         "  --paths pair|link     one way for all links between a pair of nodes (default), or one a link\n"
         "  --seed N              of the random choices (default 1); equal seeds give equal solutions\n"
         "  --time-limit SECONDS  after so long the best so far is the answer (default: no limit)\n"
         "  --steps N             moves of tabu search (default: 20000 after packing, 200000 or the time limit on its own)\n"
         "  --threads N           for packing racks; the answer does not depend on it (default 1)\n"
         "  --help, --version\n"
         "\n"
         "Prints one JSON object: what the solution exceeds (cpu in cores, mem in MB, bandwidth in Mbit/s, delay in\n"
         "the platform's unit) and how it was found.  Exit status: 0 all constraints met, 1 the best found breaks some,\n"
         "2 bad input, 3 proven that no solution meets all (see \"proof\").");
}

static void
fail_usage(const char *what, const char *value)
{
    fprintf(stderr, "flowstream-alloc: %s%s%s%s\nTry 'flowstream-alloc --help'.\n", what, value ? " '" : "",
            value ? value : "", value ? "'" : "");
    exit(EXIT_BAD_INPUT);
}

static uint64_t
parse_count(const char *option, const char *text)
{
    char *end;

    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || strspn(text, "0123456789") != strlen(text)) {
        fprintf(stderr, "flowstream-alloc: --%s is '%s', which is no whole number\n", option, text);
        exit(EXIT_BAD_INPUT);
    }
    return value;
}

static uint64_t
parse_threads(const char *text)
{
    uint64_t threads = parse_count("threads", text);

    if (threads < 1 || threads > 64) {
        fail_usage("--threads is not a number from 1 to 64:", text);
    }
    return threads;
}

static double
parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !isfinite(value) || value <= 0) {
        fail_usage("--time-limit is not a number of seconds:", text);
    }
    return value;
}

static const struct fs_algorithm *
parse_algorithm(const char *name)
{
    for (const struct fs_algorithm *a = fs_algorithms(); a->name; a++) {
        if (!strcmp(a->name, name)) {
            return a;
        }
    }
    fail_usage("there is no algorithm", name);
    return NULL;
}

static const struct fs_objective *
parse_objective(const char *name)
{
    for (const struct fs_objective *o = fs_objectives(); o->name; o++) {
        if (!strcmp(o->name, name)) {
            return o;
        }
    }
    fail_usage("there is no objective", name);
    return NULL;
}

static void
set_option(struct settings *settings, int option)
{
    switch (option) {
    case 'p': settings->platform = optarg; break;
    case 's': settings->services = optarg; break;
    case 'o': settings->output = optarg; break;
    case 't': settings->seconds = parse_seconds(optarg); break;
    case 'n': settings->steps = parse_count("steps", optarg); break;
    case 'r': settings->seed = parse_count("seed", optarg); break;
    case 'j': settings->threads = parse_threads(optarg); break;
    case 'a': settings->algorithm = parse_algorithm(optarg); break;
    case 'b': settings->objective = parse_objective(optarg); break;
    case 'c': settings->trace = optarg; break;
    case 'w':
        settings->per_link = !strcmp(optarg, "link");
        if (!settings->per_link && strcmp(optarg, "pair")) {
            fail_usage("--paths is pair or link, not", optarg);
        }
        break;
    case 'h': print_help(); exit(0);
    case 'V': puts("flowstream-alloc " PACKAGE_VERSION); exit(0);
    default: fputs("Try 'flowstream-alloc --help'.\n", stderr); exit(EXIT_BAD_INPUT);
    }
}

static struct settings
parse_arguments(int argc, char **argv)
{
    struct settings settings = { .seed = 1, .algorithm = fs_algorithms(), .objective = fs_objectives() };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        set_option(&settings, option);
    }
    if (optind < argc) {
        fail_usage("unexpected argument", argv[optind]);
    }
    if (!settings.platform || !settings.services || !settings.output) {
        fail_usage(!settings.platform ? "--platform is missing" : !settings.services ? "--services is missing"
                   : "--output is missing", NULL);
    }
    return settings;
}

/* Ends the program if RESULT says that something went wrong, which ERROR explains. */
static void
check(int result, char **error)
{
    if (result) {
        fprintf(stderr, "%s\n", *error ? *error : strerror(result));
        free(*error);
        exit(EXIT_BAD_INPUT);
    }
}

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

static void
print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            printf("\\%c", *text);
        } else if ((unsigned char) *text < ' ') {
            printf("\\u%04x", *text);
        } else {
            putchar(*text);
        }
    }
    putchar('"');
}

static void
print_least(const struct fs_proof *proof)
{
    const struct {
        const char *name;
        fs_amount amount;
    } kinds[] = { { "cpu", proof->cpu }, { "mem", proof->mem }, { "bandwidth", proof->bandwidth }, { "delay", proof->delay } };
    const char *between = "";

    fputs(", \"least\": {", stdout);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].amount > 0) {
            printf("%s\"%s\": %.12g", between, kinds[i].name, plain(kinds[i].amount));
            between = ", ";
        }
    }
    putchar('}');
}

static void
print_report(const struct settings *settings, const struct fs_services *services, const struct fs_report *report,
             double seconds, const struct fs_proof *proof)
{
    printf("{\"services\": %d, \"modules\": %d, \"cpu\": %.12g, \"mem\": %.12g, \"bandwidth\": %.12g, \"delay\": %.12g, "
           "\"late_paths\": %d, \"unrouted\": %d, \"servers_used\": %d, \"max_link_use\": %.4f, "
           "\"average_link_use\": %.4f, \"service_delay\": %.12g, \"approximate_delay\": %.12g, \"typical_delay\": %.12g, \"feasible\": %s, "
           "\"seconds\": %.3f, \"algorithm\": \"%s\", \"objective\": \"%s\", \"paths\": \"%s\", \"seed\": %" PRIu64,
           services->n_services, services->n_modules, plain(report->cpu), plain(report->mem), plain(report->bandwidth),
           plain(report->delay), report->late_paths, report->unrouted, report->servers_used, report->max_link_use,
           report->average_link_use, plain(report->service_delay), plain(report->approximate_delay), plain(report->typical_delay),
           report->feasible ? "true" : "false", seconds, settings->algorithm->name, settings->objective->name, settings->per_link ? "link" : "pair",
           settings->seed);
    if (proof->text) {
        fputs(", \"proof\": ", stdout);
        print_string(proof->text);
        print_least(proof);
    }
    puts("}");
}

/* Places SERVICES on PLATFORM, writes and prints the result, and returns the exit status. */
static int
solve(const struct settings *settings, const struct fs_platform *platform, const struct fs_services *services)
{
    struct fs_search_options options = {
        .algorithm = settings->algorithm->name, .objective = settings->objective->name, .paths = settings->per_link ? FS_PATHS_LINK : FS_PATHS_PAIR,
        .seed = settings->seed, .steps = settings->steps, .threads = (unsigned) settings->threads, .seconds = settings->seconds,
    };
    struct fs_solution *solution;
    struct fs_report report;
    struct fs_proof proof = { 0 };
    char *error = NULL;
    struct trace *trace = trace_begin(settings->trace != NULL, isatty(STDERR_FILENO));
    double start = now();

    options.progress = trace ? trace_note : NULL;
    options.aux = trace;

    check(fs_search(platform, services, &options, &solution, &proof, &error), &error);
    double seconds = now() - start;
    fs_solution_check(solution, &report);
    check(trace_end(trace, settings->trace, &error), &error);
    check(fs_solution_write(solution, settings->per_link, settings->output, &error), &error);
    print_report(settings, services, &report, seconds, &proof);
    int status = report.feasible ? EXIT_MET : proof.text ? EXIT_PROVEN : EXIT_BROKEN;
    fs_proof_clear(&proof);
    fs_solution_destroy(solution);
    return status;
}

/* A platform under construction may be in several parts; one that services are to be placed on may not. */
static void
check_joined(const struct fs_platform *platform)
{
    const char *about = strstr(platform->warnings, "warning: ");

    if (about) {
        fprintf(stderr, "%.*s%s", (int) (about - platform->warnings), platform->warnings, about + strlen("warning: "));
        exit(EXIT_BAD_INPUT);
    }
}

int
main(int argc, char **argv)
{
    struct settings settings = parse_arguments(argc, argv);
    struct fs_platform *platform;
    struct fs_services *services;
    char *error = NULL;

    check(fs_platform_read(settings.platform, &platform, &error), &error);
    check_joined(platform);
    check(fs_services_read(settings.services, platform, &services, &error), &error);
    int status = solve(&settings, platform, services);
    fs_services_destroy(services);
    fs_platform_destroy(platform);
    if (fflush(stdout) || ferror(stdout)) {
        perror("flowstream-alloc: standard output");
        return EXIT_BAD_INPUT;
    }
    return status;
}
