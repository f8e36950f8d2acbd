/* Filters over libpcap, for the types Firewall and Classifier and for whatever type comes next.  The library's compiler keeps state while it
 * works in some versions: one compilation at a time.  Matching runs the compiled program and shares nothing. */
#include "config.h"

#include <flowstream/filter.h>

#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pm/private.h"

enum { SNAPLEN = 65535 };

struct fs_filter {
    bool all;
    struct bpf_program program;
};

static pthread_mutex_t compiler = PTHREAD_MUTEX_INITIALIZER;

static int
compile(const char *expression, struct bpf_program *program, char **error)
{
    int err = 0;
    pthread_mutex_lock(&compiler);
    pcap_t *p = pcap_open_dead(DLT_EN10MB, SNAPLEN);
    if (!p) {
        err = pm_fail(error, ENOMEM, "out of memory");
    } else if (pcap_compile(p, program, expression, 1, PCAP_NETMASK_UNKNOWN)) {
        err = pm_fail(error, EINVAL, "filter \"%s\": %s", expression, pcap_geterr(p));
    }
    if (p) {
        pcap_close(p);
    }
    pthread_mutex_unlock(&compiler);
    return err;
}

struct fs_filter *
fs_filter_compile(const char *expression, char **error)
{
    struct fs_filter *f = calloc(1, sizeof *f);
    if (!f) {
        pm_fail(error, ENOMEM, "out of memory");
        return NULL;
    }
    f->all = !strcmp(expression, "all");
    /* libpcap takes an empty expression for everything; here it is a rule that someone forgot to write. */
    if (!f->all && !expression[strspn(expression, " \t\r\n")]) {
        pm_fail(error, EINVAL, "the filter is empty: write \"all\" for everything");
        free(f);
        return NULL;
    }
    if (!f->all && compile(expression, &f->program, error)) {
        free(f);
        return NULL;
    }
    return f;
}

void
fs_filter_free(struct fs_filter *f)
{
    if (f) {
        if (!f->all) {
            pcap_freecode(&f->program);
        }
        free(f);
    }
}

bool
fs_filter_matches(const struct fs_filter *f, const uint8_t *frame, uint32_t length)
{
    return f->all || bpf_filter(f->program.bf_insns, frame, length, length) != 0;
}

/* One piece: blanks at both ends cut off. */
static char *
trim(char *begin, char *end)
{
    begin += strspn(begin, " \t\r\n");
    while (end > begin && strchr(" \t\r\n", end[-1])) {
        end--;
    }
    *end = '\0';
    return begin;
}

/* The next comma outside parentheses, or the end of the text; NULL: unbalanced. */
static char *
piece_end(char *p)
{
    int depth = 0;
    for (; *p && (*p != ',' || depth); p++) {
        depth += *p == '(' || *p == '[';
        depth -= *p == ')' || *p == ']';
        if (depth < 0) {
            return NULL;
        }
    }
    return depth ? NULL : p;
}

int
fs_filter_split(const char *text, char ***pieces, size_t *n, char **error)
{
    size_t length = strlen(text), max = 2;
    *pieces = NULL;
    *n = 0;
    for (const char *p = text; *p; p++) {
        max += *p == ',';
    }
    char **list = malloc(max * sizeof *list + length + 1);
    if (!list) {
        return pm_fail(error, ENOMEM, "out of memory");
    }
    char *p = memcpy(list + max, text, length + 1);
    bool more = p[strspn(p, " \t\r\n")] != '\0';
    while (more) {
        char *end = piece_end(p);
        if (!end) {
            free(list);
            return pm_fail(error, EINVAL, "unbalanced parentheses in \"%s\"", text);
        }
        more = *end == ',';
        list[*n] = trim(p, end);
        if (!*list[*n]) {
            free(list);
            return pm_fail(error, EINVAL, "between two commas, or after the last, there is nothing: \"%s\"", text);
        }
        (*n)++;
        p = end + 1;
    }
    list[*n] = NULL;
    *pieces = list;
    return 0;
}
