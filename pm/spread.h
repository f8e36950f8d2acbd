/* Which of several instances of a module a frame belongs to. */
#ifndef PM_SPREAD_H
#define PM_SPREAD_H 1

#include <stdint.h>

/* A number that all frames of one connection have in common, in both directions: of IPv4 and IPv6 (also behind one VLAN tag) it follows from addresses and
 * protocol, and from the ports of TCP, UDP and SCTP where the packet is no fragment; of all other frames from Ethernet addresses, VLAN and type.  Instance number
 * pm_spread_hash() % N of N gets the frame.
 *
 * 'frame' has 'length' bytes, at least 14, and may be written by somebody else meanwhile: then the number may be any, and no byte outside is read.
 *
 * A switch that spreads computes the same with Open vSwitch's action multipath: symmetric_l3 for fragments of IPv6, symmetric_l3l4+udp for all else, basis 0.  So a
 * connection meets one instance also where one direction comes from a switch and the other from a module.  Thread-safe. */
uint32_t pm_spread_hash(const uint8_t *frame, uint32_t length);

#endif
