/* A model into its folder and back. Loading goes from the cheapest doubt to the dearest: DONE, the
 * configuration, the vocabulary, the header of the weights, the weights; nothing is allocated for a
 * model before its announced size has been found in the file. Each file is read once, and digested
 * as it is read: what is used is what was verified. */
#include "model/checkpoint.h"

#include "base/file.h"
#include "base/size.h"
#include "claims/claim_json.h"
#include "model/checkpoint_done.h"
#include "model/safetensors.h"
#include "model/vocabulary_entries.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A program that does not know the onset head or recency must not serve what is left without it:
 * a model that has them is of a later version. */
enum { FORMAT_VERSION = 1, FORMAT_VERSION_ONSET = 2, FORMAT_VERSION_RECENCY = 3 };
enum { CONFIG_BYTES_MAX = 64 << 10, VOCABULARY_BYTES_MAX = 1 << 25 };

static const char format_name[] = "rezept-model";
static const char licence_note[] =
    "made from the claims of whoever trained it; see card.md before passing it on";

/* ---- writing --------------------------------------------------------------------------------- */

/* Temporary files of a write that a crash interrupted: "<one of ours>.XXXXXX". */
static bool is_leftover(const char *name)
{
    static const char *const ours[] = {"model.safetensors", "config.json", "vocab.json",
                                       "tasks.json", "DONE"};
    for (size_t i = 0; i < RZ_COUNT(ours); i++) {
        size_t n = strlen(ours[i]);
        if (strncmp(name, ours[i], n) == 0 && name[n] == '.' && strlen(name + n) == 7)
            return true;
    }
    return false;
}

rz_status rz_checkpoint_begin(const char *folder, rz_error *error)
{
    rz_status status = rz_folder_make(folder, error);
    if (status != RZ_OK)
        return status;
    DIR *entries = opendir(folder);
    if (entries == NULL)
        return rz_fail_errno(error, errno, "cannot open the folder %s", folder);
    int fd = dirfd(entries);
    if (unlinkat(fd, "DONE", 0) != 0 && errno != ENOENT)
        status = rz_fail_errno(error, errno, "cannot remove %s/DONE", folder);
    for (const struct dirent *entry; status == RZ_OK && (entry = readdir(entries)) != NULL;)
        if (is_leftover(entry->d_name) && unlinkat(fd, entry->d_name, 0) != 0)
            status = rz_fail_errno(error, errno, "cannot remove %s/%s", folder, entry->d_name);
    /* DONE must be gone on the disk before anything changes. */
    if (status == RZ_OK && fsync(fd) != 0 && errno != EINVAL)
        status = rz_fail_errno(error, errno, "cannot sync the folder %s", folder);
    (void)closedir(entries);
    return status;
}

static int version_of(const rz_config *config)
{
    return config->recency ? FORMAT_VERSION_RECENCY
           : config->onset ? FORMAT_VERSION_ONSET
                           : FORMAT_VERSION;
}

static json_t *config_json(const rz_model *model, const rz_checkpoint_origin *origin)
{
    json_t *heads = json_array();
    for (size_t i = 0; i < model->n_heads; i++)
        if (json_array_append_new(heads, json_string(model->head_names[i])) != 0) {
            json_decref(heads);
            return NULL;
        }
    /* "o" takes what it is given, also when packing fails. */
    return json_pack("{s:s, s:i, s:o, s:o, s:s, s:{s:s, s:I, s:s, s:s, s:s, s:s, s:o}}", "format",
                     format_name, "format_version", version_of(&model->config), "model",
                     model->family->config_write(&model->config), "heads", heads,
                     "vocabulary_sha256", model->vocabulary->sha256, "training", "config_sha256",
                     origin->training_config_sha256, "seed", (json_int_t)origin->seed,
                     "data_sha256", origin->data_sha256, "code_version", origin->code_version,
                     "parent_sha256", origin->parent_sha256, "split", origin->split, "facilities",
                     rz_facilities_json(&origin->facilities));
}

