/* Selections of facilities as sorted lists of names. Knows no store: whether a name exists is the
 * store's to say (rz_store_check_facilities). */
#include "claims/facilities.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *left, const void *right)
{
    return strcmp(left, right);
}

static const char *find(const rz_facilities *f, const char *name)
{
    return bsearch(name, f->name, f->n, sizeof f->name[0], by_name);
}

/* Sorted and without doubles; all but nobody is all. */
static void settle(rz_facilities *f)
{
    size_t kept = 0;
    if (f->n > 0)
        qsort(f->name, f->n, sizeof f->name[0], by_name);
    for (size_t i = 0; i < f->n; i++)
        if (kept == 0 || strcmp(f->name[kept - 1], f->name[i]) != 0)
            memmove(f->name[kept++], f->name[i], sizeof f->name[0]);
    f->n = kept;
    f->without = f->without && kept > 0;
}

static rz_status add(rz_facilities *f, const char *name, size_t n, rz_error *error)
{
    if (n == 0 || n >= RZ_FACILITY_NAME)
        return rz_fail(error, RZ_E_USAGE, "a facility's name has 1 to %d bytes, not %zu",
                       RZ_FACILITY_NAME - 1, n);
    if (f->n == RZ_FACILITIES_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE,
                       "more than %d facilities are named; name those to leave out, or to keep, "
                       "whichever are fewer",
                       RZ_FACILITIES_MAX);
    memset(f->name[f->n], 0, sizeof f->name[0]);
    memcpy(f->name[f->n++], name, n);
    return RZ_OK;
}

rz_status rz_facilities_read(const char *list, bool without, rz_facilities *out, rz_error *error)
{
    rz_facilities f = {.without = without};
    rz_status status = RZ_OK;
    for (const char *at = list; status == RZ_OK && at != NULL;) {
        size_t n = strcspn(at, ",");
        status = add(&f, at, n, error);
        at = at[n] == ',' ? at + n + 1 : NULL;
    }
    if (status != RZ_OK)
        return status;
    settle(&f);
    *out = f;
    return RZ_OK;
}

bool rz_facilities_has(const rz_facilities *f, const char *name)
{
    return f->n == 0 || (find(f, name) != NULL) != f->without;
}

bool rz_facilities_meet(const rz_facilities *a, const rz_facilities *b)
{
    const rz_facilities *named = a->without || a->n == 0 ? b : a, *other = named == a ? b : a;
    if (named->without || named->n == 0)
        return true;
    bool any = false;
    for (size_t i = 0; i < named->n; i++)
        any = any || rz_facilities_has(other, named->name[i]);
    return any;
}

rz_status rz_facilities_join(const rz_facilities *a, const rz_facilities *b, rz_facilities *out,
                             rz_error *error)
{
    rz_facilities joined = {0};
    rz_status status = RZ_OK;
    if (a->n > 0 && b->n > 0) {
        const rz_facilities *first = b->without ? b : a, *second = first == a ? b : a;
        joined.without = first->without;
        /* What one leaves out stays out unless the other has it. */
        for (size_t i = 0; status == RZ_OK && i < first->n; i++)
            if (!joined.without || !rz_facilities_has(second, first->name[i]))
                status = add(&joined, first->name[i], strlen(first->name[i]), error);
        for (size_t i = 0; status == RZ_OK && !joined.without && i < second->n; i++)
            if (find(first, second->name[i]) == NULL)
                status = add(&joined, second->name[i], strlen(second->name[i]), error);
        settle(&joined);
    }
    if (status == RZ_OK)
        *out = joined;
    return status;
}

static const char *names(const rz_facilities *f, const char *before, const char *between,
                         char out[RZ_FACILITIES_TEXT])
{
    int at = snprintf(out, RZ_FACILITIES_TEXT, "%s", before);
    for (size_t i = 0; i < f->n; i++)
        at += snprintf(out + at, (size_t)(RZ_FACILITIES_TEXT - at), "%s%s", i > 0 ? between : "",
                       f->name[i]);
    return out;
}

const char *rz_facilities_text(const rz_facilities *f, char out[RZ_FACILITIES_TEXT])
{
    return names(f, f->n == 0 ? "all" : f->without ? "all but " : "", ", ", out);
}

const char *rz_facilities_list(const rz_facilities *f, char out[RZ_FACILITIES_TEXT])
{
    return names(f, "", ",", out);
}

const char *rz_facilities_note(const rz_facilities *looked_at, const rz_facilities *learnt_from,
                               char out[RZ_FACILITIES_NOTE])
{
    char text[RZ_FACILITIES_TEXT];
    rz_facilities both = {0};
    for (size_t i = 0; !looked_at->without && i < looked_at->n; i++)
        if (rz_facilities_has(learnt_from, looked_at->name[i]))
            memcpy(both.name[both.n++], looked_at->name[i], sizeof both.name[0]);
    if (looked_at->n == 0 && learnt_from->n == 0)
        out[0] = '\0';
    else if (!rz_facilities_meet(looked_at, learnt_from))
        (void)snprintf(out, RZ_FACILITIES_NOTE, "none of them in training");
    else if (both.n > 0)
        (void)snprintf(out, RZ_FACILITIES_NOTE, "in training: %s", rz_facilities_text(&both, text));
    else
        (void)snprintf(out, RZ_FACILITIES_NOTE, "in training: %s",
                       rz_facilities_text(learnt_from, text));
    return out;
}

json_t *rz_facilities_json(const rz_facilities *f)
{
    if (f->n == 0)
        return json_null();
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < f->n; i++)
        if (json_array_append_new(list, json_string(f->name[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return json_pack("{s:o}", f->without ? "all_but" : "only", list);
}

rz_status rz_facilities_from_json(const json_t *json, rz_facilities *out, rz_error *error)
{
    rz_facilities f = {0};
    if (json == NULL || json_is_null(json)) {
        *out = f;
        return RZ_OK;
    }
    f.without = json_object_get(json, "all_but") != NULL;
    const json_t *list = json_object_get(json, f.without ? "all_but" : "only");
    if (json_object_size(json) != 1 || json_array_size(list) == 0 ||
        json_array_size(list) > RZ_FACILITIES_MAX)
        return rz_fail(error, RZ_E_FORMAT,
                       "facilities must be null, or \"only\" or \"all_but\" with 1 to %d names",
                       RZ_FACILITIES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t n = name != NULL ? strlen(name) : 0;
        if (n == 0 || n >= RZ_FACILITY_NAME)
            return rz_fail(error, RZ_E_FORMAT, "facilities: entry %zu is no name of 1 to %d bytes",
                           i + 1, RZ_FACILITY_NAME - 1);
        memcpy(f.name[f.n++], name, n + 1);
    }
    settle(&f);
    *out = f;
    return RZ_OK;
}
