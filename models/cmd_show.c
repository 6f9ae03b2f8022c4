/* rezept-train show: a size's table of tensors without making a model, or what a model's folder
 * holds, verified. Both name the BLAS and what it gives on this machine. The JSON's keys are
 * stable. */
#include "base/file.h"
#include "base/size.h"
#include "claims/claim_json.h"
#include "model/checkpoint.h"
#include "predict/predictor.h"
#include "program.h"
#include "tensor/gemm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 64 << 10, CARD_BYTES_MAX = 1 << 20, TENSORS_MAX = 4096 };

static const rz_option table[] = {
    {"size", RZ_OPTION_TEXT, NULL, .value = "NAME", .help = "2.2m, 4.7m, 11m, 32m or 101m"},
    {"config", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "a configuration like those of models/sizes, in place of a size"},
    {"family", RZ_OPTION_TEXT, "encoder", .value = "NAME", .help = "model family of the size"},
    {"vocabulary", RZ_OPTION_INT, "1930", .min = 2, .max = RZ_VOCABULARY_CODES_MAX, .value = "N",
     .help = "codes, half of them diagnoses"},
    {"json", RZ_OPTION_SWITCH, "false", .help = "print one JSON document"},
    {"threads", RZ_OPTION_INT, "0", .min = 0, .max = 1024, .value = "N",
     .help = "threads to measure the BLAS with; 0 = all cores"},
    {"blas", RZ_OPTION_SWITCH, "true", .help = "name and measure the BLAS"},
};

static const char usage[] = "usage: rezept-train show --size NAME [--vocabulary N] [--json]\n"
                            "       rezept-train show FOLDER [--json]\n\n"
                            "Shows a size's tensors, or what a model's folder holds.\n\n";

/* ---- parts of the document ------------------------------------------------------------------- */

