/* Prints docs/api.md from the descriptors of the loadable objects: "make docs" writes it, tests/docs compares it.
 *
 * The objects are only opened and read; none of their functions is called. What the page says of a method is what the daemon itself
 * says in list_commands, list_tasks and system.methodHelp.
 *
 *     describe FOLDER        the folder that holds commands/, tasks/ and types/ */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <flowstream/method.h>
#include <flowstream/module.h>

static const struct section {
    const char *folder, *title, *text;
} sections[] = {
    { "common", "Every daemon", "These are served by all five daemons." },
    { "resource", "The resource daemon", "Allocation requests, hosts, and what leads from one to the other." },
    { "openflow", "The OpenFlow daemon",
      "Rules and statistics of switches. It keeps nothing on disk: each call names the switch and where it listens." },
    { "modulehost", "The module host daemon", "One on each server: modules and how they are connected." },
    { "pm", "The processing module daemon", "Types of modules, and modules while they run." },
    { "monitoring", "The monitoring daemon", "Figures of the whole platform." },
};

static int
only_objects(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && !strcmp(dot, ".so");
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The descriptor in FOLDER/NAME; ends the program when there is none. */
static const void *
descriptor(const char *folder, const char *name, const char *symbol)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const void *found = object ? dlsym(object, symbol) : NULL;
    if (!found) {
        fprintf(stderr, "describe: %s: %s\n", path, dlerror());
        exit(1);
    }
    return found;
}

static void
print_signature(const struct fs_method *m)
{
    printf("### %s\n\n    %s(", m->name, m->name);
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name; i++) {
        printf("%s%s %s", i ? ", " : "", m->params[i].name, m->params[i].type);
    }
    printf(") -> %s\n\n", m->returns ? m->returns : "nil");
}

static void
print_method(const struct fs_method *m)
{
    print_signature(m);
    printf("%s\n", m->help ? m->help : "");
    for (size_t i = 0; i < FS_MAX_PARAMS && m->params[i].name; i++) {
        printf("%s* `%s`:%s%s\n", i ? "" : "\n", m->params[i].name, m->params[i].help ? " " : "", m->params[i].help ? m->params[i].help : "");
        for (const struct fs_member *row = m->members[i]; row && row->name; row++) {
            printf("  * `%s` %s: %s\n", row->name, row->type, row->help ? row->help : "");
        }
    }
    if (m->plain || m->idempotent || m->undo) {
        printf("\n%s%s", m->plain ? "Answers with the bare value, not with a ReturnValue. " : "",
               m->idempotent ? "Doing it again changes nothing more. " : "");
        if (m->undo) {
            printf("Undone by the task `%s`. ", m->undo);
        }
        printf("\n");
    }
    printf("\n");
}

static void
print_type(const struct fs_module_type *t)
{
    printf("### %s\n\n%s\n\n* Arguments: %s\n* Inputs: %u", t->name, t->description, t->arguments, t->min_inputs);
    if (t->max_inputs != t->min_inputs) {
        t->max_inputs == FS_PORTS_ANY ? printf(" or more") : printf(" to %u", t->max_inputs);
    }
    printf("; outputs: %u", t->min_outputs);
    if (t->max_outputs != t->min_outputs) {
        t->max_outputs == FS_PORTS_ANY ? printf(" or more") : printf(" to %u", t->max_outputs);
    }
    printf("\n");
    for (const struct fs_module_primitive *p = t->primitives; p && p->name; p++) {
        printf("* `%s`: %s\n", p->name, p->parameters);
    }
    printf("\n");
}

/* All objects of ROOT/KIND/FOLDER under a heading; nothing where there are none. */
static void
print_folder(const char *root, const char *kind, const char *folder, const char *heading)
{
    char path[4096];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/%s/%s", root, kind, folder);
    int n = scandir(path, &entries, only_objects, by_name);
    if (n > 0) {
        printf("%s\n\n", heading);
    }
    for (int i = 0; i < n; i++) {
        if (!strcmp(kind, "types")) {
            print_type(descriptor(path, entries[i]->d_name, "fs_module_type_v1"));
        } else {
            print_method(descriptor(path, entries[i]->d_name, "fs_method_v1"));
        }
        free(entries[i]);
    }
    if (n >= 0) {
        free(entries);
    }
}

static void
print_opening(void)
{
    puts("# The interface of the five daemons\n\n"
         "This page is made by `make docs` from the descriptors in the loadable objects. Do not edit it.\n\n"
         "Each daemon serves XML-RPC on `POST /RPC2` with HTTP Basic credentials. `flowstream url DAEMON` prints the address with\n"
         "them; any XML-RPC client works, for example Python's:\n\n"
         "    import xmlrpc.client\n"
         "    daemon = xmlrpc.client.ServerProxy(url, allow_none=True)\n"
         "    daemon.ping()\n\n"
         "A method answers the struct ReturnValue, `{code, message, value}`: code 0 is success, 1 failure (the message says what and\n"
         "where), -1 not ready. Methods named `system.` answer in their customary plain form. A wrong parameter is a ReturnValue with\n"
         "code 1 that names it; an unknown method, or bytes that are no XML-RPC call, is an XML-RPC fault. Counters are doubles. A\n"
         "question mark behind a type: the parameter, or the member of a struct, may be left out. Where the members of a struct (or of\n"
         "the structs in an array) are listed, others are refused. Tasks are run by `run_task(name, parameter, options)` and\n"
         "`run_compound_task`; their parameter is the one described here.\n\n"
         "Plain HTTP, with the same credentials where any are asked: `GET /metrics` (Prometheus text), `GET /healthz`.\n");
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: describe FOLDER\nFOLDER holds commands/, tasks/ and types/, as lib/flowstream of a build does.\n");
        return 2;
    }
    print_opening();
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        char heading[256];
        printf("# %s\n\n%s\n\n", sections[i].title, sections[i].text);
        snprintf(heading, sizeof heading, "## Commands of %s%s", strcmp(sections[i].folder, "common") ? "the daemon " : "every daemon",
                 strcmp(sections[i].folder, "common") ? sections[i].folder : "");
        print_folder(argv[1], "commands", sections[i].folder, heading);
        snprintf(heading, sizeof heading, "## Tasks of the daemon %s", sections[i].folder);
        print_folder(argv[1], "tasks", sections[i].folder, heading);
    }
    puts("# Module types\n");
    print_folder(argv[1], "types", ".", "What a request can name besides FromNet and ToNet.");
    return 0;
}
