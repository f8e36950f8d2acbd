/* Drives libflowstream-openflow from test_openflow.py: reads one command a line, answers with one line, which begins with
 * "ok" or with the name of an errno, and ends with the milliseconds that the call took.  Strings are in single tabs. */

#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <flowstream/openflow.h>

#define MAX_CHANGES 20000
#define MAX_MEMBERS 128
#define MAX_FIELDS 8

static struct fs_switch *sw;
static struct fs_follow *follows[2];
static struct fs_change changes[MAX_CHANGES];
static size_t n_changes;

static double
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static void
answer(int status, double since, char *error, const char *good)
{
    printf("%s\t%s\t%.1f\n", status ? strerrorname_np(status) : "ok", error ? error : good, now_ms() - since);
    fflush(stdout);
    free(error);
}

static void
add_change(char **f)
{
    struct fs_change *c = &changes[n_changes++];
    c->op = (enum fs_change_op) atoi(f[1]);
    c->cookie = strtoull(f[2], NULL, 0);
    c->cookie_mask = strtoull(f[3], NULL, 0);
    c->text = *f[4] ? strdup(f[4]) : NULL;
}

static void
forget_changes(void)
{
    for (size_t i = 0; i < n_changes; i++) {
        free((char *) changes[i].text);
    }
    n_changes = 0;
}

static void
apply(int deadline)
{
    char *error = NULL;
    double since = now_ms();
    int status = fs_switch_apply(sw, changes, n_changes, deadline, &error);

    answer(status, since, error, "");
    forget_changes();
}

static void
list_rules(uint64_t cookie, uint64_t mask, int deadline)
{
    struct fs_rule *rules;
    size_t n;
    char *error = NULL;
    double since = now_ms();
    int status = fs_switch_rules(sw, cookie, mask, &rules, &n, deadline, &error);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    for (size_t i = 0; i < n; i++) {
        fprintf(f, "%s%d|%d|0x%" PRIx64 "|%s|%s|%" PRIu64 "|%" PRIu64 "|%.3f", i ? ";" : "", rules[i].table,
                rules[i].priority, rules[i].cookie, rules[i].match, rules[i].actions, rules[i].packets, rules[i].bytes,
                rules[i].duration);
    }
    fclose(f);
    answer(status, since, error, text);
    free(text);
    fs_rules_free(rules, n);
}

static void
list_ports(int deadline)
{
    struct fs_port *ports;
    size_t n;
    char *error = NULL;
    double since = now_ms();
    int status = fs_switch_ports(sw, &ports, &n, deadline, &error);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    for (size_t i = 0; i < n; i++) {
        fprintf(f, "%s%s|%d|%d|%" PRIu64 "|%" PRIu64, i ? ";" : "", ports[i].name, ports[i].number, ports[i].up,
                ports[i].rx_packets, ports[i].tx_packets);
    }
    fclose(f);
    answer(status, since, error, text);
    free(text);
    free(ports);
}

static void
probe(int deadline)
{
    struct fs_switch_info info;
    char *error = NULL, text[512];
    double since = now_ms();
    int status = fs_switch_probe(sw, deadline, &info, &error);

    snprintf(text, sizeof text, "%016" PRIx64 "|%u|%u|%s", info.datapath_id, info.n_tables, info.version, info.description);
    answer(status, since, error, text);
}

static void
list_changes(struct fs_follow *follow, uint64_t since_state, int deadline)
{
    struct fs_changes c;
    char *error = NULL, *text = NULL;
    size_t size;
    double since = now_ms();
    int status = fs_follow_changes(follow, since_state, &c, deadline, &error);
    FILE *f = open_memstream(&text, &size);

    fprintf(f, "%" PRIu64 "|%s|%s|", c.state, c.all ? "all" : "some", c.told ? "told" : "read");
    for (size_t i = 0; i < c.n; i++) {
        fprintf(f, "%s%u:%u:%u:%016" PRIx64, i ? ";" : "", c.digests[i].allocation, c.digests[i].n, c.digests[i].n_meters, c.digests[i].digest);
    }
    fclose(f);
    answer(status, since, error, text);
    free(text);
    free(c.digests);
}

