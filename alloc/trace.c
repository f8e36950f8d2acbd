/* The violation against time, as in figures 3.3 and 3.4 of D3.2: a line on the terminal, a table, or a plot. */
#include <config.h>

#include "alloc/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 640
#define HEIGHT 360
#define MARGIN 60

struct trace {
    bool keep, show;
    struct fs_progress *notes;
    size_t n, room;
};

struct trace *
trace_begin(bool keep, bool show)
{
    struct trace *t = keep || show ? calloc(1, sizeof *t) : NULL;

    if (t) {
        t->keep = keep;
        t->show = show;
    }
    return t;
}

static double
plain(fs_amount amount)
{
    return (double) amount / (double) FS_UNIT;
}

void
trace_note(void *trace, const struct fs_progress *p)
{
    struct trace *t = trace;

    if (t->show) {
        fprintf(stderr, "\r%8.2f s %10" PRIu64 " steps: over by %.6g cores, %.6g MB, %.6g Mbit/s, %.6g of delay\033[K", p->seconds, p->steps,
                plain(p->cpu), plain(p->mem), plain(p->bandwidth), plain(p->delay));
    }
    if (t->keep && t->n == t->room) {
        size_t room = t->room ? t->room * 2 : 256;
        struct fs_progress *notes = reallocarray(t->notes, room, sizeof *notes);
        if (!notes) {
            return;    /* a trace with gaps is better than no answer */
        }
        t->notes = notes;
        t->room = room;
    }
    if (t->keep) {
        t->notes[t->n++] = *p;
    }
}

static void
write_csv(const struct trace *t, FILE *f)
{
    fputs("seconds,steps,cpu,mem,bandwidth,delay\n", f);
    for (size_t i = 0; i < t->n; i++) {
        const struct fs_progress *p = &t->notes[i];
        fprintf(f, "%.6f,%" PRIu64 ",%.10g,%.10g,%.10g,%.10g\n", p->seconds, p->steps, plain(p->cpu), plain(p->mem), plain(p->bandwidth),
                plain(p->delay));
    }
}

/* All kinds in one figure, in their units, as the document adds them up. */
static double
total(const struct fs_progress *p)
{
    return plain(p->cpu) + plain(p->mem) + plain(p->bandwidth) + plain(p->delay);
}

static void
write_svg(const struct trace *t, FILE *f)
{
    double most = 1e-9, end = t->n ? t->notes[t->n - 1].seconds : 0;

    for (size_t i = 0; i < t->n; i++) {
        most = total(&t->notes[i]) > most ? total(&t->notes[i]) : most;
    }
    end = end > 0 ? end : 1e-9;
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"black\"/>\n<polyline fill=\"none\" stroke=\"#1f5fa8\" points=\"",
            WIDTH, HEIGHT, MARGIN, MARGIN / 2, HEIGHT - MARGIN, WIDTH - MARGIN / 2);
    for (size_t i = 0; i < t->n; i++) {
        fprintf(f, "%.1f,%.1f ", MARGIN + t->notes[i].seconds / end * (WIDTH - 1.5 * MARGIN),
                HEIGHT - MARGIN - total(&t->notes[i]) / most * (HEIGHT - 1.5 * MARGIN));
    }
    fprintf(f, "\"/>\n<text x=\"%d\" y=\"%d\">%.6g: cores, MB, Mbit/s and delay over their limits, added up</text>\n"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.3g s</text>\n<text x=\"%d\" y=\"%d\">0</text>\n</svg>\n", MARGIN, MARGIN / 2 - 8, most,
            WIDTH - MARGIN / 2, HEIGHT - MARGIN + 16, end, MARGIN - 16, HEIGHT - MARGIN);
}

int
trace_end(struct trace *t, const char *path, char **error)
{
    int result = 0;

    if (t && t->show) {
        fputs("\r\033[K", stderr);
    }
    if (t && path) {
        size_t n = strlen(path);
        FILE *f = fopen(path, "we");
        if (f) {
            (n > 4 && !strcmp(path + n - 4, ".svg") ? write_svg : write_csv)(t, f);
        }
        if (!f || ferror(f) || fclose(f)) {
            result = errno ? errno : EIO;
            if (asprintf(error, "%s: cannot be written: %s", path, strerror(result)) < 0) {
                *error = NULL;
            }
        }
    }
    if (t) {
        free(t->notes);
        free(t);
    }
    return result;
}
