/* Packed values: a value as one block of bytes, a tenth of its XML and a hundredth of its tree.
 *
 * What is held in thousands and looked at rarely is held so, and kept so by the store.  A block can be read in place, without making a tree of it: struct fs_packed is such
 * a place.  Only blocks that fs_pack() has made or that fs_pack_check() has found good may be read in place; a text lives as long as its block. */
#ifndef CORE_PACK_H
#define CORE_PACK_H 1

#include <flowstream/value.h>

/* The block of a value; owned by the caller. */
FS_API unsigned char *fs_pack(const xmlrpc_value *, size_t *size);
/* Is it a whole block, as fs_pack() makes them?  Nothing outside of it is read, whatever is in it.  0 or EINVAL. */
FS_API int fs_pack_check(const void *block, size_t size);
/* Its value, checked: 0 with *value (owned), or EINVAL. */
FS_API int fs_unpack(const void *block, size_t size, xmlrpc_value **value);

/* A value in a block; block NULL: none.  Readers answer as those of value.h do: what is not there, or of another type, is as if there were none. */
struct fs_packed {
    const unsigned char *block;
    size_t at, size; /* of the block */
};

FS_API struct fs_packed fs_packed(const void *block, size_t size);
FS_API struct fs_packed fs_packed_get(struct fs_packed strct, const char *key);
FS_API const char *fs_packed_text(struct fs_packed, const char *otherwise);
FS_API double fs_packed_number(struct fs_packed, double otherwise);
FS_API const char *fs_packed_get_string(struct fs_packed strct, const char *key, const char *otherwise);
FS_API double fs_packed_get_double(struct fs_packed strct, const char *key, double otherwise);
FS_API int fs_packed_get_int(struct fs_packed strct, const char *key, int otherwise);
FS_API bool fs_packed_get_bool(struct fs_packed strct, const char *key, bool otherwise);
/* Items of an array or members of a struct. */
FS_API size_t fs_packed_count(struct fs_packed);
/* The tree of a value in a block (owned); nil where there is none. */
FS_API xmlrpc_value *fs_packed_value(struct fs_packed);

/* Goes through an array:  struct fs_packed item = { 0 }; for (struct fs_packed_items i = fs_packed_items(array); fs_packed_next(&i, &item);) ... */
struct fs_packed_items {
    struct fs_packed next;
    size_t left;
};
FS_API struct fs_packed_items fs_packed_items(struct fs_packed array);
FS_API bool fs_packed_next(struct fs_packed_items *, struct fs_packed *item);

#endif
