/* From the configuration to a server that listens: credentials, TLS, limits, sockets. */
#ifndef CORE_FRONT_H
#define CORE_FRONT_H 1

#include "core/server.h"
#include "core/settings.h"

/* Makes *server and lets it listen on all sockets of the configuration; also gives the client (core/client.h) the authority that
 * certificates of peers must come from.  NULL, or what is wrong (owned); *server may then be there all the same. */
char *front_open(const struct fs_settings *, const char *credentials, const struct fs_server_handler *, struct fs_server **server);

#endif
