/* A store with very many allocations, made from one that has a few.
 *
 * usage: store-many STORE N [OLD=NEW...]
 *
 * Each allocation in the store is copied in turn, until there are N more.  A copy has an id, a name, a key and service paths of its own; the addresses 10.77.0.1 in its texts
 * become one of its own, in 10.0.0.0/8, and the words OLD (names of hosts, switches, ports) become NEW.  The daemon that owns the store must be stopped. */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store.h"
#include "core/util.h"

enum { GROUP = 500 };

static struct {
    char **words; /* OLD=NEW */
    int n_words;
    xmlrpc_value *templates;
    int last_id, last_spi;
} all = { .words = NULL };

/* One copy. */
struct copy {
    int id, template, spi; /* spi: what is added to each */
    char address[16];
};

static void
collect(void *aux, const char *name, xmlrpc_value *v)
{
    (void) aux;
    (void) name;
    fs_append(all.templates, v);
}

static void
read_counter(void *aux, const char *name, xmlrpc_value *v)
{
    (void) aux;
    int n = (int) fs_number(v, 0);
    all.last_id = strcmp(name, "last_id") ? all.last_id : n;
    all.last_spi = strcmp(name, "last_spi") ? all.last_spi : n;
    fs_free(v);
}

static bool
is_word(char c)
{
    return isalnum((unsigned char) c) || c == '_' || c == '-' || c == '.';
}

/* At 'p', after 'before': does the text begin with the word? */
static size_t
word_at(const char *p, char before, const char *word, size_t n)
{
    return !strncmp(p, word, n) && !is_word(before) && !is_word(p[n]) ? n : 0;
}

/* Add what the text at 'p' becomes, and return how much of it that was. */
static size_t
rewrite(struct fs_text *t, const struct copy *c, const char *p, char before)
{
    static const char spi[] = "nsh_spi=0x", set[] = "set_field:0x", address[] = "10.77.0.1";
    char own[16], *end;
    size_t plain = 0;
    while (p[plain] && is_word(before)) {
        before = p[plain++];
    }
    if (plain) { /* in the middle of a word */
        fs_text_add(t, p, plain);
        return plain;
    }
    size_t n = (size_t) snprintf(own, sizeof own, "a%d.", c->template);
    if (!strncmp(p, own, n) && !is_word(before)) {
        fs_text_addf(t, "a%d.", c->id);
        return n;
    }
    if ((n = word_at(p, before, address, strlen(address)))) {
        fs_text_addf(t, "%s", c->address);
        return n;
    }
    const char *number = !strncmp(p, spi, strlen(spi)) ? p + strlen(spi) : !strncmp(p, set, strlen(set)) ? p + strlen(set) : NULL;
    unsigned long value = number ? strtoul(number, &end, 16) : 0;
    if (number && (*p == 'n' || !strncmp(end, "->nsh_spi", 9))) {
        fs_text_addf(t, "%.*s%lx", (int) (number - p), p, value + (unsigned long) c->spi);
        return (size_t) (end - p);
    }
    for (int i = 0; i < all.n_words; i++) {
        size_t length = strcspn(all.words[i], "=");
        if ((n = word_at(p, before, all.words[i], length))) {
            fs_text_addf(t, "%s", all.words[i] + length + 1);
            return n;
        }
    }
    fs_text_add(t, p, 1);
    return 1;
}

static xmlrpc_value *
copy_text(const struct copy *c, const char *text)
{
    struct fs_text t = { 0 };
    fs_text_addf(&t, "%s", "");
    for (size_t i = 0; text[i];) {
        i += rewrite(&t, c, text + i, i ? text[i - 1] : ' ');
    }
    xmlrpc_value *v = fs_string(t.text);
    free(t.text);
    return v;
}

