/* Configuration files.  The schema is part of the library (made from etc/schemas/daemon.rng by the build), so a daemon needs no second
 * file to read the first.  libxml2 without any option that would expand entities or fetch anything. */
#include "config.h"

#include "core/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <stdlib.h>
#include <string.h>

#include "core/daemon_schema.h"
#include "core/util.h"

enum { MAX_CONFIGURATION = 1 << 20 };

struct fs_settings {
    xmlDoc *doc;
    char **texts; /* attribute values handed out */
    size_t n_texts;
};

struct complaints {
    const char *path;
    struct fs_text text;
};

static void
complain(void *data, xmlErrorPtr e)
{
    struct complaints *c = data;
    const char *message = e->message ? e->message : "not well-formed";
    size_t n = strlen(message);
    while (n && (message[n - 1] == '\n' || message[n - 1] == ' ')) {
        n--;
    }
    fs_text_addf(&c->text, "%s%s:%d: %.*s", c->text.length ? "\n" : "", c->path, e->line, (int) n, message);
}

static bool
valid(xmlDoc *doc, struct complaints *c)
{
    xmlRelaxNGParserCtxt *pc = xmlRelaxNGNewMemParserCtxt(daemon_schema, (int) strlen(daemon_schema));
    xmlRelaxNG *schema = pc ? xmlRelaxNGParse(pc) : NULL;
    xmlRelaxNGValidCtxt *vc = schema ? xmlRelaxNGNewValidCtxt(schema) : NULL;
    bool good = false;
    if (vc) {
        xmlRelaxNGSetValidStructuredErrors(vc, (xmlStructuredErrorFunc) complain, c);
        good = xmlRelaxNGValidateDoc(vc, doc) == 0;
    } else {
        fs_text_addf(&c->text, "the built-in schema of configuration files is damaged");
    }
    xmlRelaxNGFreeValidCtxt(vc);
    xmlRelaxNGFree(schema);
    xmlRelaxNGFreeParserCtxt(pc);
    return good;
}

int
fs_settings_read(const char *path, const char *name, struct fs_settings **settings, char **error)
{
    char *bytes;
    size_t size;
    int e = fs_read_file(AT_FDCWD, path, MAX_CONFIGURATION, false, &bytes, &size);
    if (e) {
        *error = fs_xasprintf("%s: %s", path, e == EINVAL ? "not a regular file" : strerror(e));
        return e;
    }
    struct complaints c = { .path = path };
    xmlSetStructuredErrorFunc(&c, (xmlStructuredErrorFunc) complain);
    xmlDoc *doc = xmlReadMemory(bytes, (int) size, path, NULL, XML_PARSE_NONET);
    xmlSetStructuredErrorFunc(NULL, NULL);
    free(bytes);
    if (!doc && !c.text.length) {
        fs_text_addf(&c.text, "%s: empty", path);
    }
    struct fs_settings *s = fs_xcalloc(1, sizeof *s);
    s->doc = doc;
    if (doc && valid(doc, &c)) {
        const char *own = fs_setting(s, NULL, 0, "name");
        if (strcmp(own, name)) {
            fs_text_addf(&c.text, "%s:%ld: this is the configuration of the %s daemon, not of %s", path,
                         xmlGetLineNo(xmlDocGetRootElement(doc)), own, name);
        }
    }
    if (c.text.length) {
        fs_settings_destroy(s);
        *error = c.text.text;
        return EINVAL;
    }
    *settings = s;
    return 0;
}

void
fs_settings_destroy(struct fs_settings *s)
{
    if (s) {
        for (size_t i = 0; i < s->n_texts; i++) {
            xmlFree(s->texts[i]);
        }
        free(s->texts);
        xmlFreeDoc(s->doc);
        free(s);
    }
}

const char *
fs_setting(const struct fs_settings *cs, const char *element, size_t nth, const char *attribute)
{
    struct fs_settings *s = (struct fs_settings *) (uintptr_t) cs; /* the list of texts grows; read at start, by one thread */
    xmlNode *node = xmlDocGetRootElement(s->doc);
    if (element) {
        for (node = node->children; node; node = node->next) {
            if (node->type == XML_ELEMENT_NODE && !strcmp((const char *) node->name, element) && !nth--) {
                break;
            }
        }
    }
    char *text = node ? (char *) xmlGetProp(node, (const xmlChar *) attribute) : NULL;
    if (text) {
        s->texts = fs_xrealloc(s->texts, (s->n_texts + 1) * sizeof *s->texts);
        s->texts[s->n_texts++] = text;
    }
    return text;
}

long
fs_setting_number(const struct fs_settings *s, const char *element, const char *attribute, long otherwise)
{
    const char *text = fs_setting(s, element, 0, attribute);
    return text ? strtol(text, NULL, 10) : otherwise;
}