static rz_status write_config(const char *path, const rz_model *model,
                              const rz_checkpoint_origin *origin, rz_error *error)
{
    json_t *json = config_json(model, origin);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(json);
    if (text == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to write %s", path);
    rz_status status = rz_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}

static rz_status write_weights(const char *path, const rz_model *model,
                               const rz_checkpoint_origin *origin, rz_error *error)
{
    char version[16], seed[32];
    (void)snprintf(version, sizeof version, "%d", version_of(&model->config));
    (void)snprintf(seed, sizeof seed, "%" PRIu64, origin->seed);
    const rz_metadata_pair metadata[] = {
        {"format", format_name},
        {"format_version", version},
        {"family", model->family->name},
        {"size", model->config.size},
        {"vocabulary_sha256", model->vocabulary->sha256},
        {"training_config_sha256", origin->training_config_sha256},
        {"seed", seed},
        {"data_sha256", origin->data_sha256},
        {"parent_sha256", origin->parent_sha256},
        {"code_version", origin->code_version},
        {"licence", licence_note},
    };
    return rz_safetensors_write(path, model->tensors, model->n_tensors, model->parameters, metadata,
                                RZ_COUNT(metadata), error);
}

rz_status rz_checkpoint_write(const char *folder, const rz_model *model,
                              const rz_checkpoint_origin *origin, rz_error *error)
{
    char *done = rz_path_join(folder, "DONE"), *config = rz_path_join(folder, "config.json"),
         *vocabulary = rz_path_join(folder, "vocab.json"),
         *weights = rz_path_join(folder, "model.safetensors");
    rz_status status = RZ_OK;
    if (done == NULL || config == NULL || vocabulary == NULL || weights == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to write into %s", folder);
    else if (access(done, F_OK) == 0)
        status = rz_fail(error, RZ_E_CONFLICT,
                         "%s holds a finished model; nothing is written over it", folder);
    if (status == RZ_OK)
        status = write_weights(weights, model, origin, error);
    if (status == RZ_OK)
        status = rz_vocabulary_write(model->vocabulary, vocabulary, error);
    if (status == RZ_OK)
        status = write_config(config, model, origin, error);
    free(done);
    free(config);
    free(vocabulary);
    free(weights);
    return status;
}

static rz_status open_folder(const char *folder, int *out, rz_error *error)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rz_fail_errno(error, errno, "cannot open the folder %s", folder);
    *out = fd;
    return RZ_OK;
}

rz_status rz_checkpoint_finish(const char *folder, rz_error *error)
{
    int fd = -1;
    rz_status status = open_folder(folder, &fd, error);
    if (status != RZ_OK)
        return status;
    status = done_write(fd, folder, error);
    (void)close(fd);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What config.json says besides the family's own part. */
typedef struct loaded_config {
    const rz_family *family;
    rz_config model;
    size_t n_heads;
    char heads[RZ_HEADS_MAX][RZ_HEAD_NAME];
    char vocabulary_sha256[RZ_SHA256_TEXT];
    rz_checkpoint_origin origin;
} loaded_config;

static rz_status copy_text(const json_t *object, const char *key, char *out, size_t cap,
                           rz_error *error)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL || strlen(text) >= cap)
        return rz_fail(error, RZ_E_CORRUPT,
                       "config.json: %s must be a text of at most %zu characters", key, cap - 1);
    (void)snprintf(out, cap, "%s", text);
    return RZ_OK;
}

/* A digest, or "" where none is known. */
static rz_status copy_sha256(const json_t *object, const char *key, char out[RZ_SHA256_TEXT],
                             rz_error *error)
{
    rz_status status = copy_text(object, key, out, RZ_SHA256_TEXT, error);
    size_t n = status == RZ_OK ? strlen(out) : 0;
    if (status == RZ_OK && n != 0 &&
        (n != RZ_SHA256_TEXT - 1 || strspn(out, "0123456789abcdef") != n))
        status = rz_fail(error, RZ_E_CORRUPT, "config.json: %s is no SHA-256", key);
    return status;
}

/* Names become parts of tensor names and of URLs. */
static bool head_name_fits(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n < RZ_HEAD_NAME && name[0] != '_' && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static rz_status read_heads(const json_t *json, loaded_config *out, rz_error *error)
{
    const json_t *heads = json_object_get(json, "heads");
    if (!json_is_array(heads) || json_array_size(heads) > RZ_HEADS_MAX)
        return rz_fail(error, RZ_E_CORRUPT, "config.json: heads must be a list of at most %d names",
                       RZ_HEADS_MAX);
    for (size_t i = 0; i < json_array_size(heads); i++) {
        const char *name = json_string_value(json_array_get(heads, i));
        if (name == NULL || !head_name_fits(name))
            return rz_fail(error, RZ_E_CORRUPT,
                           "config.json: heads: name %zu must be 1 to %d of a-z, 0-9, _ and -", i,
                           RZ_HEAD_NAME - 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->heads[k], name) == 0)
                return rz_fail(error, RZ_E_CORRUPT, "config.json: heads: %s is there twice", name);
        (void)snprintf(out->heads[i], sizeof out->heads[i], "%s", name);
    }
    out->n_heads = json_array_size(heads);
    return RZ_OK;
}

