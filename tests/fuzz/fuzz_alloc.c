/* Fuzz target of the allocator's readers: a platform, and from "<services" on services for it.
 *
 * What both readers take is also placed if it is small, since odd figures that are no mistakes (no cores, no links, delays of nothing) must not
 * confuse a search; and the search's own account must agree with the judge's. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flowstream/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void
place(const struct fs_platform *platform, const struct fs_services *services)
{
    struct fs_search_options options = { .steps = 30 };
    struct fs_solution *solution;
    struct fs_report report;
    struct fs_proof proof;
    char *error;

    if (fs_search(platform, services, &options, &solution, &proof, &error)) {
        free(error);
        return;
    }
    fs_solution_check(solution, &report);
    if (report.unplaced || (report.feasible && proof.text) || report.cpu < proof.cpu || report.mem < proof.mem
        || (!report.unrouted && report.bandwidth < proof.bandwidth)) {
        fprintf(stderr, "%d unplaced, proof: %s\n", report.unplaced, proof.text ? proof.text : "none");
        abort();
    }
    fs_proof_clear(&proof);
    fs_solution_destroy(solution);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *text = (const char *) bytes, *second = memmem(bytes, size, "<services", 9);
    size_t first = second ? (size_t) (second - text) : size;
    struct fs_platform *platform;
    struct fs_services *services;
    char *error;

    if (fs_platform_read_memory(text, first, "platform", &platform, &error)) {
        free(error);
        return 0;
    }
    if (!second) {
        fs_platform_destroy(platform);
        return 0;
    }
    if (fs_services_read_memory(second, size - first, "services", platform, &services, &error)) {
        free(error);
    } else {
        if (services->n_nodes < 60 && platform->n_nodes < 60) {
            place(platform, services);
        }
        fs_services_destroy(services);
    }
    fs_platform_destroy(platform);
    return 0;
}
