/* Writes and reads the two slots. state.json says which of them counts; the other is scratch. */
#include "train/resume.h"

#include "base/file.h"
#include "base/size.h"
#include "model/safetensors.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_BYTES_MAX = 1 << 16, FORMAT_VERSION = 1 };

static const struct { /* the whole numbers of the state, by their names in state.json */
    const char *name;
    size_t offset;
} numbers[] = {
    {"step", offsetof(rz_resume_state, step)},
    {"epoch", offsetof(rz_resume_state, epoch)},
    {"cursor", offsetof(rz_resume_state, cursor)},
    {"steps_planned", offsetof(rz_resume_state, steps_planned)},
    {"tokens", offsetof(rz_resume_state, tokens)},
    {"log_bytes", offsetof(rz_resume_state, log_bytes)},
    {"best_step", offsetof(rz_resume_state, best_step)},
};

static void slot_path(char *out, size_t cap, const char *folder, const char *what, int slot)
{
    (void)snprintf(out, cap, "%s/%s-%d.safetensors", folder, what, slot);
}

/* state.json as an object; *slot is the one it names, -1 when there is no state. */
static rz_status read_json(const char *folder, json_t **out, int *slot, rz_error *error)
{
    char path[PATH_MAX], *text = NULL;
    size_t length = 0;
    (void)snprintf(path, sizeof path, "%s/state.json", folder);
    *slot = -1;
    if (access(path, F_OK) != 0)
        return rz_fail(error, RZ_E_NOT_FOUND, "there is no saved state in %s", folder);
    rz_status status = rz_file_read(path, STATE_BYTES_MAX, &text, &length, error);
    if (status != RZ_OK)
        return status;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    const json_t *version = json_object_get(json, "format_version");
    const json_t *number = json_object_get(json, "slot");
    if (!json_is_integer(number) || json_integer_value(number) < 0 ||
        json_integer_value(number) > 1 || json_integer_value(version) != FORMAT_VERSION) {
        json_decref(json);
        return rz_fail(error, RZ_E_CORRUPT, "%s is damaged; start over with --force", path);
    }
    *slot = (int)json_integer_value(number);
    *out = json;
    return RZ_OK;
}

static json_t *state_json(const rz_resume_state *state, int slot)
{
    json_t *json = json_pack(
        "{s:i, s:i, s:b, s:i, s:i, s:f, s:f, s:s, s:s}", "format_version", FORMAT_VERSION, "slot",
        slot, "has_best", state->has_best, "evaluations", (int)state->evaluations, "without_gain",
        (int)state->without_gain, "best_loss", state->has_best ? state->best_loss : 0.0, "seconds",
        state->seconds, "config_sha256", state->config_sha256, "data_sha256", state->data_sha256);
    for (size_t i = 0; json != NULL && i < RZ_COUNT(numbers); i++) {
        uint64_t value;
        memcpy(&value, (const char *)state + numbers[i].offset, sizeof value);
        if (json_object_set_new(json, numbers[i].name, json_integer((json_int_t)value)) != 0) {
            json_decref(json);
            json = NULL;
        }
    }
    return json;
}

rz_status rz_resume_save(const char *folder, const rz_model *model, const rz_optimizer *optimizer,
                         const float *best, const rz_resume_state *state, rz_error *error)
{
    const struct {
        const char *name;
        const float *block;
    } parts[] = {{"parameters", model->parameters},
                 {"moment1", optimizer->moment1},
                 {"moment2", optimizer->moment2},
                 {"best", state->has_best ? best : NULL}};
    char path[PATH_MAX];
    json_t *json = NULL;
    int old_slot;
    rz_error ignored = {0}; /* no state or a damaged one: either slot may be written */
    if (read_json(folder, &json, &old_slot, &ignored) == RZ_OK)
        json_decref(json);
    int slot = old_slot == 0 ? 1 : 0;
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(parts); i++) {
        slot_path(path, sizeof path, folder, parts[i].name, slot);
        if (parts[i].block != NULL)
            status = rz_safetensors_write(path, model->tensors, model->n_tensors, parts[i].block,
                                          NULL, 0, error);
    }
    if (status != RZ_OK)
        return status;
    json = state_json(state, slot);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(json);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to save the state of the run");
    (void)snprintf(path, sizeof path, "%s/state.json", folder);
    status = rz_file_write(path, text, strlen(text), error);
    free(text);
    for (size_t i = 0; status == RZ_OK && old_slot >= 0 && i < RZ_COUNT(parts); i++) {
        slot_path(path, sizeof path, folder, parts[i].name, old_slot);
        (void)unlink(path); /* half the space on disk; the next save does not need it */
    }
    return status;
}

