/* Reads and writes the names of onsets. */
#include "onsets.h"

#include "problem.h"

#include "base/size.h"

#include <stdio.h>
#include <string.h>

enum { NEAREST_MAX = 8, SYSTEMS_TEXT = 400 };

bool onset_named(const char *task, size_t n)
{
    size_t prefix = strlen(ONSET_PREFIX);
    return n >= prefix && memcmp(task, ONSET_PREFIX, prefix) == 0;
}

void onset_name(const rz_vocabulary_entry *entry, char out[ONSET_NAME_TEXT])
{
    (void)snprintf(out, ONSET_NAME_TEXT, ONSET_PREFIX "%s:%s", rz_code_system_name(entry->system),
                   entry->code);
}

json_t *onset_systems(const rz_vocabulary *v)
{
    json_t *systems = json_object();
    for (size_t i = 0; i < v->n_diagnoses + v->n_medications; i++) {
        const char *name = rz_code_system_name(v->entries[i].system);
        json_int_t here = json_integer_value(json_object_get(systems, name));
        (void)json_object_set_new(systems, name, json_integer(here + 1));
    }
    return systems;
}

/* "icd10 (214 codes), yj (78 codes)" */
static void systems_text(const rz_vocabulary *v, char out[SYSTEMS_TEXT])
{
    json_t *systems = onset_systems(v), *count;
    const char *name;
    size_t used = 0;
    out[0] = '\0';
    json_object_foreach(systems, name, count)
    {
        if (used < SYSTEMS_TEXT)
            used +=
                (size_t)snprintf(out + used, SYSTEMS_TEXT - used, "%s%s (%lld codes)",
                                 used > 0 ? ", " : "", name, (long long)json_integer_value(count));
    }
    json_decref(systems);
}

/* Names of the codes that begin as this one does, the longest beginning first. */
static json_t *nearest(const rz_vocabulary *v, const char *code)
{
    json_t *names = json_array();
    size_t n = v->n_diagnoses + v->n_medications;
    for (size_t same = strlen(code); same > 0 && json_array_size(names) == 0; same--)
        for (size_t i = 0; i < n && json_array_size(names) < NEAREST_MAX; i++) {
            char name[ONSET_NAME_TEXT];
            if (strncmp(v->entries[i].code, code, same) != 0)
                continue;
            onset_name(&v->entries[i], name);
            (void)json_array_append_new(names, json_string(name));
        }
    return names;
}

static void unknown(request *r, const rz_vocabulary *v, const char *model, const char *system,
                    const char *code)
{
    char systems[SYSTEMS_TEXT], detail[SYSTEMS_TEXT + 300];
    systems_text(v, systems);
    (void)snprintf(
        detail, sizeof detail,
        "model %s answers no onset of %s%s%s: its vocabulary has %s; `codes` lists those "
        "that begin alike",
        model, system, system[0] != '\0' ? " " : "", code, systems);
    problem_answer(r, &(problem){.kind = PROBLEM_UNKNOWN_TASK,
                                 .detail = detail,
                                 .more = json_pack("{s:o}", "codes", nearest(v, code))});
}

/* Looks the normalised code up in one system, as diagnosis and as medication. */
static void look(const rz_vocabulary *v, rz_code_system system, const char *code, onset_asked *out,
                 size_t *found)
{
    static const rz_kind kinds[] = {RZ_KIND_DIAGNOSIS, RZ_KIND_MEDICATION};
    for (size_t k = 0; k < RZ_COUNT(kinds); k++) {
        const rz_timeline_event event = {
            .kind = (uint8_t)kinds[k], .system = (uint8_t)system, .code = code};
        int32_t token = rz_vocabulary_token(v, &event);
        if (token < RZ_TOKEN_SPECIALS)
            continue;
        out->code = (uint32_t)(token - RZ_TOKEN_SPECIALS);
        out->truncated = strlen(v->entries[out->code].code) < strlen(code);
        (*found)++;
    }
}

/* Splits "icd10:N18.9"; without a system of that name the whole is the code. */
static const char *split_system(const char *text, rz_code_system *system, char name[16])
{
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    name[0] = '\0';
    if (n == 0 || n >= 16)
        return text;
    memcpy(name, text, n);
    name[n] = '\0';
    if (rz_code_system_from_name(name, system))
        return colon + 1;
    name[0] = '\0';
    return text;
}

bool onset_read(request *r, const rz_vocabulary *v, const char *model, const char *task, size_t n,
                onset_asked *out)
{
    char text[RZ_CODE_TEXT + 16], system[16], code[RZ_CODE_TEXT], shown[RZ_CODE_TEXT] = "";
    rz_code_system only = RZ_SYSTEM_COUNT;
    size_t found = 0, prefix = strlen(ONSET_PREFIX);
    rz_error error = {0};
    if (n - prefix >= sizeof text) {
        problem_answerf(r, PROBLEM_BAD_PARAMETER, "a code has at most %d characters",
                        RZ_CODE_TEXT - 1);
        return false;
    }
    memcpy(text, task + prefix, n - prefix);
    text[n - prefix] = '\0';
    const char *rest = split_system(text, &only, system);
    text_copy(out->asked, sizeof out->asked, rest);
    for (int s = 0; s < RZ_SYSTEM_COUNT; s++) {
        if (only != RZ_SYSTEM_COUNT && s != (int)only)
            continue;
        rz_error ignored = {0};
        if (rz_code_normalise((rz_code_system)s, rest, strlen(rest), code,
                              only != RZ_SYSTEM_COUNT ? &error : &ignored) != RZ_OK)
            continue;
        look(v, (rz_code_system)s, code, out, &found);
        if (shown[0] == '\0')
            memcpy(shown, code, sizeof shown);
    }
    if (found == 1)
        return true;
    if (found > 1)
        problem_answerf(r, PROBLEM_BAD_PARAMETER,
                        "several systems have the code %s; write " ONSET_PREFIX "icd10:%s, or "
                        "another system",
                        rest, rest);
    else if (error.status != RZ_OK)
        problem_answerf(r, PROBLEM_BAD_PARAMETER, ONSET_PREFIX "%s: %s", text, error.text);
    else
        unknown(r, v, model, system, shown[0] != '\0' ? shown : rest);
    return false;
}