static rz_status read_origin(const json_t *json, rz_checkpoint_origin *out, rz_error *error)
{
    const json_t *training = json_object_get(json, "training");
    const json_t *seed = json_object_get(training, "seed");
    rz_error inner = {0};
    if (!json_is_object(training) || !json_is_integer(seed))
        return rz_fail(error, RZ_E_CORRUPT, "config.json: training with a seed is missing");
    out->seed = (uint64_t)json_integer_value(seed);
    rz_status status = copy_sha256(training, "config_sha256", out->training_config_sha256, error);
    if (status == RZ_OK)
        status = copy_sha256(training, "data_sha256", out->data_sha256, error);
    if (status == RZ_OK)
        status = copy_sha256(training, "parent_sha256", out->parent_sha256, error);
    if (status == RZ_OK)
        status =
            copy_text(training, "code_version", out->code_version, sizeof out->code_version, error);
    /* Models made before this was recorded say nothing. */
    if (status == RZ_OK && json_object_get(training, "split") != NULL)
        status = copy_text(training, "split", out->split, sizeof out->split, error);
    if (status == RZ_OK && rz_facilities_from_json(json_object_get(training, "facilities"),
                                                   &out->facilities, &inner) != RZ_OK)
        status = rz_fail(error, RZ_E_CORRUPT, "config.json: %s", inner.text);
    return status;
}

static rz_status config_from_json(const json_t *json, loaded_config *out, rz_error *error)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    const json_t *version = json_object_get(json, "format_version");
    const json_t *model = json_object_get(json, "model");
    const char *family = json_string_value(json_object_get(model, "family"));
    if (format == NULL || strcmp(format, format_name) != 0)
        return rz_fail(error, RZ_E_UNSUPPORTED, "config.json: the format is not %s", format_name);
    if (!json_is_integer(version) || json_integer_value(version) < FORMAT_VERSION ||
        json_integer_value(version) > FORMAT_VERSION_RECENCY)
        return rz_fail(error, RZ_E_UNSUPPORTED,
                       "config.json: format version %lld, this program reads %d to %d",
                       (long long)json_integer_value(version), FORMAT_VERSION,
                       FORMAT_VERSION_RECENCY);
    if (family == NULL)
        return rz_fail(error, RZ_E_CORRUPT, "config.json: the model names no family");
    out->family = rz_family_find(family);
    if (out->family == NULL)
        return rz_fail(error, RZ_E_UNSUPPORTED, "config.json: there is no model family %.40s",
                       family);
    rz_status status = out->family->config_parse(model, &out->model, error);
    if (status == RZ_OK && json_integer_value(version) != version_of(&out->model))
        status = rz_fail(error, RZ_E_CORRUPT,
                         "config.json: format version %lld, the model described is of version %d",
                         (long long)json_integer_value(version), version_of(&out->model));
    if (status == RZ_OK)
        status = read_heads(json, out, error);
    if (status == RZ_OK)
        status = copy_sha256(json, "vocabulary_sha256", out->vocabulary_sha256, error);
    if (status == RZ_OK)
        status = read_origin(json, &out->origin, error);
    return status;
}

static rz_status read_config(int folder, const done_list *done, loaded_config *out, rz_error *error)
{
    char *text = NULL;
    size_t n;
    json_t *json = NULL;
    rz_status status = done_read(folder, done, "config.json", CONFIG_BYTES_MAX, &text, &n, error);
    if (status != RZ_OK)
        return status;
    status = rz_json_parse(text, n, &json, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "config.json: ");
    else
        status = config_from_json(json, out, error);
    json_decref(json);
    free(text);
    return status;
}

static rz_status read_vocabulary(int folder, const done_list *done, const loaded_config *config,
                                 rz_vocabulary **out, rz_error *error)
{
    char *text = NULL;
    size_t n;
    rz_vocabulary *vocabulary = NULL;
    rz_status status =
        done_read(folder, done, "vocab.json", VOCABULARY_BYTES_MAX, &text, &n, error);
    if (status != RZ_OK)
        return status;
    status = vocabulary_parse(text, n, "vocab.json", &vocabulary, error);
    free(text);
    if (status != RZ_OK)
        return status;
    if (strcmp(vocabulary->sha256, config->vocabulary_sha256) != 0)
        status = rz_fail(error, RZ_E_CORRUPT,
                         "vocab.json has SHA-256 %.12s…, the model was made with %.12s…",
                         vocabulary->sha256, config->vocabulary_sha256);
    else if (vocabulary->n_diagnoses != (size_t)config->model.n_diagnoses ||
             vocabulary->n_medications != (size_t)config->model.n_medications)
        status = rz_fail(error, RZ_E_CORRUPT,
                         "vocab.json has %zu diagnoses and %zu medications, config.json %d and %d",
                         vocabulary->n_diagnoses, vocabulary->n_medications,
                         config->model.n_diagnoses, config->model.n_medications);
    if (status == RZ_OK)
        *out = vocabulary;
    else
        rz_vocabulary_free(vocabulary);
    return status;
}

