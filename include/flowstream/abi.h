/* Made by tools/abi.sh: what a loadable was compiled with is what the daemon was compiled with, or the loadable is refused. */
#ifndef FLOWSTREAM_ABI_H
#define FLOWSTREAM_ABI_H 1

#define FS_METHOD_ABI_HASH 0xecb8ae66e42074efull

#endif
