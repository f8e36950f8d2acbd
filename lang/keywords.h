/* The headers KEY=value of a request, and the properties {key=value} of modules and connections. */
#ifndef LANG_KEYWORDS_H
#define LANG_KEYWORDS_H 1

#include "lang/check.h"

/* Check keys and values of the headers of the request, and that no key comes twice.  Fills the settings and
 * request->headers. */
void keywords_check(struct check *, struct fs_request *);

/* Check the properties of a module (else: of a connection) in 'instance' and enter them in '*settings', which hold the
 * defaults.  'what' the properties belong to is for messages. */
void keywords_read_properties(struct check *, const struct check_instance *, const struct syntax_properties *,
                              bool module, struct settings *);

#endif
