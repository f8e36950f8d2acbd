/* A store with very many allocations, made from one that has a few.
 *
 * usage: store-many STORE N [OLD=NEW...]
 *
 * Each allocation in the store is copied in turn, until there are N more.  A copy has an id, a name, a key and service paths of its own; the addresses 10.77.0.1 in its texts
 * become one of its own, in 10.0.0.0/8, and the words OLD (names of hosts, switches, ports) become NEW.  The daemon that owns the store must be stopped.
 *
 * To copy a tree takes a millisecond.  So it is done once for each allocation, with numbers that stand for those of a copy, and in the packed block these are written over with
 * numbers of the same length: ids of seven digits, service paths of six hexadecimal ones, addresses of three digits an octet. */
#include "config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/pack.h"
#include "core/store.h"
#include "core/util.h"

enum { GROUP = 500, FIRST_ID = 2000001, FIRST_SPI = 0x100000, SAMPLE_ID = 7654321, SAMPLE_SPI = 0x9a5e00, MOST = 900000 };
#define SAMPLE_ADDRESS "10.199.199.199"

/* Where in a block a number of the copy stands. */
struct spot {
    size_t at;
    enum { ID_TEXT, ID_INT, SPI_TEXT, SPI_INT, ADDRESS } what;
    int nth; /* of the service paths */
};

struct sample {
    unsigned char *block;
    size_t size, n_spots, room;
    struct spot *spots;
    int paths;
};

static struct {
    char **words; /* OLD=NEW */
    int n_words;
    xmlrpc_value *templates;
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

/* The bytes of an int in a block. */
static size_t
packed_int(int n, unsigned char *bytes)
{
    size_t size;
    xmlrpc_value *v = fs_int(n);
    unsigned char *block = fs_pack(v, &size);
    memcpy(bytes, block + 1, size - 1);
    free(block);
    fs_free(v);
    return size - 1;
}

static void
find_spots(struct sample *s, const void *bytes, size_t n, int what, int nth)
{
    const unsigned char *p = s->block;
    while ((p = memmem(p, s->size - (size_t) (p - s->block), bytes, n))) {
        if (s->n_spots == s->room) {
            s->room = s->room * 2 + 32;
            s->spots = fs_xrealloc(s->spots, s->room * sizeof *s->spots);
        }
        s->spots[s->n_spots++] = (struct spot) { (size_t) (p - s->block), what, nth };
        p += n;
    }
}

static struct sample
make_sample(const xmlrpc_value *template)
{
    struct copy c = { .id = SAMPLE_ID, .template = fs_get_int(template, "id", 0) };
    const xmlrpc_value *flows = fs_get(fs_get(template, "plan"), "flows");
    struct sample s = { .paths = (int) fs_size(flows) };
    c.spi = SAMPLE_SPI - fs_get_int(fs_item(flows, 0), "spi", 0);
    snprintf(c.address, sizeof c.address, SAMPLE_ADDRESS);
    xmlrpc_value *doc = copy_value(&c, template, "");
    fs_set(doc, "owner", fs_string(fs_get_string(template, "owner", "")));
    fs_set(doc, "name", fs_stringf("many%d", c.id));
    s.block = fs_pack(fs_set(doc, "key", fs_stringf("many-%d", c.id)), &s.size);
    fs_free(doc);
    unsigned char bytes[16];
    char text[16];
    find_spots(&s, "7654321", 7, ID_TEXT, 0);
    find_spots(&s, bytes, packed_int(SAMPLE_ID, bytes), ID_INT, 0);
    find_spots(&s, SAMPLE_ADDRESS, strlen(SAMPLE_ADDRESS), ADDRESS, 0);
    for (int i = 0; i < s.paths; i++) {
        find_spots(&s, text, (size_t) snprintf(text, sizeof text, "0x%x", SAMPLE_SPI + i), SPI_TEXT, i);
        find_spots(&s, bytes, packed_int(SAMPLE_SPI + i, bytes), SPI_INT, i);
    }
    return s;
}

static unsigned char *
make_copy(const struct sample *s, int nth, int spi)
{
    unsigned char *block = fs_xmalloc(s->size);
    memcpy(block, s->block, s->size);
    for (size_t i = 0; i < s->n_spots; i++) {
        const struct spot *spot = &s->spots[i];
        char text[24];
        if (spot->what == ID_INT || spot->what == SPI_INT) {
            packed_int(spot->what == ID_INT ? FIRST_ID + nth : spi + spot->nth, block + spot->at);
            continue;
        }
        int n = spot->what == ID_TEXT ? snprintf(text, sizeof text, "%07d", FIRST_ID + nth)
                : spot->what == SPI_TEXT ? snprintf(text, sizeof text, "0x%06x", (unsigned) (spi + spot->nth))
                : snprintf(text, sizeof text, "10.%d.%d.%d", 100 + nth / 10000, 100 + nth / 100 % 100, 100 + nth % 100);
        memcpy(block + spot->at, text, (size_t) n);
    }
    return block;
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
    size_t n_samples = fs_size(all.templates);
    struct sample *samples = fs_xcalloc(n_samples, sizeof *samples);
    struct fs_block_record records[GROUP];
    char names[GROUP][16];
    int spi = FIRST_SPI;
    for (size_t i = 0; i < n_samples; i++) {
        samples[i] = make_sample(fs_item(all.templates, i));
    }
    for (int done = 0; done < n;) {
        size_t k = 0;
        char *error = NULL;
        for (; k < GROUP && done < n; k++, done++) {
            const struct sample *sample = &samples[(size_t) done % n_samples];
            snprintf(names[k], sizeof names[k], "%d", FIRST_ID + done);
            records[k] = (struct fs_block_record) { "allocation", names[k], make_copy(sample, done, spi), sample->size };
            spi += sample->paths;
        }
        must(fs_store_await(fs_store_post(s, records, k), &error), error);
        while (k) {
            free((void *) (uintptr_t) records[--k].block);
        }
    }
    struct fs_record counters[] = { { "counter", "last_id", fs_int(FIRST_ID + n) }, { "counter", "last_spi", fs_int(spi) } };
    char *error = NULL;
    must(fs_store_write(s, counters, 2, &error), error);
    fs_free((xmlrpc_value *) (uintptr_t) counters[0].value);
    fs_free((xmlrpc_value *) (uintptr_t) counters[1].value);
    for (size_t i = 0; i < n_samples; i++) {
        free(samples[i].block);
        free(samples[i].spots);
    }
    free(samples);
}

int
main(int argc, char **argv)
{
    if (argc < 3 || atoi(argv[2]) < 1 || atoi(argv[2]) > MOST) {
        fprintf(stderr, "usage: store-many STORE N [OLD=NEW...] (N: %d at most)\n", MOST);
        return 2;
    }
    struct fs_store *s;
    char *error = NULL;
    all.words = argv + 3;
    all.n_words = argc - 3;
    all.templates = fs_array();
    must(fs_store_open(argv[1], &s, &error), error);
    must(fs_store_read(s, "allocation", collect, NULL, &error), error);
    if (!fs_size(all.templates)) {
        fprintf(stderr, "store-many: %s has no allocation to copy\n", argv[1]);
        return 1;
    }
    write_all(s, atoi(argv[2]));
    fs_store_close(s);
    fs_free(all.templates);
    return 0;
}