static json_t *tensors_json(const rz_tensor_spec *tensors, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n && array != NULL; i++) {
        json_t *shape = json_array();
        for (size_t k = 0; k < tensors[i].rank; k++)
            (void)json_array_append_new(shape, json_integer((json_int_t)tensors[i].shape[k]));
        if (json_array_append_new(array,
                                  json_pack("{s:s, s:o, s:I}", "name", tensors[i].name, "shape",
                                            shape, "count", (json_int_t)tensors[i].count)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *blas_json(const rz_blas_info *blas)
{
    json_t *warnings = json_array();
    for (unsigned i = 0; i < blas->n_warnings; i++)
        (void)json_array_append_new(warnings, json_string(blas->warnings[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:o}", "config", blas->config,
                     "core", blas->core, "path", blas->path.name, "why", blas->path.why, "kernels",
                     blas->path.kernels->name, "threads", (int)blas->threads, "gflops",
                     blas->gflops, "weight_gflops", blas->weight_gflops, "warnings", warnings);
}

static json_t *tasks_json(const rz_head *heads, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n && array != NULL; i++) {
        const rz_calibration *c = &heads[i].calibration;
        json_t *calibration =
            json_pack("{s:s, s:s, s:s, s:f, s:f, s:I, s:I}", "id", c->id, "date", c->date, "method",
                      c->method == RZ_CALIBRATION_PLATT ? "platt" : "isotonic", "training_prior",
                      c->training_prior, "prevalence", c->prevalence, "tuning_n",
                      (json_int_t)c->tuning_n, "tuning_positives", (json_int_t)c->tuning_positives);
        json_t *task = json_pack("{s:s, s:s, s:s, s:i, s:s, s:o, s:O}", "name", heads[i].task.name,
                                 "kind", rz_kind_name(heads[i].task.kind), "title",
                                 heads[i].task.title_en, "horizon_days", heads[i].task.horizon_days,
                                 "precision", rz_precision_name(heads[i].precision), "calibration",
                                 calibration, "metrics", heads[i].metrics);
        if (json_array_append_new(array, task) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static rz_status add_blas(const rz_options *options, json_t *document, rz_error *error)
{
    rz_pool *pool = NULL;
    rz_blas_info blas = {0};
    if (!rz_options_switch(options, "blas"))
        return RZ_OK;
    rz_status status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = rz_blas_describe(pool, &blas, error);
    if (status == RZ_OK && json_object_set_new(document, "blas", blas_json(&blas)) != 0)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to describe the BLAS");
    rz_pool_free(pool);
    return status;
}

/* ---- a size ---------------------------------------------------------------------------------- */

static rz_status read_config(const rz_family *family, const char *path, rz_config *out,
                             rz_error *error)
{
    char *text = NULL;
    size_t n = 0;
    json_t *json = NULL;
    rz_status status = rz_file_read(path, CONFIG_BYTES_MAX, &text, &n, error);
    if (status != RZ_OK)
        return status;
    status = rz_json_parse(text, n, &json, error);
    if (status == RZ_OK)
        status = family->config_parse(json, out, error);
    if (status != RZ_OK)
        rz_error_prefix(error, "%s: ", path);
    json_decref(json);
    free(text);
    return status;
}

static rz_status describe_size(const rz_options *options, json_t **out, rz_error *error)
{
    const char *name = rz_options_text(options, "family"), *size = rz_options_text(options, "size"),
               *path = rz_options_text(options, "config");
    const rz_family *family = rz_family_find(name);
    int64_t codes = rz_options_int(options, "vocabulary");
    rz_config config;
    size_t n = 0, parameters = 0;
    if (family == NULL)
        return rz_fail(error, RZ_E_USAGE, "there is no model family %.40s", name);
    rz_tensor_spec *tensors = calloc(TENSORS_MAX, sizeof *tensors);
    if (tensors == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a table of tensors");
    rz_status status = path != NULL ? read_config(family, path, &config, error)
                                    : family->config_for_size(size, &config, error);
    if (status == RZ_OK) {
        config.n_diagnoses = (int32_t)(codes - codes / 2);
        config.n_medications = (int32_t)(codes / 2);
        status = family->tensor_table(&config, tensors, TENSORS_MAX, &n, error);
    }
    for (size_t i = 0; i < n && status == RZ_OK; i++)
        parameters += tensors[i].count;
    if (status == RZ_OK) {
        *out =
            json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "family", family->name, "size", config.size,
                      "vocabulary", (json_int_t)codes, "parameters", (json_int_t)parameters,
                      "config", family->config_write(&config), "tensors", tensors_json(tensors, n));
        if (*out == NULL)
            status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to describe a size");
    }
    free(tensors);
    return status;
}

/* ---- a folder -------------------------------------------------------------------------------- */

static json_t *model_json(const char *folder, const rz_checkpoint *checkpoint)
{
    const rz_model *model = checkpoint->model;
    const rz_checkpoint_origin *origin = &checkpoint->origin;
    char seed[32];
    (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)origin->seed);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I, s:o, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:o}, "
        "s:o}",
        "folder", folder, "done", "verified", "sha256", checkpoint->sha256, "family",
        model->family->name, "size", model->config.size, "vocabulary",
        (json_int_t)(model->vocabulary->n_diagnoses + model->vocabulary->n_medications),
        "vocabulary_sha256", model->vocabulary->sha256, "parameters", (json_int_t)model->n_counted,
        "heads", (json_int_t)model->n_heads, "config", model->family->config_write(&model->config),
        "origin", "training_config_sha256", origin->training_config_sha256, "data_sha256",
        origin->data_sha256, "parent_sha256", origin->parent_sha256, "seed", seed, "code_version",
        origin->code_version, "split", origin->split, "facilities",
        rz_facilities_json(&origin->facilities), "tensors",
        tensors_json(model->tensors, model->n_tensors));
}

static rz_status add_tasks(const char *folder, json_t *document, rz_error *error)
{
    size_t n = 0;
    rz_head *heads = calloc(RZ_HEADS_MAX, sizeof *heads);
    if (heads == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for tasks");
    rz_status status = rz_heads_read(folder, heads, &n, NULL, error);
    if (status == RZ_OK && json_object_set_new(document, "tasks", tasks_json(heads, n)) != 0)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to describe tasks");
    for (size_t i = 0; i < n; i++)
        rz_head_done(&heads[i]);
    free(heads);
    return status;
}

static rz_status add_onset(const char *folder, const rz_model *model, json_t *document,
                           rz_error *error)
{
    rz_onset onset;
    rz_status status = rz_onset_read(folder, model->vocabulary, &onset, error);
    if (status != RZ_OK)
        return status;
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:O, s:O}", "codes", (json_int_t)onset.n_codes, "id",
                  onset.sha256, "date", onset.date, "precision", rz_precision_name(onset.precision),
                  "kinds", onset.kinds, "metrics", onset.metrics);
    if (json_object_set_new(document, "onset", json) != 0)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to describe onsets");
    rz_onset_done(&onset);
    return status;
}

static rz_status add_card(const char *folder, json_t *document, rz_error *error)
{
    char *path = rz_path_join(folder, "card.md"), *text = NULL;
    rz_status status = RZ_OK;
    if (path == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory to read the card");
    if (access(path, F_OK) == 0)
        status = rz_file_read(path, CARD_BYTES_MAX, &text, NULL, error);
    if (status == RZ_OK && text != NULL &&
        json_object_set_new(document, "card", json_string(text)) != 0)
        status = rz_fail(error, RZ_E_FORMAT, "%s is not UTF-8", path);
    free(text);
    free(path);
    return status;
}

static rz_status describe_folder(const char *folder, json_t **out, rz_error *error)
{
    rz_checkpoint checkpoint = {0};
    rz_status status = rz_checkpoint_load(folder, NULL, &checkpoint, error);
    if (status != RZ_OK)
        return status;
    *out = model_json(folder, &checkpoint);
    if (*out == NULL)
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory to describe %s", folder);
    if (status == RZ_OK && checkpoint.model->n_heads > 0)
        status = add_tasks(folder, *out, error);
    if (status == RZ_OK && checkpoint.model->config.onset)
        status = add_onset(folder, checkpoint.model, *out, error);
    if (status == RZ_OK)
        status = add_card(folder, *out, error);
    rz_model_free(checkpoint.model);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_member(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (json_is_integer(value))
        (void)printf("%-20s %lld\n", key, (long long)json_integer_value(value));
    else if (json_is_string(value) && json_string_length(value) > 0)
        (void)printf("%-20s %s\n", key, json_string_value(value));
}

static void print_object(const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        if (json_is_string(value))
            print_member(object, key);
        else if (text != NULL)
            (void)printf("%-20s %s\n", key, text);
        free(text);
    }
}

static void print_tensors(const json_t *tensors)
{
    size_t i;
    const json_t *tensor;
    json_array_foreach(tensors, i, tensor)
    {
        char *shape = json_dumps(json_object_get(tensor, "shape"), 0);
        (void)printf("%-44s %-16s %12lld\n", json_string_value(json_object_get(tensor, "name")),
                     shape != NULL ? shape : "",
                     (long long)json_integer_value(json_object_get(tensor, "count")));
        free(shape);
    }
}

static void print_tasks(const json_t *tasks)
{
    size_t i;
    const json_t *task;
    json_array_foreach(tasks, i, task)
    {
        (void)putchar('\n');
        print_object(task);
    }
}

static void print_blas(const json_t *blas)
{
    size_t i;
    const json_t *warning;
    (void)printf("\nBLAS                 %s\nCPU kernel           %s\n"
                 "measured             %.1f GFLOP/s on %lld threads; own products %.1f GFLOP/s\n"
                 "products             %s (%s)\n",
                 json_string_value(json_object_get(blas, "config")),
                 json_string_value(json_object_get(blas, "core")),
                 json_real_value(json_object_get(blas, "gflops")),
                 (long long)json_integer_value(json_object_get(blas, "threads")),
                 json_real_value(json_object_get(blas, "weight_gflops")),
                 json_string_value(json_object_get(blas, "path")),
                 json_string_value(json_object_get(blas, "why")));
    json_array_foreach(json_object_get(blas, "warnings"), i, warning)
    {
        (void)printf("warning              %s\n", json_string_value(warning));
    }
}

static void print_document(const json_t *document)
{
    static const char *const members[] = {
        "folder",     "done", "sha256", "family", "size", "vocabulary", "vocabulary_sha256",
        "parameters", "heads"};
    for (size_t i = 0; i < RZ_COUNT(members); i++)
        print_member(document, members[i]);
    (void)putchar('\n');
    print_object(json_object_get(document, "config"));
    if (json_object_get(document, "origin") != NULL) {
        (void)putchar('\n');
        print_object(json_object_get(document, "origin"));
    }
    (void)putchar('\n');
    print_tensors(json_object_get(document, "tensors"));
    print_tasks(json_object_get(document, "tasks"));
    if (json_object_get(document, "onset") != NULL) {
        (void)putchar('\n');
        print_object(json_object_get(document, "onset"));
    }
    if (json_object_get(document, "blas") != NULL)
        print_blas(json_object_get(document, "blas"));
    if (json_object_get(document, "card") != NULL)
        (void)printf("\n%s", json_string_value(json_object_get(document, "card")));
}

static rz_status show(const rz_options *options, rz_error *error)
{
    const char *const *folders;
    size_t n = rz_options_operands(options, &folders);
    bool size = rz_options_text(options, "size") != NULL,
         config = rz_options_text(options, "config") != NULL;
    json_t *document = NULL;
    if (n + size + config != 1)
        return rz_fail(error, RZ_E_USAGE,
                       "show needs one of --size NAME, --config FILE or a "
                       "model's folder");
    rz_status status = n == 1 ? describe_folder(folders[0], &document, error)
                              : describe_size(options, &document, error);
    if (status == RZ_OK)
        status = add_blas(options, document, error);
    if (status == RZ_OK && rz_options_switch(options, "json")) {
        if (json_dumpf(document, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0 ||
            putchar('\n') == EOF)
            status = rz_fail(error, RZ_E_IO, "cannot write the document");
    } else if (status == RZ_OK) {
        print_document(document);
    }
    json_decref(document);
    return status;
}

rz_status cmd_show(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, true, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop)
        status = show(options, error);
    rz_options_free(options);
    return status;
}
