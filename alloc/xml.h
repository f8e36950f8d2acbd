/* One way to read the allocator's XML files: each element is shown to a function, in the order of the file. */
#ifndef ALLOC_XML_H
#define ALLOC_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "flowstream/platform.h"

struct alloc_xml;

/* Called for the start (or, END, for the end) of each element.  Returns 0, or an errno to stop; it has then called
 * alloc_xml_error(). */
typedef int alloc_xml_element(struct alloc_xml *xml, const char *element, bool end, void *aux);

/* Where the XML comes from: a file, or SIZE bytes at TEXT when TEXT is not NULL.  NAME goes into messages. */
struct alloc_xml_source {
    const char *name, *text;
    size_t size;
};

/* Reads SOURCE, which must be as the RelaxNG SCHEMA says.  Returns 0, or an errno with FILE:LINE: TEXT in *ERROR. */
int alloc_xml_read(const struct alloc_xml_source *source, const char *schema, alloc_xml_element *element, void *aux,
                   char **error);

int alloc_xml_line(const struct alloc_xml *xml);

/* The value of attribute NAME of the current element until the element is left, or NULL. */
const char *alloc_xml_attribute(struct alloc_xml *xml, const char *name);

/* Reads the amount in attribute NAME; when it is absent, *AMOUNT stays as it is.  Returns 0 or EINVAL. */
int alloc_xml_amount(struct alloc_xml *xml, const char *name, fs_amount *amount);

/* Notes the first error, with the file's name and the current line before it.  Returns EINVAL. */
int alloc_xml_error(struct alloc_xml *xml, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
