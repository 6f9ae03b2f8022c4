/* Opening an import: the formats by name, and the files that paths stand for. */
#include "import/import.h"

#include "base/size.h"
#include "import/reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const rz_import_format *const formats[] = {&rz_import_native, &rz_import_omop,
                                                  &rz_import_synpuf, &rz_import_meds};

rz_import_options rz_import_options_defaults(void)
{
    return (rz_import_options){0};
}

static bool ends_with(const char *text, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(text + n - m, end, m) == 0;
}

/* Length of a file name without the suffix of packing. */
static size_t unpacked_length(const char *name)
{
    size_t n = strlen(name);
    if (ends_with(name, n, ".gz"))
        return n - 3;
    return ends_with(name, n, ".zst") ? n - 4 : n;
}

static bool belongs(const rz_import_format *format, const char *name)
{
    size_t n = unpacked_length(name);
    for (size_t i = 0; format->suffixes[i] != NULL; i++)
        if (ends_with(name, n, format->suffixes[i]))
            return name[0] != '.';
    return false;
}

void rz_reader_stem(const char *path, char *out, size_t cap)
{
    const char *name = strrchr(path, '/');
    name = name != NULL ? name + 1 : path;
    size_t n = 0;
    for (; name[n] != '\0' && name[n] != '.' && n + 1 < cap; n++)
        out[n] = name[n] >= 'A' && name[n] <= 'Z' ? (char)(name[n] - 'A' + 'a') : name[n];
    out[n] = '\0';
}

static rz_status add_path(rz_import *import, const char *path, uint64_t size, rz_error *error)
{
    char **paths = realloc(import->paths, (import->n_paths + 1) * sizeof *paths);
    if (paths != NULL)
        import->paths = paths;
    uint64_t *sizes = realloc(import->sizes, (import->n_paths + 1) * sizeof *sizes);
    if (sizes != NULL)
        import->sizes = sizes;
    char *copy = strdup(path);
    if (paths == NULL || sizes == NULL || copy == NULL) {
        free(copy);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the names of %zu files",
                       import->n_paths + 1);
    }
    import->paths[import->n_paths] = copy;
    import->sizes[import->n_paths++] = size;
    import->summary.bytes_total += size;
    return RZ_OK;
}

