#!/bin/sh
# Make configure and Makefile.in from configure.ac and Makefile.am; needed once after a clone.
set -e
cd "$(dirname "$0")"
mkdir -p build-aux
exec autoreconf --install --force --warnings=all,no-portability "$@"
