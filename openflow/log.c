/* Where the log of libopenvswitch goes.
 *
 * Its vlog module writes to standard error and syslog and has no place for a callback.  The linker gives us its entry points
 * instead (--wrap in local.mk): what the library's other modules log arrives here and goes to the caller's function. */

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include <openvswitch/vlog.h>

#include <flowstream/openflow.h>

/* The names that the linker's --wrap asks for. */
void __wrap_vlog(const struct vlog_module *, enum vlog_level, const char *format, ...);
void __wrap_vlog_valist(const struct vlog_module *, enum vlog_level, const char *format, va_list);
void __wrap_vlog_rate_limit(const struct vlog_module *, enum vlog_level, struct vlog_rate_limit *, const char *format, ...);

static fs_openflow_log_function *log_function;
static void *log_aux;

void
fs_openflow_set_log(fs_openflow_log_function *function, void *aux)
{
    log_function = function;
    log_aux = aux;
}

__attribute__((format(printf, 3, 0))) void
__wrap_vlog_valist(const struct vlog_module *module, enum vlog_level level, const char *format, va_list args)
{
    static const int priorities[] = {
        [VLL_OFF] = LOG_DEBUG, [VLL_EMER] = LOG_ALERT, [VLL_ERR] = LOG_ERR, [VLL_WARN] = LOG_WARNING,
        [VLL_INFO] = LOG_INFO, [VLL_DBG] = LOG_DEBUG,
    };
    char message[1024];

    if (log_function && vlog_is_enabled(module, level)) {
        vsnprintf(message, sizeof message, format, args);
        log_function(log_aux, priorities[level], vlog_get_module_name(module), message);
    }
}

__attribute__((format(printf, 3, 4))) void
__wrap_vlog(const struct vlog_module *module, enum vlog_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    __wrap_vlog_valist(module, level, format, args);
    va_end(args);
}

__attribute__((format(printf, 4, 5))) void
__wrap_vlog_rate_limit(const struct vlog_module *module, enum vlog_level level, struct vlog_rate_limit *limit,
                       const char *format, ...)
{
    if (log_function && !vlog_should_drop(module, level, limit)) {
        va_list args;

        va_start(args, format);
        __wrap_vlog_valist(module, level, format, args);
        va_end(args);
    }
}