/* Names in byte order, so that an import does not depend on the file system. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static rz_status add_folder(rz_import *import, const char *folder, rz_error *error)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, compare_names);
    if (n < 0)
        return rz_fail_errno(error, errno, "cannot list the folder %s", folder);
    rz_status status = RZ_OK;
    size_t before = import->n_paths;
    bool parquet = false;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        parquet = parquet || ends_with(name, strlen(name), ".parquet");
        if (status == RZ_OK && belongs(import->format, name)) {
            struct stat info;
            size_t bytes = strlen(folder) + strlen(name) + 2;
            char *path = malloc(bytes);
            if (path == NULL) {
                status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the files of %s", folder);
            } else {
                (void)snprintf(path, bytes, "%s/%s", folder, name);
                if (stat(path, &info) != 0)
                    status = rz_fail_errno(error, errno, "cannot inspect %s", path);
                else if (S_ISREG(info.st_mode))
                    status = add_path(import, path, (uint64_t)info.st_size, error);
            }
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    if (status == RZ_OK && import->n_paths == before && parquet)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "%s holds Parquet files, which are not read; export them to CSV", folder);
    if (status == RZ_OK && import->n_paths == before)
        return rz_fail(error, RZ_E_NOT_FOUND,
                       "the folder %s holds no file of the format %s (*%s, also .gz and .zst)",
                       folder, import->format->name, import->format->suffixes[0]);
    return status;
}

static rz_status add_paths(rz_import *import, const char *const *paths, size_t n, rz_error *error)
{
    if (n == 0)
        return rz_fail(error, RZ_E_USAGE, "name at least one file or folder to import");
    for (size_t i = 0; i < n; i++) {
        struct stat info;
        if (stat(paths[i], &info) != 0 && errno == ENOENT)
            return rz_fail(error, RZ_E_NOT_FOUND, "there is no file or folder %s", paths[i]);
        if (stat(paths[i], &info) != 0)
            return rz_fail_errno(error, errno, "cannot inspect %s", paths[i]);
        rz_status status = S_ISDIR(info.st_mode)
                               ? add_folder(import, paths[i], error)
                               : add_path(import, paths[i], (uint64_t)info.st_size, error);
        if (status != RZ_OK)
            return status;
    }
    return RZ_OK;
}

static const rz_import_format *find_format(const char *name, rz_error *error)
{
    for (size_t i = 0; i < RZ_COUNT(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    (void)rz_fail(error, RZ_E_UNSUPPORTED,
                  "there is no import format %s; use native, omop, synpuf or meds", name);
    return NULL;
}

/* The facility becomes part of every key in the store: the rules of the native claim hold. */
static bool facility_is_fine(const char *facility)
{
    for (const char *c = facility; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return false;
    return facility[0] != '\0' && strlen(facility) <= 127;
}

rz_status rz_import_open(const char *format, const char *const *paths, size_t n_paths,
                         const rz_import_options *options, rz_import **out, rz_error *error)
{
    const rz_import_format *found = find_format(format, error);
    if (found == NULL)
        return RZ_E_UNSUPPORTED;
    const char *facility = options->facility != NULL ? options->facility : found->name;
    if (!facility_is_fine(facility))
        return rz_fail(error, RZ_E_USAGE,
                       "a facility has 1 to 127 bytes and no control characters");
    rz_import *import = calloc(1, sizeof *import);
    if (import == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for an import");
    import->format = found;
    import->latest_day = options->shifted_dates ? RZ_DAY_MAX : rz_day_today() + 1;
    import->facility = strdup(facility);
    import->prefix_map = options->prefix_map != NULL ? strdup(options->prefix_map) : NULL;
    rz_status status = RZ_OK;
    if (import->facility == NULL || (options->prefix_map != NULL && import->prefix_map == NULL))
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for an import");
    if (status == RZ_OK)
        status = add_paths(import, paths, n_paths, error);
    if (status == RZ_OK)
        status = found->open(import, error);
    if (status == RZ_OK && options->read_ahead)
        status = rz_ahead_open(import, &import->ahead, error);
    if (status == RZ_OK)
        *out = import;
    else
        rz_import_close(import);
    return status;
}

rz_status rz_import_next(rz_import *import, rz_claim *out, bool *more, rz_error *error)
{
    return import->ahead != NULL ? rz_ahead_next(import->ahead, out, more, error)
                                 : import->format->next(import, out, more, error);
}

void rz_import_refuse(rz_import *import, const rz_claim *claim, const char *reason)
{
    if (import->ahead != NULL) {
        rz_ahead_refuse(import->ahead, claim, reason);
        return;
    }
    import->summary.claims--;
    import->summary.events -= claim->n_events;
    for (size_t i = 0; i < claim->n_events; i++) {
        import->summary.events_by_kind[claim->events[i].kind]--;
        import->summary.events_by_system[claim->events[i].system]--;
    }
    rz_reader_refuse(import, reason);
}

const rz_import_summary *rz_import_summary_of(const rz_import *import)
{
    return import->ahead != NULL ? rz_ahead_summary(import->ahead) : &import->summary;
}

void rz_import_close(rz_import *import)
{
    if (import == NULL)
        return;
    rz_ahead_close(import->ahead);
    if (import->state != NULL)
        import->format->close(import);
    rz_reader_close_file(import);
    for (size_t i = 0; i < import->n_paths; i++)
        free(import->paths[i]);
    free(import->paths);
    free(import->sizes);
    free(import->facility);
    free(import->prefix_map);
    free(import->events);
    free(import->texts);
    free(import);
}
