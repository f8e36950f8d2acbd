/* How long the language takes, and how much memory: parse and check of requests with ever more modules, as chains of 100
 * named counters, a line each.  Prints one line of JSON for each size; the text itself is not counted.
 *
 * Time is that of the process, the best of several runs; memory is what malloc() has given out while the request lives,
 * and what was resident at the peak of the process up to then, without what it had before.  To compare with another
 * build, run this program with LD_PRELOAD=OTHER/build/lib/libflowstream-lang.so. */
#include "config.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "flowstream/lang.h"

enum { IN_A_CHAIN = 100, RUNS = 7 };

static const struct fs_lang_type types[] = { { "Counter", 1, 1, 1, 1, NULL, 0 } };

/* 'n' counters: declared a line each, and connected a line each. */
static char *
make_text(size_t n, size_t *size, size_t *lines)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, size);
    *lines = 0;
    for (size_t i = 0; stream && i < n; i++) {
        if (i % IN_A_CHAIN == 0) {
            fprintf(stream, "f%zu :: FromNet(\"tcp,tp_dst=%zu\")\nt%zu :: ToNet(\"net1\")\nf%zu\n", i, i, i, i);
            *lines += 3;
        }
        bool last = i % IN_A_CHAIN == IN_A_CHAIN - 1 || i + 1 == n;
        fprintf(stream, "    -> c%zu :: Counter(\"\") {cpu=0.5, mem=64MB}\n", i);
        *lines += 1;
        if (last) {
            fprintf(stream, "    -> t%zu\n", i - i % IN_A_CHAIN);
            *lines += 1;
        }
    }
    if (!stream || fclose(stream)) {
        perror("bench_lang");
        exit(1);
    }
    return text;
}

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static size_t
in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* The most that was resident, in bytes. */
static size_t
peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t) usage.ru_maxrss * 1024;
}

/* One run: its time, and the memory that the request and its messages hold. */
static double
run(const char *text, size_t size, size_t *memory)
{
    const struct fs_lang_env env = { .types = types, .n_types = 1, .limits = { .text = (size_t) 1 << 28, .modules = 1 << 20 } };
    struct fs_request *request;
    struct fs_diagnostics *diagnostics;
    size_t before = in_use();
    double start = seconds();
    int error = fs_lang_check(text, size, "bench", &env, &request, &diagnostics);
    double taken = seconds() - start;
    if (error) {
        fputs(fs_diagnostics_text(diagnostics, false), stderr);
        exit(1);
    }
    fs_diagnostics_destroy(diagnostics);
    *memory = in_use() - before;
    fs_request_destroy(request);
    return taken;
}

int
main(void)
{
    static const size_t sizes[] = { 10, 1000, 100000 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size, lines, memory = 0;
        char *text = make_text(sizes[i], &size, &lines);
        double best = 1e9;
        size_t before = peak();
        for (int k = 0; k < RUNS; k++) {
            double taken = run(text, size, &memory);
            best = taken < best ? taken : best;
        }
        printf("{\"modules\": %zu, \"lines\": %zu, \"bytes\": %zu, \"seconds\": %.6f, \"lines_per_second\": %.0f, "
               "\"memory_per_module\": %.0f, \"peak_per_module\": %.0f}\n",
               sizes[i], lines, size, best, (double) lines / best, (double) memory / (double) sizes[i],
               (double) (peak() - before) / (double) sizes[i]);
        free(text);
    }
    return 0;
}
