/* The peer of bench/door/run.py: libmicrohttpd with nothing behind it.  It reads a POST and answers with the bytes that a ping is answered
 * with, with the same flags and threads as core/server.c.
 *
 *     bare-mhd [CERTIFICATE KEY]
 *
 * prints the port of 127.0.0.1 that it listens on and ends when its standard input does. */
#include "config.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char answer[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodResponse>\r\n<params>\r\n<param><value><struct>\r\n"
                             "<member><name>code</name>\r\n<value><i4>0</i4></value></member>\r\n<member><name>message</name>\r\n"
                             "<value><string></string></value></member>\r\n<member><name>value</name>\r\n<value><string>pong</string></value>"
                             "</member>\r\n</struct></value></param>\r\n</params>\r\n</methodResponse>\r\n";

static enum MHD_Result
on_access(void *aux, struct MHD_Connection *c, const char *path, const char *verb, const char *version, const char *bytes, size_t *size, void **state)
{
    (void) aux, (void) path, (void) verb, (void) version, (void) bytes;
    if (!*state) {
        *state = c;
        return MHD_YES;
    }
    if (*size) {
        *size = 0;
        return MHD_YES;
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(sizeof answer - 1, (void *) (uintptr_t) answer, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/xml; charset=utf-8");
    enum MHD_Result result = MHD_queue_response(c, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return result;
}

static char *
read_all(const char *path)
{
    static char room[2][16384];
    static int n;
    FILE *f = fopen(path, "re");
    size_t got = f ? fread(room[n], 1, sizeof room[n] - 1, f) : 0;
    if (!got) {
        perror(path);
        exit(1);
    }
    fclose(f);
    return room[n++];
}

int
main(int argc, char **argv)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct MHD_OptionItem tls[] = { { MHD_OPTION_END, 0, NULL }, { MHD_OPTION_END, 0, NULL }, { MHD_OPTION_END, 0, NULL } };
    if (argc == 3) {
        tls[0] = (struct MHD_OptionItem) { MHD_OPTION_HTTPS_MEM_CERT, 0, read_all(argv[1]) };
        tls[1] = (struct MHD_OptionItem) { MHD_OPTION_HTTPS_MEM_KEY, 0, read_all(argv[2]) };
    }
    struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | (argc == 3 ? MHD_USE_TLS : 0), 0, NULL, NULL, on_access, NULL,
                                            MHD_OPTION_SOCK_ADDR, &here, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) 32768,
                                            MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!d) {
        fprintf(stderr, "libmicrohttpd does not start\n");
        return 1;
    }
    printf("%u\n", MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    char end;
    while (read(0, &end, 1) > 0) {
    }
    MHD_stop_daemon(d);
    return 0;
}
