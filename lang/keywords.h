/* The headers KEY=value of a request. */
#ifndef LANG_KEYWORDS_H
#define LANG_KEYWORDS_H 1

#include "lang/syntax.h"

/* Check keys and values, and that no key comes twice.  Returns as many headers, in the arena, as the tree has. */
struct fs_header *keywords_check(struct arena *, const struct syntax_tree *, struct fs_diagnostics *);

#endif
