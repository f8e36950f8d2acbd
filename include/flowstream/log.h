/* The log: one line an event, by module, with levels that can be changed while running (command set_log_level).
 *
 *     FS_LOG_MODULE("bundle");
 *     ...
 *     fs_log_info("%d rules in %s", n, name);
 *
 * A line has the time (UTC), the daemon, the level, the module and the id of the request that the thread works for. */
#ifndef FLOWSTREAM_LOG_H
#define FLOWSTREAM_LOG_H 1

#include <stdbool.h>
#include <stdint.h>

#include <flowstream/api.h>
#include <flowstream/value.h>

enum fs_log_level { FS_LOG_ERROR, FS_LOG_WARNING, FS_LOG_INFO, FS_LOG_DEBUG };

struct fs_log_module {
    const char *name;
    unsigned seen; /* generation of the table of levels that 'level' was read from */
    enum fs_log_level level;
    int64_t window; /* rate limit: the second that 'burst' counts in */
    unsigned burst;
};

#define FS_LOG_MODULE(NAME) static struct fs_log_module fs_this_log_ = { .name = NAME }

#define fs_log_at(LEVEL, ...) \
    (fs_log_wants(&fs_this_log_, LEVEL) ? fs_log_write(&fs_this_log_, LEVEL, __VA_ARGS__) : (void) 0)
#define fs_log_error(...) fs_log_at(FS_LOG_ERROR, __VA_ARGS__)
#define fs_log_warning(...) fs_log_at(FS_LOG_WARNING, __VA_ARGS__)
#define fs_log_info(...) fs_log_at(FS_LOG_INFO, __VA_ARGS__)
#define fs_log_debug(...) fs_log_at(FS_LOG_DEBUG, __VA_ARGS__)
/* For what a peer can trigger at will: at most 20 lines a second and module, the rest is counted. */
#define fs_log_limited(LEVEL, ...) \
    (fs_log_wants(&fs_this_log_, LEVEL) && fs_log_spare(&fs_this_log_) ? fs_log_write(&fs_this_log_, LEVEL, __VA_ARGS__) : (void) 0)

FS_API bool fs_log_wants(struct fs_log_module *, enum fs_log_level);
FS_API bool fs_log_spare(struct fs_log_module *);
FS_API void fs_log_write(struct fs_log_module *, enum fs_log_level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The name in each line; once, at start. Lines go to standard error. */
FS_API void fs_log_open(const char *daemon);
/* Sets the level of one module, or with "" of all that have none of their own.  False: no such level, a name that no
 * module has (lower-case letters, digits, "-_."; 31 at most), or no room for another module. */
FS_API bool fs_log_set_level(const char *module, const char *level);
/* A struct from module name to level; "" is the default. */
FS_API xmlrpc_value *fs_log_levels(void);
/* The request that this thread works for; copied, "" for none. */
FS_API void fs_log_set_request(const char *id);
FS_API const char *fs_log_request(void);

#endif