/* The digest that an allocation has with the changes that were said. */
static void
expect(uint32_t id)
{
    struct fs_digest d;
    char *error = NULL, text[64];
    double since = now_ms();
    int status = fs_switch_expect(sw, &id, 1, changes, n_changes, NULL, 0, &d, 5000, &error);

    snprintf(text, sizeof text, "%u:%u:%016" PRIx64, d.n, d.n_meters, d.digest);
    answer(status, since, error, text);
    forget_changes();
}

static void
put_meter(char **f)
{
    struct fs_meter_change change = { (enum fs_meter_op) atoi(f[1]),
                                      { .id = (uint32_t) strtoul(f[2], NULL, 0), .ours = true, .allocation = (uint32_t) atoi(f[3]), .kbps = (uint32_t) atoi(f[4]), .burst = 300 }, false };
    char *error = NULL;
    double since = now_ms();
    int status = fs_switch_change_meters(sw, &change, 1, 5000, &error);
    answer(status, since, error, "");
}

/* Many threads on one switch: each adds, reads and deletes rules of an allocation of its own. */
static void *
hammer(void *id_)
{
    uint32_t id = *(const uint32_t *) id_;

    for (int round = 0; round < 20; round++) {
        char text[64];
        snprintf(text, sizeof text, "table=%u,priority=%d,ip,actions=drop", id % 200, round);
        struct fs_change add = { FS_CHANGE_ADD, text, fs_cookie(id, 1), 0 };
        struct fs_change gone = { FS_CHANGE_DELETE_COOKIE, NULL, fs_cookie(id, 0), FS_COOKIE_ALLOCATION_MASK };
        struct fs_rule *rules;
        size_t n;
        bool good = !fs_switch_apply(sw, &add, 1, 10000, NULL)
                    && !fs_switch_rules(sw, fs_cookie(id, 0), FS_COOKIE_ALLOCATION_MASK, &rules, &n, 10000, NULL) && n == 1;
        if (!good) {
            return (void *) "failed";
        }
        fs_rules_free(rules, n);
        if (fs_switch_apply(sw, &gone, 1, 10000, NULL)) {
            return (void *) "failed";
        }
    }
    return NULL;
}

static void
hammer_all(void)
{
    enum { N = 8 };
    pthread_t threads[N];
    uint32_t ids[N];
    int status = 0;
    double since = now_ms();

    for (uint32_t i = 0; i < N; i++) {
        ids[i] = 1000 + i;
        pthread_create(&threads[i], NULL, hammer, &ids[i]);
    }
    for (int i = 0; i < N; i++) {
        void *result;
        pthread_join(threads[i], &result);
        status = result ? EIO : status;
    }
    answer(status, since, NULL, "");
}

static void
match(char **f)
{
    double since = now_ms();
    size_t offset;
    char *error = fs_match_check(f[1], &offset);
    char text[32];

    snprintf(text, sizeof text, "%zu", offset);
    if (error) {
        printf("EINVAL\t%zu: %s\t0\n", offset, error);
        fflush(stdout);
        free(error);
        return;
    }
    char *port = fs_match_in_port(f[1]);
    answer(0, since, NULL, port ? port : "none");
    free(port);
}

static void
overlap(char **f)
{
    bool yes;
    char *error = NULL;
    double since = now_ms();
    int status = fs_match_overlap(f[1], f[2], &yes, &error);

    answer(status, since, error, yes ? "yes" : "no");
}

/* "set NUMBER MATCH" enters or, without a match, removes; "meets MATCH" lists the numbers of the members that overlap. */
static struct fs_match_set *set;
static struct fs_match_member *members[MAX_MEMBERS];