static bool copy_text(const json_t *json, const char *name, char out[RZ_SHA256_TEXT])
{
    const char *text = json_string_value(json_object_get(json, name));
    if (text == NULL || strlen(text) >= RZ_SHA256_TEXT)
        return false;
    (void)snprintf(out, RZ_SHA256_TEXT, "%s", text);
    return true;
}

rz_status rz_resume_read(const char *folder, rz_resume_state *out, rz_error *error)
{
    json_t *json = NULL;
    int slot;
    rz_status status = read_json(folder, &json, &slot, error);
    if (status != RZ_OK)
        return status;
    rz_resume_state state = {0};
    bool fits = copy_text(json, "config_sha256", state.config_sha256) &&
                copy_text(json, "data_sha256", state.data_sha256);
    for (size_t i = 0; i < RZ_COUNT(numbers); i++) {
        const json_t *number = json_object_get(json, numbers[i].name);
        fits = fits && json_is_integer(number) && json_integer_value(number) >= 0;
        uint64_t value = (uint64_t)json_integer_value(number);
        memcpy((char *)&state + numbers[i].offset, &value, sizeof value);
    }
    state.has_best = json_is_true(json_object_get(json, "has_best"));
    state.best_loss = json_number_value(json_object_get(json, "best_loss"));
    state.seconds = json_number_value(json_object_get(json, "seconds"));
    state.evaluations = (unsigned)json_integer_value(json_object_get(json, "evaluations"));
    state.without_gain = (unsigned)json_integer_value(json_object_get(json, "without_gain"));
    json_decref(json);
    if (!fits)
        return rz_fail(error, RZ_E_CORRUPT, "%s/state.json is damaged; start over with --force",
                       folder);
    *out = state;
    return RZ_OK;
}

static rz_status load_block(const char *path, const rz_model *model, float *block, rz_error *error)
{
    rz_safetensors *file = NULL;
    rz_status status = rz_safetensors_open(path, &file, error);
    for (size_t i = 0; status == RZ_OK && i < model->n_tensors; i++) {
        const rz_tensor_spec *spec = &model->tensors[i];
        const rz_safetensor *tensor = rz_safetensors_find(file, spec->name);
        if (tensor == NULL || tensor->count != spec->count)
            status = rz_fail(error, RZ_E_CORRUPT, "%s: tensor %s does not fit the model", path,
                             spec->name);
        else
            status = rz_safetensors_read(file, tensor, block + spec->offset, error);
    }
    rz_safetensors_close(file);
    return status;
}

rz_status rz_resume_load(const char *folder, rz_model *model, rz_optimizer *optimizer, float *best,
                         const rz_resume_state *state, rz_error *error)
{
    const struct {
        const char *name;
        float *block;
    } parts[] = {{"parameters", model->parameters},
                 {"moment1", optimizer->moment1},
                 {"moment2", optimizer->moment2},
                 {"best", state->has_best ? best : NULL}};
    json_t *json = NULL;
    int slot;
    rz_status status = read_json(folder, &json, &slot, error);
    json_decref(json);
    for (size_t i = 0; status == RZ_OK && i < RZ_COUNT(parts); i++) {
        char path[PATH_MAX];
        slot_path(path, sizeof path, folder, parts[i].name, slot);
        if (parts[i].block != NULL)
            status = load_block(path, model, parts[i].block, error);
    }
    if (status == RZ_OK) {
        optimizer->step = state->step;
        model->parameters_version++;
    }
    return status;
}
