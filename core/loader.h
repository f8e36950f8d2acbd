/* Finds, vets and loads the tasks and commands of a daemon: LIB/{tasks,commands}/{DAEMON,common}/NAME.so.
 *
 * Each look-up compares the file with what was loaded from it, so a file dropped into the folder serves the next call, and a file taken
 * away takes its method with it.  What is loaded is never the file itself but a copy under the hash of its content, made after
 * the ELF gate and after a child process has loaded it and come back: a file overwritten in place cannot change code
 * that runs, and a constructor that ends the process ends the child.  Loaded code is never unloaded.  Thread-safe. */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H 1

#include <flowstream/method.h>

struct fs_loader;

/* One loaded method and how it has fared. */
struct fs_loaded {
    const struct fs_method *method;
    char *path;          /* that it was loaded from */
    char hash[65];       /* SHA-256 of its content */
    uint64_t calls, failures; /* these and 'seconds': only through the functions below */
    double seconds;      /* spent in it, all calls together */
};

/* 'lib' has the folders tasks/ and commands/, 'own' is the daemon's name, 'images' a folder for the copies (made if need be). */
FS_API struct fs_loader *fs_loader_new(const char *lib, const char *own, const char *images, char **error);
FS_API void fs_loader_destroy(struct fs_loader *);
/* Try all files of the daemon in one child: starting a child costs most of what trying takes.  When all pass, the first call of each finds
 * its copy tried and made; when one does not, each is tried by itself at its first call.  Loads nothing.  For the start. */
FS_API void fs_loader_try_all(struct fs_loader *);
/* The method of that name, or NULL: with *error (owned) when there is a file that cannot be loaded and no older version of it, with *error
 * NULL when there is none.  What is returned lives as long as the loader. */
FS_API struct fs_loaded *fs_loader_get(struct fs_loader *, enum fs_method_kind, const char *name, char **error);
/* The method of that name if the newest version of it is loaded already, else NULL: never loads, so it never takes long. */
FS_API struct fs_loaded *fs_loader_peek(struct fs_loader *, enum fs_method_kind, const char *name);
/* All methods of a kind that can be called now, by name; *problems gets a text for files that cannot be loaded (owned, or NULL).
 * The array is owned by the caller. */
FS_API struct fs_loaded **fs_loader_list(struct fs_loader *, enum fs_method_kind, size_t *n, char **problems);
/* Why the file of that method, as it is now, is not what serves (owned), or NULL: it is. */
FS_API char *fs_loader_problem(struct fs_loader *, enum fs_method_kind, const char *name);
/* The daemon's own folder of a kind: where upgrade puts files. */
FS_API const char *fs_loader_folder(const struct fs_loader *, enum fs_method_kind);
FS_API void fs_loaded_account(struct fs_loaded *, bool failed, double seconds);
/* The figures of a method while other threads count. */
FS_API void fs_loaded_figures(const struct fs_loaded *, double *calls, double *failures, double *seconds);
/* May a file of that name be a method's? */
FS_API bool fs_method_name_ok(const char *name);

/* The program's part in the child: loads each file and prints a line about it; the exit status of the process. */
FS_API int fs_loader_vet_main(int n, char **files);

#endif
