/* Task files: JSON in and out, and folders of them. A member that is not known is an error, because
 * a misspelt limit that is silently ignored would change who is asked about. */
#include "tasks/task.h"

#include "base/file.h"
#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 16, FILES_MAX = 4096 };

/* The only washout and index rule there are; a file may name them, so that it can be read alone. */
static const char WASHOUT[] = "all_history", INDEX_RULE[] = "claim_day_by_patient_hash";

static rz_status known_members(const json_t *object, const char *where, const char *const *names,
                               size_t n, rz_error *error)
{
    const char *key;
    json_t *value;
    /* Iteration does not change the object; jansson's macro only lacks the const. */
    union {
        const json_t *in;
        json_t *out;
    } cast = {object};
    json_object_foreach(cast.out, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(key, names[i]) != 0)
            i++;
        if (i == n)
            return rz_fail(error, RZ_E_INVALID, "%s: there is no member \"%.60s\"", where, key);
    }
    return RZ_OK;
}

static rz_status read_text(const json_t *json, const char *where, size_t cap, char *out,
                           rz_error *error)
{
    const char *text = json_string_value(json);
    if (text == NULL || text[0] == '\0')
        return rz_fail(error, RZ_E_INVALID, "%s: a text is needed", where);
    size_t n = strlen(text);
    if (n >= cap)
        return rz_fail(error, RZ_E_INVALID, "%s: %zu bytes, at most %zu fit", where, n, cap - 1);
    memcpy(out, text, n + 1);
    return RZ_OK;
}

static rz_status read_constant(const json_t *json, const char *where, const char *only,
                               rz_error *error)
{
    const char *text = json_string_value(json);
    if (json != NULL && (text == NULL || strcmp(text, only) != 0))
        return rz_fail(error, RZ_E_INVALID, "%s: only \"%s\" is possible", where, only);
    return RZ_OK;
}

static rz_status read_int(const json_t *json, const char *where, int min, int max, int fallback,
                          int *out, rz_error *error)
{
    *out = fallback;
    if (json == NULL)
        return RZ_OK;
    json_int_t value = json_integer_value(json);
    if (!json_is_integer(json) || value < min || value > max)
        return rz_fail(error, RZ_E_INVALID, "%s: a whole number of %d to %d is needed", where, min,
                       max);
    *out = (int)value;
    return RZ_OK;
}

static rz_status read_name(const json_t *json, char out[RZ_TASK_NAME], rz_error *error)
{
    rz_status status = read_text(json, "name", RZ_TASK_NAME, out, error);
    for (size_t i = 0; status == RZ_OK && out[i] != '\0'; i++) {
        char c = out[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '_' && c != '-')))
            status = rz_fail(error, RZ_E_INVALID,
                             "name: \"%s\" must be lower-case letters, digits, - and _, beginning "
                             "with a letter or digit",
                             out);
    }
    return status;
}

/* Writes a prefix as codes of its system are stored. A prefix is shorter than a code, so that the
 * checks of whole codes do not apply. */
static rz_status read_prefix(const char *text, rz_code_system system, const char *where,
                             rz_task_prefix *out, rz_error *error)
{
    bool icd =
        system == RZ_SYSTEM_ICD10 || system == RZ_SYSTEM_ICD10CM || system == RZ_SYSTEM_ICD9CM;
    size_t n = 0;
    out->system = system;
    for (const char *c = text; *c != '\0'; c++) {
        if (icd && *c == '.')
            continue;
        char kept = *c;
        if (system != RZ_SYSTEM_LOCAL && kept >= 'a' && kept <= 'z')
            kept = (char)(kept - 'a' + 'A');
        bool plain = (kept >= 'A' && kept <= 'Z') || (kept >= '0' && kept <= '9') || kept == '-';
        if (system == RZ_SYSTEM_LOCAL ? (unsigned char)kept < 0x20 : !plain)
            return rz_fail(error, RZ_E_INVALID, "%s.%s: \"%.40s\" is no prefix of a code", where,
                           rz_code_system_name(system), text);
        if (n + 1 >= sizeof out->prefix)
            return rz_fail(error, RZ_E_INVALID, "%s.%s: a prefix has at most %zu characters", where,
                           rz_code_system_name(system), sizeof out->prefix - 1);
        out->prefix[n++] = kept;
    }
    if (n == 0)
        return rz_fail(error, RZ_E_INVALID, "%s.%s: an empty prefix fits every code", where,
                       rz_code_system_name(system));
    out->prefix[n] = '\0';
    return RZ_OK;
}