static rz_status check_metadata(const rz_safetensors *file, const loaded_config *config,
                                rz_error *error)
{
    char version[16];
    (void)snprintf(version, sizeof version, "%d", version_of(&config->model));
    const rz_metadata_pair wanted[] = {{"format", format_name},
                                       {"format_version", version},
                                       {"family", config->family->name},
                                       {"vocabulary_sha256", config->vocabulary_sha256}};
    for (size_t i = 0; i < RZ_COUNT(wanted); i++) {
        const char *value = rz_safetensors_metadata(file, wanted[i].key);
        if (value == NULL || strcmp(value, wanted[i].value) != 0)
            return rz_fail(
                error, RZ_E_CORRUPT,
                "model.safetensors: its metadata says %s \"%.64s\", the folder \"%.64s\"",
                wanted[i].key, value == NULL ? "" : value, wanted[i].value);
    }
    return RZ_OK;
}

/* The parameters that the configuration asks for must be in the file before memory is taken. */
static rz_status check_size(const rz_safetensors *file, const loaded_config *config,
                            rz_error *error)
{
    const rz_safetensor *tensors;
    size_t n_file = rz_safetensors_tensors(file, &tensors), n = 0;
    uint64_t in_file = 0, wanted = 0;
    rz_tensor_spec *specs = calloc(RZ_SAFETENSORS_MAX, sizeof *specs);
    if (specs == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of tensors");
    rz_status status =
        config->family->tensor_table(&config->model, specs, RZ_SAFETENSORS_MAX, &n, error);
    for (size_t i = 0; i < n && status == RZ_OK; i++)
        wanted += specs[i].count;
    if (config->model.onset)
        wanted += ((uint64_t)config->model.n_diagnoses + (uint64_t)config->model.n_medications) *
                  ((uint64_t)config->model.hidden + 1);
    free(specs);
    for (size_t i = 0; i < n_file; i++)
        in_file += tensors[i].count;
    if (status == RZ_OK && wanted > in_file)
        status = rz_fail(error, RZ_E_CORRUPT,
                         "model.safetensors holds %" PRIu64 " parameters in %zu tensors, "
                         "config.json asks for %" PRIu64 " and heads",
                         in_file, n_file, wanted);
    return status;
}

static rz_status check_tensor(const rz_tensor_spec *spec, const rz_safetensor *tensor,
                              rz_error *error)
{
    if (tensor == NULL)
        return rz_fail(error, RZ_E_CORRUPT, "model.safetensors: tensor '%s' is missing",
                       spec->name);
    bool same = tensor->rank == spec->rank && tensor->count == spec->count;
    for (size_t i = 0; same && i < spec->rank; i++)
        same = tensor->shape[i] == spec->shape[i];
    if (!same)
        return rz_fail(error, RZ_E_CORRUPT,
                       "model.safetensors: tensor '%s' has %zu elements in another shape than the "
                       "%zu of the configuration",
                       spec->name, tensor->count, spec->count);
    return RZ_OK;
}

/* Exactly the tensors of the table: none missing, and, the number being the same, none foreign.
 * places[i] is where tensor i of the file belongs. */
static rz_status place_tensors(const rz_safetensors *file, const rz_model *model, float **places,
                               rz_error *error)
{
    const rz_safetensor *tensors;
    size_t n = rz_safetensors_tensors(file, &tensors);
    for (size_t i = 0; i < model->n_tensors; i++) {
        const rz_tensor_spec *spec = &model->tensors[i];
        const rz_safetensor *tensor = rz_safetensors_find(file, spec->name);
        rz_status status = check_tensor(spec, tensor, error);
        if (status != RZ_OK)
            return status;
        places[tensor - tensors] = model->parameters + spec->offset;
    }
    for (size_t i = 0; i < n; i++)
        if (places[i] == NULL)
            return rz_fail(error, RZ_E_CORRUPT,
                           "model.safetensors: tensor '%.63s' is not part of such a model",
                           tensors[i].name);
    return RZ_OK;
}

static rz_status read_weights(rz_safetensors *file, const done_list *done, rz_model *model,
                              rz_error *error)
{
    const rz_safetensor *tensors;
    char sha256[RZ_SHA256_TEXT];
    float **places = calloc(rz_safetensors_tensors(file, &tensors) + 1, sizeof *places);
    if (places == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of tensors");
    rz_status status = place_tensors(file, model, places, error);
    if (status == RZ_OK)
        status = rz_safetensors_read_all(file, places, model->pool, sha256, error);
    if (status == RZ_OK)
        status = done_match(done, "model.safetensors", sha256, error);
    model->parameters_version++;
    free(places);
    return status;
}

static rz_status load_model(int folder, const done_list *done, rz_pool *pool, loaded_config *config,
                            rz_model **out, rz_error *error)
{
    rz_vocabulary *vocabulary = NULL;
    rz_safetensors *file = NULL;
    rz_model *model = NULL;
    const char *heads[RZ_HEADS_MAX];
    rz_status status = read_config(folder, done, config, error);
    if (status == RZ_OK)
        status = read_vocabulary(folder, done, config, &vocabulary, error);
    if (status == RZ_OK)
        status = rz_safetensors_open_at(folder, "model.safetensors", &file, error);
    if (status == RZ_OK)
        status = check_metadata(file, config, error);
    if (status == RZ_OK)
        status = check_size(file, config, error);
    for (size_t i = 0; i < config->n_heads; i++)
        heads[i] = config->heads[i];
    if (status == RZ_OK)
        status =
            rz_model_blank(&config->model, vocabulary, heads, config->n_heads, pool, &model, error);
    if (status == RZ_OK)
        status = read_weights(file, done, model, error);
    rz_safetensors_close(file);
    rz_vocabulary_free(vocabulary);
    if (status == RZ_OK)
        *out = model;
    else
        rz_model_free(model);
    return status;
}

/* Whatever is wrong with the content of a folder means the same to the caller: damaged. */
static rz_status as_damage(rz_status status, const char *folder, rz_error *error)
{
    if (status == RZ_E_FORMAT || status == RZ_E_INVALID || status == RZ_E_RANGE ||
        status == RZ_E_TOO_LARGE)
        status = RZ_E_CORRUPT;
    if (error != NULL && error->status != RZ_OK) {
        error->status = status;
        rz_error_prefix(error, "%s: ", folder);
    }
    return status;
}

static rz_status verify(int fd, bool loading, done_list **out, rz_error *error)
{
    done_list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to verify a model");
    rz_status status = RZ_OK;
    struct stat info;
    if (fstatat(fd, "DONE", &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        status = rz_fail(error, RZ_E_NOT_FOUND,
                         "no finished model is here: DONE is missing; an interrupted training run "
                         "continues with --resume");
    if (status == RZ_OK)
        status = done_verify(fd, loading, list, error);
    if (status == RZ_OK)
        *out = list;
    else
        free(list);
    return status;
}

rz_status rz_checkpoint_verify(const char *folder, rz_error *error)
{
    int fd = -1;
    done_list *list = NULL;
    rz_status status = open_folder(folder, &fd, error);
    if (status != RZ_OK)
        return status;
    status = verify(fd, false, &list, error);
    free(list);
    (void)close(fd);
    return status == RZ_OK ? RZ_OK : as_damage(status, folder, error);
}

rz_status rz_checkpoint_load(const char *folder, rz_pool *pool, rz_checkpoint *out, rz_error *error)
{
    int fd = -1;
    done_list *list = NULL;
    rz_model *model = NULL;
    rz_status status = open_folder(folder, &fd, error);
    if (status != RZ_OK)
        return status;
    loaded_config *config = calloc(1, sizeof *config);
    if (config == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to load a model");
    if (status == RZ_OK)
        status = verify(fd, true, &list, error);
    if (status == RZ_OK)
        status = load_model(fd, list, pool, config, &model, error);
    if (status == RZ_OK) {
        const done_file *tasks = done_find(list, "tasks.json");
        *out = (rz_checkpoint){.model = model, .origin = config->origin};
        memcpy(out->sha256, done_find(list, "model.safetensors")->sha256, sizeof out->sha256);
        if (tasks != NULL)
            memcpy(out->tasks_sha256, tasks->sha256, sizeof out->tasks_sha256);
    }
    free(config);
    free(list);
    (void)close(fd);
    return status == RZ_OK ? RZ_OK : as_damage(status, folder, error);
}
