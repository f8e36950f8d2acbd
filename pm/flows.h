/* The flows that come into one module, counted by the multiplexer while somebody asks for them.
 *
 * A flow is what packets have in common that are of one conversation in one direction: VLAN, protocol, addresses and ports, as the module gets them.  The table is bounded: a flow
 * for which there is no place takes that of the one that was silent longest, whose counts go to the others', so that the sum of all is exact. */
#ifndef PM_FLOWS_H
#define PM_FLOWS_H 1

#include <stdbool.h>
#include <stdint.h>

#include "pm/private.h"

struct flows;

/* An empty table; NULL: no memory. */
struct flows *flows_create(void);
void flows_destroy(struct flows *); /* accepts NULL */
/* Count one frame; reads no more than 'length' bytes, whatever is in them. */
void flows_count(struct flows *, const uint8_t *frame, uint32_t length);
/* Print flows from 'position' on until 'max' bytes are full.  The first line is "NEXT MS OTHER_PACKETS OTHER_BYTES FORGOTTEN", NEXT being where to go on (0: that was all), MS how long it
 * counts already; then "VLAN ETHERTYPE PROTOCOL SOURCE PORT DESTINATION PORT PACKETS BYTES", a line a flow; VLAN -1 is none, addresses of what is no IP are "-". */
void flows_print(const struct flows *, uint32_t position, size_t max, struct pm_text *);

#endif
