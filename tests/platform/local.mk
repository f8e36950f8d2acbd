# The platform whose daemons are all apart: what its test drops into the resource daemon.
check_DATA += lib/flowstream/tests/platform/place_by_turns.so
EXTRA_DIST += tests/lib/room.py tests/lib/rooms.py tests/platform/apart.py tests/platform/test_isolated.py tests/platform/traffic.py \
    tests/platform/place_by_turns.c