/* {"icd10": ["N18"], "icd9cm": ["585"]} */
static rz_status read_prefixes(json_t *json, const char *where, rz_task_prefix *out, size_t *n_out,
                               rz_error *error)
{
    const char *name;
    json_t *list, *item;
    size_t i, n = 0;
    if (!json_is_object(json))
        return rz_fail(error, RZ_E_INVALID, "%s: an object of code systems is needed", where);
    json_object_foreach(json, name, list)
    {
        rz_code_system system;
        if (!rz_code_system_from_name(name, &system))
            return rz_fail(error, RZ_E_INVALID, "%s: there is no code system \"%.40s\"", where,
                           name);
        if (!json_is_array(list))
            return rz_fail(error, RZ_E_INVALID, "%s.%s: a list of prefixes is needed", where, name);
        json_array_foreach(list, i, item)
        {
            if (n == RZ_TASK_PREFIXES_MAX)
                return rz_fail(error, RZ_E_INVALID, "%s: at most %d prefixes are possible", where,
                               RZ_TASK_PREFIXES_MAX);
            if (!json_is_string(item))
                return rz_fail(error, RZ_E_INVALID, "%s.%s[%zu]: a text is needed", where, name, i);
            rz_status status = read_prefix(json_string_value(item), system, where, &out[n], error);
            if (status != RZ_OK)
                return status;
            n++;
        }
    }
    if (n == 0)
        return rz_fail(error, RZ_E_INVALID, "%s: at least one prefix is needed", where);
    *n_out = n;
    return RZ_OK;
}

static rz_status read_population(const json_t *json, rz_task *task, rz_error *error)
{
    static const char *const members[] = {"age_min", "age_max", "sex", "required"};
    task->age_max = RZ_TASK_AGE_ANY;
    if (json == NULL)
        return RZ_OK;
    if (!json_is_object(json))
        return rz_fail(error, RZ_E_INVALID, "population: an object is needed");
    rz_status status = known_members(json, "population", members, RZ_COUNT(members), error);
    if (status == RZ_OK)
        status = read_int(json_object_get(json, "age_min"), "population.age_min", 0,
                          RZ_TASK_AGE_ANY, 0, &task->age_min, error);
    if (status == RZ_OK)
        status = read_int(json_object_get(json, "age_max"), "population.age_max", task->age_min,
                          RZ_TASK_AGE_ANY, RZ_TASK_AGE_ANY, &task->age_max, error);
    if (status != RZ_OK)
        return status;
    const json_t *sex = json_object_get(json, "sex");
    const char *text = json_string_value(sex);
    if (sex != NULL &&
        (text == NULL || !rz_sex_from_name(text, &task->sex) || task->sex == RZ_SEX_UNKNOWN))
        return rz_fail(error, RZ_E_INVALID, "population.sex: \"F\" or \"M\" is needed");
    json_t *required = json_object_get(json, "required");
    if (required != NULL)
        status = read_prefixes(required, "population.required", task->required, &task->n_required,
                               error);
    return status;
}

