/* The model of a platform: its network ports, switches and servers, and the links between them.
 *
 * A platform is plain data that is made once and never changed, so any number of threads may read it together.  Nodes,
 * servers and arcs have small dense numbers, which index the arrays below and everybody else's arrays about them. */
#ifndef FLOWSTREAM_PLATFORM_H
#define FLOWSTREAM_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#include <flowstream/api.h>

/* A quantity in millionths of its unit: cores, MB, Mbit/s, or the platform's unit of delay.  Integers, so that what was
 * added can be taken away again without a trace. */
typedef int64_t fs_amount;
#define FS_UNIT INT64_C(1000000)
/* No single figure of a platform or service may be larger; nearly a million of them can then be added up safely. */
#define FS_AMOUNT_MAX (INT64_C(10000000) * FS_UNIT)

enum fs_node_kind { FS_NODE_IO, FS_NODE_SWITCH, FS_NODE_SERVER };

struct fs_node {
    const char *id;
    enum fs_node_kind kind;
    int server;          /* index into servers, -1 when the node is none */
    int switch_index;    /* counts the switches from 0, -1 when the node is none */
    int forward;         /* I/O nodes: the node that unclaimed traffic and ARP pass to, or -1 */
    const char *role;    /* switches: as in the file, or NULL; likewise below */
    const char *target;  /* switches: where the datapath is reached */
    const char *address; /* servers */
    const char *basesys; /* servers: the base system for modules that ask for none */
    int line;            /* of the file, where it is defined */
};

struct fs_server {
    int node;
    int rack;                  /* servers on the same first switch share a rack */
    fs_amount cpu, mem;        /* cores and MB */
    fs_amount bandwidth;       /* Mbit/s between modules inside */
    fs_amount delay;           /* of a hop between modules inside */
};

/* One direction of a link.  The arcs of a link are neighbours in the array: the way back of arc A is arc A ^ 1. */
struct fs_arc {
    int from, to;
    fs_amount bandwidth, delay;
    const char *port; /* name of the port through which FROM sends */
    int mtu;          /* bytes, 0 when the file does not say */
    int line;         /* of the file */
};

struct fs_platform {
    const char *name; /* "" when the file gives none */
    int n_nodes, n_servers, n_switches, n_arcs, n_racks;
    struct fs_node *nodes;
    struct fs_server *servers;
    struct fs_arc *arcs;
    int *out_start;    /* the arcs from node N are out[out_start[N]] up to, not including, out[out_start[N + 1]] */
    int *out;          /* arcs that lead to a switch come first in each node's part, */
    int *out_switches; /* and this is how many they are, by node */
    int *rack_start;   /* the servers of rack R are rack_servers[rack_start[R]] up to rack_servers[rack_start[R + 1]] */
    int *rack_servers;
    char *warnings;    /* one line each, as FILE:LINE: warning: TEXT; "" when there are none */
    struct fs_platform_private *private;
};

/* Reads the platform file PATH.  Returns 0 and puts the platform into *PLATFORM, for the caller to pass to
 * fs_platform_destroy(); or a positive errno (EINVAL for a wrong file), with an explanation as FILE:LINE: TEXT in *ERROR,
 * for the caller to free. */
FS_API int fs_platform_read(const char *path, struct fs_platform **platform, char **error);

/* The same for SIZE bytes of XML at TEXT; errors call it NAME. */
FS_API int fs_platform_read_memory(const char *text, size_t size, const char *name, struct fs_platform **platform,
                                   char **error);

/* Checks what PLATFORM, read from the file NAME, needs to be run, beyond what an allocator can reckon with: each network port has one link, to a switch or
 * server; ports of a node differ; links have a bandwidth, and those that carry the service header an MTU for it; servers have cores and memory; everything is
 * joined.  Returns 0, or EINVAL with NAME:LINE: TEXT in *ERROR, for the caller to free. */
FS_API int fs_platform_check(const struct fs_platform *platform, const char *name, char **error);

/* Frees PLATFORM, which may be NULL.  Nothing made for it may be used any more. */
FS_API void fs_platform_destroy(struct fs_platform *platform);

/* Returns the number of the node that is called ID, or -1. */
FS_API int fs_platform_find(const struct fs_platform *platform, const char *id);

/* Reads a decimal number such as "0.5" that is neither negative nor over FS_AMOUNT_MAX into *AMOUNT, rounded to
 * millionths.  Returns 0 or EINVAL. */
FS_API int fs_amount_parse(const char *text, fs_amount *amount);

#endif