static xmlrpc_value *
copy_value(const struct copy *c, const xmlrpc_value *v, const char *key)
{
    if (fs_is(v, XMLRPC_TYPE_STRUCT)) {
        xmlrpc_value *new = fs_struct();
        for (size_t i = 0; i < fs_size(v); i++) {
            xmlrpc_value *member;
            const char *name = fs_member(v, i, &member);
            fs_set(new, name, copy_value(c, member, name));
        }
        return new;
    }
    if (fs_is(v, XMLRPC_TYPE_ARRAY)) {
        xmlrpc_value *new = fs_array();
        for (size_t i = 0; i < fs_size(v); i++) {
            fs_append(new, copy_value(c, fs_item(v, i), ""));
        }
        return new;
    }
    if (fs_is(v, XMLRPC_TYPE_STRING)) {
        return copy_text(c, fs_text(v, ""));
    }
    int n = (int) fs_number(v, 0);
    return !strcmp(key, "spi") && n ? fs_int(n + c->spi) : !strcmp(key, "owner") || !strcmp(key, "id") ? fs_int(c->id) : fs_copy(v);
}

static xmlrpc_value *
make_copy(int nth, int first_id, int first_spi)
{
    const xmlrpc_value *template = fs_item(all.templates, (size_t) nth % fs_size(all.templates));
    struct copy c = { .id = first_id + nth, .template = fs_get_int(template, "id", 0), .spi = first_spi };
    unsigned own = (unsigned) nth + 1;
    snprintf(c.address, sizeof c.address, "10.%u.%u.%u", own >> 16 & 255, own >> 8 & 255, own & 255);
    xmlrpc_value *doc = copy_value(&c, template, "");
    fs_set(doc, "owner", fs_string(fs_get_string(template, "owner", "")));
    fs_set(doc, "name", fs_stringf("many%d", c.id));
    return fs_set(doc, "key", fs_stringf("many-%d", c.id));
}

static int
most_paths(void)
{
    int most = 0;
    for (size_t i = 0; i < fs_size(all.templates); i++) {
        int n = (int) fs_size(fs_get(fs_get(fs_item(all.templates, i), "plan"), "flows"));
        most = n > most ? n : most;
    }
    return most;
}

static void
must(int e, char *error)
{
    if (e) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
}

static void
write_all(struct fs_store *s, int n)
{
    struct fs_record records[GROUP + 2];
    char names[GROUP][16];
    int paths = most_paths(), spi = all.last_spi;
    for (int done = 0; done < n;) {
        size_t k = 0;
        char *error = NULL;
        for (; k < GROUP && done < n; k++, done++, spi += paths) {
            snprintf(names[k], sizeof names[k], "%d", all.last_id + 1 + done);
            records[k] = (struct fs_record) { "allocation", names[k], make_copy(done, all.last_id + 1, spi) };
        }
        records[k] = (struct fs_record) { "counter", "last_id", fs_int(all.last_id + done) };
        records[k + 1] = (struct fs_record) { "counter", "last_spi", fs_int(spi + paths) };
        must(fs_store_write(s, records, k + 2, &error), error);
        for (size_t i = 0; i < k + 2; i++) {
            fs_free((xmlrpc_value *) (uintptr_t) records[i].value);
        }
    }
}

int
main(int argc, char **argv)
{
    if (argc < 3 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: store-many STORE N [OLD=NEW...]\n");
        return 2;
    }
    struct fs_store *s;
    char *error = NULL;
    all.words = argv + 3;
    all.n_words = argc - 3;
    all.templates = fs_array();
    must(fs_store_open(argv[1], &s, &error), error);
    must(fs_store_read(s, "allocation", collect, NULL, &error), error);
    must(fs_store_read(s, "counter", read_counter, NULL, &error), error);
    if (!fs_size(all.templates)) {
        fprintf(stderr, "store-many: %s has no allocation to copy\n", argv[1]);
        return 1;
    }
    write_all(s, atoi(argv[2]));
    fs_store_close(s);
    fs_free(all.templates);
    return 0;
}