static rz_status read_kind_and_titles(const json_t *json, rz_task *task, rz_error *error)
{
    static const char *const members[] = {"en", "ja"};
    const char *kind = json_string_value(json_object_get(json, "kind"));
    if (kind != NULL && strcmp(kind, "disease") == 0)
        task->kind = RZ_KIND_DIAGNOSIS;
    else if (kind != NULL && strcmp(kind, "medication") == 0)
        task->kind = RZ_KIND_MEDICATION;
    else
        return rz_fail(error, RZ_E_INVALID, "kind: \"disease\" or \"medication\" is needed");
    const json_t *title = json_object_get(json, "title");
    if (!json_is_object(title))
        return rz_fail(error, RZ_E_INVALID, "title: an object with en and ja is needed");
    rz_status status = known_members(title, "title", members, RZ_COUNT(members), error);
    if (status == RZ_OK)
        status = read_text(json_object_get(title, "en"), "title.en", RZ_TASK_TITLE, task->title_en,
                           error);
    if (status == RZ_OK)
        status = read_text(json_object_get(title, "ja"), "title.ja", RZ_TASK_TITLE, task->title_ja,
                           error);
    return status;
}

rz_status rz_task_from_json(const json_t *json, rz_task *out, rz_error *error)
{
    static const char *const members[] = {"name",        "kind",  "title",      "outcome",
                                          "washout",     "index", "population", "min_history_days",
                                          "horizon_days"};
    rz_task task = {0};
    if (!json_is_object(json))
        return rz_fail(error, RZ_E_FORMAT, "a task is a JSON object");
    rz_status status = known_members(json, "task", members, RZ_COUNT(members), error);
    if (status == RZ_OK)
        status = read_name(json_object_get(json, "name"), task.name, error);
    if (status == RZ_OK)
        status = read_kind_and_titles(json, &task, error);
    if (status == RZ_OK)
        status = read_prefixes(json_object_get(json, "outcome"), "outcome", task.outcomes,
                               &task.n_outcomes, error);
    if (status == RZ_OK)
        status = read_constant(json_object_get(json, "washout"), "washout", WASHOUT, error);
    if (status == RZ_OK)
        status = read_constant(json_object_get(json, "index"), "index", INDEX_RULE, error);
    if (status == RZ_OK)
        status = read_population(json_object_get(json, "population"), &task, error);
    if (status == RZ_OK)
        status = read_int(json_object_get(json, "min_history_days"), "min_history_days", 0,
                          RZ_TASK_DAYS_MAX, 365, &task.min_history_days, error);
    if (status == RZ_OK)
        status = read_int(json_object_get(json, "horizon_days"), "horizon_days", 1,
                          RZ_TASK_DAYS_MAX, 365, &task.horizon_days, error);
    if (status == RZ_OK)
        *out = task;
    return status;
}

