/* The same work on several things at the same time: for calls to several hosts. */
#ifndef CORE_PARALLEL_H
#define CORE_PARALLEL_H 1

#include <stddef.h>

#include <flowstream/api.h>

/* Calls work(aux, i) for each i below n, at most 16 at a time, and returns when all are done.  Where no thread can be had the work is done one after the other. */
FS_API void fs_parallel(size_t n, void (*work)(void *aux, size_t i), void *aux);

#endif
