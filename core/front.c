/* From the configuration to a server that listens; see the header.  Whatever would only be found when the first caller comes (a key that
 * does not fit, a certificate that has expired, more connections than files may be open) is found here. */
#include "config.h"

#include "core/front.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "core/client.h"
#include "core/util.h"
#include <flowstream/log.h>

FS_LOG_MODULE("daemon");

enum { MAX_PEM = 1 << 20, CONNECTIONS = 16384, OTHER_FILES = 512 /* than connections, that a daemon may have open */ };

/* --- TLS --- */

static char *
read_pem(const char *path, const char *what, char **text)
{
    size_t size;
    int e = fs_read_file(AT_FDCWD, path, MAX_PEM, false, text, &size);
    return e ? fs_xasprintf("%s: the %s cannot be read: %s", path, what, strerror(e)) : NULL;
}

/* NULL when certificate and key belong together and the certificate is valid now. */
static char *
check_pair(const char *path, const char *certificate, const char *key)
{
    gnutls_certificate_credentials_t pair;
    gnutls_x509_crt_t first;
    gnutls_datum_t c = { (unsigned char *) (uintptr_t) certificate, (unsigned) strlen(certificate) };
    gnutls_datum_t k = { (unsigned char *) (uintptr_t) key, (unsigned) strlen(key) };
    char *why = NULL;
    gnutls_certificate_allocate_credentials(&pair);
    gnutls_x509_crt_init(&first);
    int e = gnutls_certificate_set_x509_key_mem(pair, &c, &k, GNUTLS_X509_FMT_PEM);
    e = e < 0 ? e : gnutls_x509_crt_import(first, &c, GNUTLS_X509_FMT_PEM);
    time_t now = time(NULL);
    if (e < 0) {
        why = fs_xasprintf("%s: certificate and key cannot be used: %s", path, gnutls_strerror(e));
    } else if (gnutls_x509_crt_get_expiration_time(first) < now) {
        why = fs_xasprintf("%s: the certificate has expired: get a new one", path);
    } else if (gnutls_x509_crt_get_activation_time(first) > now) {
        why = fs_xasprintf("%s: the certificate is not valid yet: is the clock right?", path);
    }
    gnutls_x509_crt_deinit(first);
    gnutls_certificate_free_credentials(pair);
    return why;
}

static char *
read_tls(const struct fs_settings *settings, char **certificate, char **key)
{
    const char *certificate_path = fs_setting(settings, "tls", 0, "certificate"), *key_path = fs_setting(settings, "tls", 0, "key");
    const char *ca = fs_setting(settings, "tls", 0, "ca");
    struct stat st;
    char *why = NULL, *ca_text = NULL;
    if (ca) {
        why = read_pem(ca, "authority of certificates", &ca_text);
        free(ca_text);
        fs_peer_trust(ca);
    }
    if (why || !certificate_path) {
        return why;
    }
    if (!stat(key_path, &st) && st.st_mode & 077) {
        return fs_xasprintf("%s: others can read the key; chmod 600 it", key_path);
    }
    why = read_pem(certificate_path, "certificate", certificate);
    why = why ? why : read_pem(key_path, "key of the certificate", key);
    return why ? why : check_pair(certificate_path, *certificate, *key);
}

/* --- Limits --- */

static unsigned
limit(const struct fs_settings *settings, const char *name, long otherwise)
{
    return (unsigned) fs_setting_number(settings, "limits", name, otherwise);
}

/* NULL, or why so many connections cannot be held. */
static char *
check_connections(const struct fs_settings *settings, unsigned *connections)
{
    struct rlimit files = { .rlim_cur = 1024 };
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t most = files.rlim_cur > 2 * OTHER_FILES ? files.rlim_cur - OTHER_FILES : files.rlim_cur / 2;
    if (*connections <= most) {
        return NULL;
    }
    if (fs_setting(settings, "limits", 0, "connections")) {
        return fs_xasprintf("limits: connections=\"%u\": this process may open %llu files, which is enough for %llu connections; "
                            "raise the limit (LimitNOFILE= of its unit, ulimit -Hn) or ask for fewer",
                            *connections, (unsigned long long) files.rlim_cur, (unsigned long long) most);
    }
    *connections = (unsigned) most;
    return NULL;
}

/* --- Sockets --- */

static char *
listen_all(const struct fs_settings *settings, struct fs_server *server)
{
    for (size_t i = 0;; i++) {
        const char *tcp = fs_setting(settings, "listen", i, "tcp");
        const char *path = fs_setting(settings, "listen", i, "unix");
        if (!tcp && !path) {
            return NULL;
        }
        char *where = tcp ? fs_xstrdup(tcp) : fs_xasprintf("unix:%s", path);
        char *bound = NULL, *error = NULL;
        int e = fs_server_listen(server, where, &bound, &error);
        free(where);
        if (e) {
            return error;
        }
        fs_log_info("listening on %s", bound);
        free(bound);
    }
}

char *
front_open(const struct fs_settings *settings, const char *credentials, const struct fs_server_handler *handler, struct fs_server **server)
{
    struct fs_server_options options = {
        .credentials = credentials,
        .users = fs_setting(settings, "users", 0, "file"),
        .max_body = limit(settings, "body", 4 << 20),
        .max_connections = limit(settings, "connections", CONNECTIONS),
        .max_peer_connections = limit(settings, "peer-connections", 0),
        .idle_seconds = limit(settings, "idle", 30),
        .header_seconds = limit(settings, "header-seconds", 10),
        .body_seconds = limit(settings, "body-seconds", 60),
        .answer_seconds = limit(settings, "answer-seconds", 60),
        .threads = limit(settings, "threads", 256),
    };
    char *certificate = NULL, *key = NULL;
    char *why = read_tls(settings, &certificate, &key);
    why = why ? why : check_connections(settings, &options.max_connections);
    options.certificate = certificate;
    options.key = key;
    if (!why) {
        *server = fs_server_new(&options, handler, &why);
    }
    free(certificate);
    if (key) {
        explicit_bzero(key, strlen(key));
    }
    free(key);
    return why ? why : listen_all(settings, *server);
}
