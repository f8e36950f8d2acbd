/* Reading the allocator's XML files.
 *
 * The file passes by once, element by element, so that services for thousands of servers take no more memory than they
 * need; libxml2 compares it with a RelaxNG schema on the way, and the caller's function never sees an element or
 * attribute that the schema does not know.  The network is off limits, entities are not expanded, and libxml2's own
 * limits on size stay on.  What a schema cannot say (names that must be unique, numbers in range) is the caller's. */
#include <config.h>

#include "alloc/xml.h"

#include <errno.h>
#include <libxml/relaxng.h>
#include <libxml/xmlreader.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/memory.h"

#define N_VALUES 16

/* Nothing but the file, and line numbers that go beyond 65,535. */
#define OPTIONS (XML_PARSE_NONET | XML_PARSE_BIG_LINES)

struct alloc_xml {
    const char *name;
    xmlTextReader *reader;
    char *error;                /* the first one, or NULL */
    int line;                   /* of the current node */
    xmlChar *values[N_VALUES];  /* attributes asked for of the current element */
    int n_values;
};

static void
note_error(struct alloc_xml *xml, int line, const char *text)
{
    if (!xml->error) {
        xml->error = alloc_format("%s:%d: %s", xml->name, line, text);
    }
}

int
alloc_xml_line(const struct alloc_xml *xml)
{
    return xml->line;
}

/* Notes the line of the node that the reader stands on.  Elements of libxml2 cannot count beyond 65,534, but texts can: an
 * element further down has the line where the text before it ended.  (The parser's own line is some elements ahead.) */
static void
note_line(struct alloc_xml *xml)
{
    const xmlNode *node = xmlTextReaderCurrentNode(xml->reader);

    if (!node) {
        return;
    }
    if (node->line < UINT16_MAX) {
        xml->line = node->line;
    } else if (node->type == XML_TEXT_NODE && node->psvi) {
        xml->line = (int) (intptr_t) node->psvi;
    }
}

/* Takes libxml2's complaints, whose texts end with a line feed. */
static void
on_complaint(void *xml_, xmlError *complaint)
{
    struct alloc_xml *xml = xml_;
    char *text = alloc_format("%s", complaint->message ? complaint->message : "not the XML that is expected here");
    size_t n = strlen(text);

    while (n && text[n - 1] == '\n') {
        text[--n] = '\0';
    }
    int line = complaint->line;
    if (complaint->domain != XML_FROM_PARSER && (line <= 0 || line >= UINT16_MAX)) {
        note_line(xml);
        line = xml->line;
    }
    if (strstr(text, "failed to validate attributes")) {
        note_error(xml, line, "an attribute of this element is missing or wrong");
    }
    note_error(xml, line, text);
    free(text);
}

int
alloc_xml_error(struct alloc_xml *xml, const char *format, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    note_error(xml, alloc_xml_line(xml), n < 0 ? format : text);
    if (n >= 0) {
        free(text);
    }
    return EINVAL;
}

static void
drop_values(struct alloc_xml *xml)
{
    while (xml->n_values) {
        xmlFree(xml->values[--xml->n_values]);
    }
}

const char *
alloc_xml_attribute(struct alloc_xml *xml, const char *name)
{
    if (xml->n_values == N_VALUES) {
        abort(); /* no element has so many attributes */
    }
    xmlChar *value = xmlTextReaderGetAttribute(xml->reader, (const xmlChar *) name);
    if (value) {
        xml->values[xml->n_values++] = value;
    }
    return (const char *) value;
}

int
fs_amount_parse(const char *text, fs_amount *amount)
{
    char *end;

    text += strspn(text, " \t\r\n");
    if (!*text || strspn(text, "0123456789.eE+-") != strcspn(text, " \t\r\n")) {
        return EINVAL;
    }
    double value = strtod(text, &end);
    end += strspn(end, " \t\r\n");
    if (*end || !(value >= 0 && value <= (double) (FS_AMOUNT_MAX / FS_UNIT))) {
        return EINVAL;
    }
    *amount = llround(value * (double) FS_UNIT);
    return 0;
}

