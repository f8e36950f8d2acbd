/* Packet filters of module types: expressions of pcap-filter(7), and lists of them separated by commas. */
#ifndef FLOWSTREAM_FILTER_H
#define FLOWSTREAM_FILTER_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <flowstream/api.h>

struct fs_filter;

/* Compile 'expression' for Ethernet frames; "all" (and nothing else) is everything.  Names of hosts, services and protocols are
 * refused, since nobody is asked what they mean: write addresses and numbers.  At most 4,096 bytes.
 * Returns NULL with *error malloc()ed, which quotes
 * the expression.  Thread-safe: compilation is serialised. */
FS_API struct fs_filter *fs_filter_compile(const char *expression, char **error);
FS_API void fs_filter_free(struct fs_filter *); /* accepts NULL */

/* Whether a frame matches.  Any number of threads may use one filter. */
FS_API bool fs_filter_matches(const struct fs_filter *, const uint8_t *frame, uint32_t length);

/* Cut 'text' at commas that are in no parentheses or brackets; blanks around each piece are left out.  *pieces is an array that ends with
 * NULL, in one block that the caller frees with free(); *n pieces, 0 where the text is empty.  0 or errno: EINVAL unbalanced
 * parentheses or an empty piece, with *error malloc()ed. */
FS_API int fs_filter_split(const char *text, char ***pieces, size_t *n, char **error);

#endif
