#!/bin/sh
# Print include/flowstream/abi.h: the hash of what a loadable sees of the daemons, comments left out.  "make docs" writes it, a test says when that is needed.
cd "$(dirname "$0")/.." || exit 1
hash=$(for f in api method value; do ${CC:-gcc} -fpreprocessed -dD -E -P "include/flowstream/$f.h" || exit 1; done | tr -s ' \n\t' ' ' | sha256sum | cut -c1-16)
cat <<END
/* Made by tools/abi.sh: what a loadable was compiled with is what the daemon was compiled with, or the loadable is refused. */
#ifndef FLOWSTREAM_ABI_H
#define FLOWSTREAM_ABI_H 1

#define FS_METHOD_ABI_HASH 0x${hash}ull

#endif
END