/* The reverse of read_prefixes; NULL when memory is exhausted. */
static json_t *prefixes_to_json(const rz_task_prefix *prefixes, size_t n)
{
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i < n; i++) {
        const char *system = rz_code_system_name(prefixes[i].system);
        json_t *list = json_object_get(object, system);
        int failed = 0;
        if (list == NULL) {
            list = json_array();
            failed = json_object_set_new(object, system, list);
        }
        if (failed != 0 || json_array_append_new(list, json_string(prefixes[i].prefix)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *rz_task_to_json(const rz_task *task)
{
    /* "o*" and "s*" leave NULL members out. */
    bool any_age = task->age_min <= 0 && task->age_max >= RZ_TASK_AGE_ANY;
    json_t *population = json_object();
    int failed = population == NULL ? -1 : 0;
    if (!any_age) {
        failed |= json_object_set_new(population, "age_min", json_integer(task->age_min));
        failed |= json_object_set_new(population, "age_max", json_integer(task->age_max));
    }
    if (task->sex != RZ_SEX_UNKNOWN)
        failed |= json_object_set_new(population, "sex", json_string(rz_sex_name(task->sex)));
    if (task->n_required > 0)
        failed |= json_object_set_new(population, "required",
                                      prefixes_to_json(task->required, task->n_required));
    json_t *outcome = prefixes_to_json(task->outcomes, task->n_outcomes);
    if (failed != 0 || outcome == NULL) {
        json_decref(population);
        json_decref(outcome);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:o, s:s, s:s, s:o, s:i, s:i}", "name", task->name,
                     "kind", task->kind == RZ_KIND_MEDICATION ? "medication" : "disease", "title",
                     "en", task->title_en, "ja", task->title_ja, "outcome", outcome, "washout",
                     WASHOUT, "index", INDEX_RULE, "population", population, "min_history_days",
                     task->min_history_days, "horizon_days", task->horizon_days);
}

static rz_status load_file(const char *path, rz_task *out, rz_error *error)
{
    char *data = NULL;
    size_t length = 0;
    json_error_t where;
    rz_status status = rz_file_read(path, FILE_BYTES_MAX, &data, &length, error);
    if (status != RZ_OK)
        return status;
    json_t *json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL) {
        status = rz_fail(error, RZ_E_FORMAT, "%s:%d: %s", path, where.line, where.text);
    } else {
        status = rz_task_from_json(json, out, error);
        if (status != RZ_OK)
            rz_error_prefix(error, "%s: ", path);
    }
    json_decref(json);
    free(data);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of the *.json files, sorted; new, also on failure. */
static rz_status list_files(const char *folder, char ***names, size_t *n, rz_error *error)
{
    DIR *open_folder = opendir(folder);
    rz_status status = RZ_OK;
    const struct dirent *entry;
    if (open_folder == NULL)
        return rz_fail(error, errno == ENOENT ? RZ_E_NOT_FOUND : RZ_E_IO,
                       "cannot read the folder of tasks %s: %s", folder, strerror(errno));
    *names = calloc(FILES_MAX, sizeof **names);
    if (*names == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the files of %s", folder);
    while (status == RZ_OK && (entry = readdir(open_folder)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || length < 6 ||
            strcmp(entry->d_name + length - 5, ".json") != 0)
            continue;
        if (*n == FILES_MAX)
            status = rz_fail(error, RZ_E_TOO_LARGE, "%s holds more than %d task files", folder,
                             FILES_MAX);
        else if (((*names)[*n] = strdup(entry->d_name)) == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the files of %s", folder);
        else
            ++*n;
    }
    (void)closedir(open_folder);
    if (status == RZ_OK)
        qsort(*names, *n, sizeof **names, compare_names);
    return status;
}

static rz_status load_all(const char *folder, char *const *names, size_t n, rz_task *out,
                          rz_error *error)
{
    if (n == 0)
        return rz_fail(error, RZ_E_NOT_FOUND, "%s holds no task (*.json)", folder);
    if (n > RZ_TASKS_MAX)
        return rz_fail(error, RZ_E_TOO_LARGE, "%s holds %zu tasks, at most %d are possible", folder,
                       n, RZ_TASKS_MAX);
    for (size_t i = 0; i < n; i++) {
        char *path = rz_path_join(folder, names[i]);
        if (path == NULL)
            return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the files of %s", folder);
        rz_status status = load_file(path, &out[i], error);
        for (size_t j = 0; status == RZ_OK && j < i; j++)
            if (strcmp(out[i].name, out[j].name) == 0)
                status = rz_fail(error, RZ_E_CONFLICT, "%s: the task \"%s\" is already in %s", path,
                                 out[i].name, names[j]);
        free(path);
        if (status != RZ_OK)
            return status;
    }
    return RZ_OK;
}

rz_status rz_tasks_load(const char *folder, rz_task *out, size_t *n, rz_error *error)
{
    char **names = NULL;
    size_t found = 0;
    rz_status status = list_files(folder, &names, &found, error);
    if (status == RZ_OK)
        status = load_all(folder, names, found, out, error);
    if (status == RZ_OK)
        *n = found;
    for (size_t i = 0; i < found; i++)
        free(names[i]);
    free(names);
    return status;
}