static void
change_set(char **f)
{
    size_t number = strtoul(f[1], NULL, 10) % MAX_MEMBERS;
    char *error = NULL;
    double since = now_ms();

    set = set ? set : fs_match_set_create();
    fs_match_set_remove(members[number]);
    members[number] = strcmp(f[2], "-") ? fs_match_set_add(set, f[2], &members[number], &error) : NULL;
    answer(error ? EINVAL : 0, since, error, "");
}

static void
note_member(void *aux, void *owner)
{
    bool *met = aux;
    met[(struct fs_match_member **) owner - members] = true;
}

static void
meets(char **f)
{
    bool met[MAX_MEMBERS] = { false };
    char text[MAX_MEMBERS * 5] = "", *error = NULL;
    double since = now_ms();
    int status = fs_match_set_overlaps(set, f[1], note_member, met, &error);

    for (int i = 0; i < MAX_MEMBERS; i++) {
        if (met[i]) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%d ", i);
        }
    }
    answer(status, since, error, text);
}

static void
log_line(void *aux, int priority, const char *module, const char *message)
{
    fprintf(aux, "%d %s %s\n", priority, module, message);
}

static void
run(char **f)
{
    const char *verb = f[0];

    if (!strcmp(verb, "switch")) {
        fs_switch_destroy(sw);
        sw = fs_switch_new(f[1], f[2]);
        answer(0, now_ms(), NULL, fs_switch_name(sw));
    } else if (!strcmp(verb, "change")) {
        add_change(f);
    } else if (!strcmp(verb, "apply")) {
        apply(atoi(f[1]));
    } else if (!strcmp(verb, "rules")) {
        list_rules(strtoull(f[1], NULL, 0), strtoull(f[2], NULL, 0), atoi(f[3]));
    } else if (!strcmp(verb, "ports")) {
        list_ports(atoi(f[1]));
    } else if (!strcmp(verb, "probe")) {
        probe(atoi(f[1]));
    } else if (!strcmp(verb, "follow")) {
        struct fs_follow **follow = &follows[atoi(f[1]) % 2];
        fs_follow_destroy(*follow);
        *follow = fs_follow_new(f[2], f[3]);
        answer(0, now_ms(), NULL, "");
    } else if (!strcmp(verb, "changes")) {
        list_changes(follows[atoi(f[1]) % 2], strtoull(f[2], NULL, 10), atoi(f[3]));
    } else if (!strcmp(verb, "heard")) {
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, fs_follow_state(follows[atoi(f[1]) % 2], atoi(f[2])));
        answer(0, now_ms(), NULL, text);
    } else if (!strcmp(verb, "expect")) {
        expect((uint32_t) atoi(f[1]));
    } else if (!strcmp(verb, "meter")) {
        put_meter(f);
    } else if (!strcmp(verb, "hammer")) {
        hammer_all();
    } else if (!strcmp(verb, "match")) {
        match(f);
    } else if (!strcmp(verb, "overlap")) {
        overlap(f);
    } else if (!strcmp(verb, "set")) {
        change_set(f);
    } else if (!strcmp(verb, "meets")) {
        meets(f);
    } else {
        answer(ENOSYS, now_ms(), NULL, "");
    }
}

int
main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;

    if (getenv("OPENFLOW_TOOL_LOG")) {
        fs_openflow_set_log(log_line, stderr);
    }
    while ((length = getline(&line, &size, stdin)) > 0) {
        char *fields[MAX_FIELDS], *rest = line;
        line[length - 1] = '\0';
        for (int i = 0; i < MAX_FIELDS; i++) {
            char *field = strsep(&rest, "\t");
            fields[i] = field ? field : (char *) "";
        }
        run(fields);
    }
    free(line);
    fs_match_set_destroy(set);
    fs_switch_destroy(sw);
    fs_follow_destroy(follows[0]);
    fs_follow_destroy(follows[1]);
    return 0;
}