int
alloc_xml_amount(struct alloc_xml *xml, const char *name, fs_amount *amount)
{
    const char *text = alloc_xml_attribute(xml, name);

    if (text && fs_amount_parse(text, amount)) {
        return alloc_xml_error(xml, "%s is \"%s\", which is not a number from 0 to %d", name, text,
                               (int) (FS_AMOUNT_MAX / FS_UNIT));
    }
    return 0;
}

/* Shows the node that the reader stands on, if it is an element. */
static int
show(struct alloc_xml *xml, alloc_xml_element *element, void *aux)
{
    int type = xmlTextReaderNodeType(xml->reader), error = 0;

    note_line(xml);
    if (type != XML_READER_TYPE_ELEMENT && type != XML_READER_TYPE_END_ELEMENT) {
        return 0;
    }
    const char *name = (const char *) xmlTextReaderConstLocalName(xml->reader);
    bool empty = xmlTextReaderIsEmptyElement(xml->reader) == 1;
    if (type == XML_READER_TYPE_ELEMENT) {
        error = element(xml, name, false, aux);
    }
    if (!error && (type == XML_READER_TYPE_END_ELEMENT || empty)) {
        error = element(xml, name, true, aux);
    }
    drop_values(xml);
    return error;
}

static int
read_elements(struct alloc_xml *xml, alloc_xml_element *element, void *aux)
{
    for (;;) {
        int more = xmlTextReaderRead(xml->reader);
        if (xml->error) {
            return EINVAL;
        }
        if (more < 0) {
            return alloc_xml_error(xml, "not well-formed XML");
        }
        if (!more) {
            return xmlTextReaderIsValid(xml->reader) == 1
                   ? 0 : alloc_xml_error(xml, "not as the schema of such files says");
        }
        int error = show(xml, element, aux);
        if (error) {
            return error;
        }
    }
}

static xmlRelaxNG *
compile_schema(const char *schema)
{
    xmlRelaxNGParserCtxt *context = xmlRelaxNGNewMemParserCtxt(schema, (int) strlen(schema));
    xmlRelaxNG *compiled = context ? xmlRelaxNGParse(context) : NULL;

    xmlRelaxNGFreeParserCtxt(context);
    if (!compiled) {
        fputs("flowstream: a built-in RelaxNG schema does not compile\n", stderr);
        abort();
    }
    return compiled;
}

/* Opens SOURCE, so that a missing file is told from a wrong one. */
static int
open_source(const struct alloc_xml_source *source, FILE **file, xmlTextReader **reader, char **error)
{
    *file = NULL;
    if (source->text) {
        *reader = xmlReaderForMemory(source->text, (int) source->size, source->name, NULL, OPTIONS);
        return 0;
    }
    *file = fopen(source->name, "re");
    if (!*file) {
        int failure = errno;
        *error = alloc_format("%s: %s", source->name, strerror(failure));
        return failure;
    }
    *reader = xmlReaderForFd(fileno(*file), source->name, NULL, OPTIONS);
    return 0;
}

int
alloc_xml_read(const struct alloc_xml_source *source, const char *schema, alloc_xml_element *element, void *aux,
               char **error)
{
    struct alloc_xml xml = { .name = source->name };
    FILE *file;
    int result = open_source(source, &file, &xml.reader, error);

    if (result) {
        return result;
    }
    if (!xml.reader) {
        *error = alloc_format("%s: cannot be read as XML", source->name);
        result = EINVAL;
    } else {
        xmlRelaxNG *compiled = compile_schema(schema);
        xmlTextReaderSetStructuredErrorHandler(xml.reader, on_complaint, &xml);
        xmlTextReaderRelaxNGSetSchema(xml.reader, compiled);
        result = read_elements(&xml, element, aux);
        drop_values(&xml);
        xmlFreeTextReader(xml.reader);
        xmlRelaxNGFree(compiled);
        *error = xml.error;
    }
    if (file) {
        fclose(file);
    }
    return result;
}
