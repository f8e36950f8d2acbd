/* The store of images: what a daemon loads is never the file that was dropped or sent, but a copy under the hash of its bytes, made after the ELF gate and after a
 * child has loaded it.  Not thread-safe: the loader calls it with its lock held. */
#ifndef CORE_IMAGES_H
#define CORE_IMAGES_H 1

#include <stdbool.h>
#include <stddef.h>

#include <flowstream/method.h>

enum { FS_LOADABLE_MAX = 64 << 20, FS_HASH_SIZE = 65 };

struct fs_images;

/* 'folder' is made if need be, and rid of what a process before us had begun to write; NULL with *error (owned). */
struct fs_images *fs_images_open(const char *folder, char **error);
void fs_images_close(struct fs_images *); /* accepts NULL */

/* The hash of bytes, as it names an image. */
FS_API void fs_image_hash(const void *bytes, size_t size, char hash[FS_HASH_SIZE]);
/* Bring bytes that have passed the ELF gate into the store, tried as that method; NULL or why not (owned).  An image that is there with just these bytes has been tried. */
char *fs_images_add(struct fs_images *, const char *hash, const void *bytes, size_t size, enum fs_method_kind kind, const char *name);
/* Path of an image (owned), there or not. */
char *fs_images_path(const struct fs_images *, const char *hash);
/* Bytes of an image; 0 or errno, EBADMSG where they are not those of its hash. */
int fs_images_read(const struct fs_images *, const char *hash, char **bytes, size_t *size);
/* The signature that an image was accepted with: kept beside it, text as in NAME.so.sig; NULL (owned): none. */
int fs_images_set_signature(struct fs_images *, const char *hash, const char *text);
char *fs_images_signature(const struct fs_images *, const char *hash);
/* May code be taken from a file of this owner and mode?  NULL, or why not (owned). */
struct stat;
char *fs_images_trust(const struct stat *);
/* Try many at once, some in one child each, and keep those of a child that says all are good.  For the start. */
void fs_images_add_all(struct fs_images *, char *const files[], size_t n);
/* Remove all but those that keep() wants. */
void fs_images_sweep(struct fs_images *, bool (*keep)(void *aux, const char *hash), void *aux);

#endif
