/* Checkpoints: out and in again to the bit, and every way a folder can be wrong. */
#include "check.h"
#include "folder.h"

#include "base/file.h"
#include "base/size.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/rezept-checkpoint-XXXXXX";
static rz_model *model;
static rz_checkpoint_origin origin = {
    .seed = 18446744073709551615u, .code_version = "0.1.0", .split = "fold 2/5"};

static char *in(const char *name)
{
    static char path[4][256];
    static unsigned turn;
    char *out = path[turn++ % 4];
    (void)snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static int setup(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_vocabulary *vocabulary = NULL;
    const char *heads[] = {"ckd", "pregabalin"};
    rz_config config = {.family = "encoder",
                        .size = "custom",
                        .hidden = 16,
                        .layers = 1,
                        .heads = 2,
                        .feed_forward = 32,
                        .age_hidden = 16,
                        .age_bins = 1200,
                        .context = 32,
                        .dropout = 0.1f};
    (void)memset(origin.data_sha256, 'a', RZ_SHA256_TEXT - 1);
    if (rz_facilities_read("H5,H3", true, &origin.facilities, &error) != RZ_OK)
        return -1;
    if (temp_folder(folder) == NULL || rz_hash_setup(&error) != RZ_OK ||
        rz_vocabulary_synthetic(9, &vocabulary, &error) != RZ_OK ||
        rz_model_new(&config, vocabulary, heads, 2, 7, NULL, &model, &error) != RZ_OK) {
        (void)fprintf(stderr, "# %s\n", error.text);
        return -1;
    }
    rz_vocabulary_free(vocabulary);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rz_model_free(model);
    return 0;
}

static void write_model(void)
{
    rz_error error = {0};
    check_ok(rz_checkpoint_begin(folder, &error));
    check_ok(rz_checkpoint_write(folder, model, &origin, &error));
    check_ok(rz_file_write(in("tasks.json"), "{}", 2, &error));
    check_ok(rz_checkpoint_finish(folder, &error));
}

static void spoil(const char *name, long offset, char mask)
{
    FILE *file = fopen(in(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(file);
    assert_true(c != EOF);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    (void)fputc(c ^ mask, file);
    assert_int_equal(fclose(file), 0);
}

static long size_of(const char *name)
{
    struct stat info;
    assert_int_equal(stat(in(name), &info), 0);
    return (long)info.st_size;
}

static void written_is_loaded_to_the_bit(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_checkpoint loaded = {0};
    write_model();
    check_ok(rz_checkpoint_load(folder, NULL, &loaded, &error));
    assert_int_equal(loaded.model->n_parameters, model->n_parameters);
    assert_memory_equal(loaded.model->parameters, model->parameters,
                        model->n_parameters * sizeof(float));
    assert_int_equal(loaded.model->n_heads, 2);
    assert_string_equal(loaded.model->head_names[1], "pregabalin");
    assert_string_equal(loaded.model->vocabulary->sha256, model->vocabulary->sha256);
    assert_true(loaded.origin.seed == origin.seed);
    assert_string_equal(loaded.origin.data_sha256, origin.data_sha256);
    assert_string_equal(loaded.origin.split, "fold 2/5");
    assert_memory_equal(&loaded.origin.facilities, &origin.facilities, sizeof origin.facilities);
    assert_string_equal(loaded.origin.code_version, "0.1.0");
    char sha256[RZ_SHA256_TEXT];
    uint64_t size;
    check_ok(rz_file_digest(in("model.safetensors"), sha256, &size, &error));
    assert_string_equal(loaded.sha256, sha256);
    rz_model_free(loaded.model);
}

static void a_finished_model_is_not_written_over(void **state)
{
    (void)state;
    rz_error error = {0};
    write_model();
    check_fails(rz_checkpoint_write(folder, model, &origin, &error), RZ_E_CONFLICT, "finished");
    check_ok(rz_file_write(in("vocab.json.aBc123"), "x", 1, &error));
    check_ok(rz_checkpoint_begin(folder, &error));
    assert_int_not_equal(access(in("DONE"), F_OK), 0);
    assert_int_not_equal(access(in("vocab.json.aBc123"), F_OK), 0);
    assert_int_equal(access(in("vocab.json"), F_OK), 0);
}

static void unfinished_is_not_found(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_checkpoint out = {0};
    check_ok(rz_checkpoint_begin(folder, &error));
    check_ok(rz_checkpoint_write(folder, model, &origin, &error));
    check_fails(rz_checkpoint_load(folder, NULL, &out, &error), RZ_E_NOT_FOUND, "DONE is missing");
    check_fails(rz_checkpoint_verify("/nonexistent/model", &error), RZ_E_NOT_FOUND, "/nonexistent");
    assert_null(out.model);
}

/* Every file of the folder: changed, longer, shorter, gone, a link, and in the list but foreign. */
static void every_change_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"model.safetensors", "config.json", "vocab.json",
                                        "tasks.json"};
    rz_error error = {0};
    rz_checkpoint out = {0};
    for (size_t i = 0; i < RZ_COUNT(names); i++) {
        write_model();
        spoil(names[i], -1, 1);
        check_fails(rz_checkpoint_load(folder, NULL, &out, &error), RZ_E_CORRUPT, names[i]);
        spoil(names[i], -1, 1);
        /* In the middle: another weight, another letter; only the digest can tell. */
        spoil(names[i], size_of(names[i]) / 2, 1);
        check_fails(rz_checkpoint_load(folder, NULL, &out, &error), RZ_E_CORRUPT, "has SHA-256 ");
        write_model();
        struct stat info;
        assert_int_equal(stat(in(names[i]), &info), 0);
        assert_int_equal(truncate(in(names[i]), info.st_size + 1), 0);
        check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, "DONE says");
        assert_int_equal(truncate(in(names[i]), info.st_size - 1), 0);
        check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, names[i]);
        assert_int_equal(unlink(in(names[i])), 0);
        check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, "is missing");
        assert_int_equal(symlink("/dev/zero", in(names[i])), 0);
        check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, "symbolic link");
        assert_int_equal(unlink(in(names[i])), 0);
    }
    assert_null(out.model);
}

static void resume_and_hidden_files_do_not_count(void **state)
{
    (void)state;
    rz_error error = {0};
    write_model();
    check_ok(rz_folder_make(in("resume"), &error));
    check_ok(rz_file_write(in("resume/state.json"), "{}", 2, &error));
    check_ok(rz_file_write(in(".note"), "x", 1, &error));
    check_ok(rz_checkpoint_verify(folder, &error));
    /* What a loader would read must be listed. */
    check_ok(rz_checkpoint_begin(folder, &error));
    assert_int_equal(unlink(in("tasks.json")), 0);
    check_ok(rz_checkpoint_finish(folder, &error));
    check_ok(rz_file_write(in("tasks.json"), "{}", 2, &error));
    check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, "tasks.json is there");
}

static void a_damaged_list_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "does not list model.safetensors"},
        {"x", "line 1: it does not end"},
        {"x\n", "line 1"},
        {"0000000000000000000000000000000000000000000000000000000000000000  1  ../x\n", "line 1"},
        {"0000000000000000000000000000000000000000000000000000000000000000  1  .x\n", "line 1"},
        {"0000000000000000000000000000000000000000000000000000000000000000  -1  x\n", "line 1"},
        {"000000000000000000000000000000000000000000000000000000000000000G  1  x\n", "line 1"},
        {"0000000000000000000000000000000000000000000000000000000000000000  1  x\n"
         "0000000000000000000000000000000000000000000000000000000000000000  1  x\n",
         "line 2: x is twice"},
        {"0000000000000000000000000000000000000000000000000000000000000000  1  config.json\n"
         "0000000000000000000000000000000000000000000000000000000000000000  1  model.safetensors\n"
         "0000000000000000000000000000000000000000000000000000000000000000  1  tasks.json\n"
         "0000000000000000000000000000000000000000000000000000000000000000  1  vocab.json\n",
         "DONE says 1"},
    };
    rz_error error = {0};
    write_model();
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        check_ok(rz_file_write(in("DONE"), cases[i].text, strlen(cases[i].text), &error));
        check_fails(rz_checkpoint_verify(folder, &error), RZ_E_CORRUPT, cases[i].words);
    }
}

/* Models from before the split was recorded still load and say that they do not know. */
static void a_split_that_is_not_recorded_is_empty(void **state)
{
    (void)state;
    static const char part[] = "\"split\": \"fold 2/5\"";
    rz_error error = {0};
    rz_checkpoint loaded = {0};
    char *text;
    write_model();
    check_ok(rz_checkpoint_begin(folder, &error));
    check_ok(rz_file_read(in("config.json"), 8000, &text, NULL, &error));
    char *place = strstr(text, part);
    assert_non_null(place);
    memcpy(place, "\"other\": \"fold 2/5\"", sizeof part - 1);
    check_ok(rz_file_write(in("config.json"), text, strlen(text), &error));
    check_ok(rz_checkpoint_finish(folder, &error));
    check_ok(rz_checkpoint_load(folder, NULL, &loaded, &error));
    assert_string_equal(loaded.origin.split, "");
    rz_model_free(loaded.model);
    free(text);
}

/* Models from before facilities were recorded have left none out; a selection that cannot be read
 * is no model's. */
static void facilities_that_are_not_recorded_are_all(void **state)
{
    (void)state;
    static const char part[] = "\"facilities\"", list[] = "\"all_but\"";
    rz_error error = {0};
    rz_checkpoint loaded = {0};
    char *text;
    write_model();
    check_ok(rz_file_read(in("config.json"), 8000, &text, NULL, &error));
    for (int turn = 0; turn < 2; turn++) {
        char *place = strstr(text, turn == 0 ? list : part);
        assert_non_null(place);
        memcpy(place, turn == 0 ? "\"none_of\"" : "\"otherthing\"",
               turn == 0 ? sizeof list - 1 : sizeof part - 1);
        check_ok(rz_checkpoint_begin(folder, &error));
        check_ok(rz_file_write(in("config.json"), text, strlen(text), &error));
        check_ok(rz_checkpoint_finish(folder, &error));
        if (turn == 0)
            check_fails(rz_checkpoint_load(folder, NULL, &loaded, &error), RZ_E_CORRUPT,
                        "config.json: facilities must be");
        else
            check_ok(rz_checkpoint_load(folder, NULL, &loaded, &error));
    }
    assert_int_equal(loaded.origin.facilities.n, 0);
    rz_model_free(loaded.model);
    free(text);
}

/* A model with the onset head is of version 2, which older programs refuse: what is left of it
 * without that head must not pass for the model. */
static void an_onset_head_is_of_version_2(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_checkpoint loaded = {0};
    rz_model *plain = model, *other = NULL;
    char *text;
    check_ok(rz_model_with_heads(plain, NULL, 0, true, 5, &model, &error));
    write_model();
    check_ok(rz_file_read(in("config.json"), 8000, &text, NULL, &error));
    assert_non_null(strstr(text, "\"format_version\": 2"));
    check_ok(rz_checkpoint_load(folder, NULL, &loaded, &error));
    assert_true(loaded.model->config.onset && loaded.model->n_heads == 0);
    assert_int_equal(rz_model_tensor(loaded.model, "onset.weight")->count, 9 * 16);
    assert_memory_equal(loaded.model->parameters, model->parameters,
                        model->n_parameters * sizeof(float));
    /* Other heads over the same encoder leave it behind. */
    check_ok(rz_model_with_heads(loaded.model, NULL, 0, false, 5, &other, &error));
    assert_null(rz_model_tensor(other, "onset.weight"));
    check_ok(rz_checkpoint_begin(folder, &error));
    *strstr(text, "n\": 2") = 'm'; /* "format_versiom" */
    check_ok(rz_file_write(in("config.json"), text, strlen(text), &error));
    check_ok(rz_checkpoint_finish(folder, &error));
    check_fails(rz_checkpoint_load(folder, NULL, &loaded, &error), RZ_E_UNSUPPORTED, "version");
    free(text);
    rz_model_free(loaded.model);
    rz_model_free(other);
    rz_model_free(model);
    model = plain;
}

/* A hostile folder has a DONE that fits. Each case changes config.json in one place. */
static void hostile_configurations_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *find, *replace, *words;
        rz_status status;
    } cases[] = {
        {"rezept-model", "other-model", "format", RZ_E_UNSUPPORTED},
        {"\"format_version\": 1", "\"format_version\": 4", "version 4", RZ_E_UNSUPPORTED},
        {"\"format_version\": 1", "\"format_version\": 2", "the model described is of version 1",
         RZ_E_CORRUPT},
        {"\"encoder\"", "\"diviner\"", "diviner", RZ_E_UNSUPPORTED},
        {"\"hidden\": 16", "\"hidden\": 8192", "parameters", RZ_E_CORRUPT},
        {"\"hidden\": 16", "\"hidden\": 32", "parameters", RZ_E_CORRUPT},
        {"\"hidden\": 16", "\"hidden\": -16", "hidden", RZ_E_CORRUPT},
        {"\"layers\": 1", "\"layers\": 48", "parameters", RZ_E_CORRUPT},
        {"\"feed_forward\": 32", "\"feed_forward\": 16", "tensor '", RZ_E_CORRUPT},
        {"\"n_diagnoses\": 5", "\"n_diagnoses\": 4", "diagnoses", RZ_E_CORRUPT},
        {"\"ckd\"", "\"other\"", "tensor 'heads.other", RZ_E_CORRUPT},
        {"\"ckd\"", "\"../x\"", "heads: name 0", RZ_E_CORRUPT},
        {"\"ckd\"", "\"pregabalin\"", "twice", RZ_E_CORRUPT},
        {"\"ckd\",", "", "is not part of such a model", RZ_E_CORRUPT},
        {"\"split\": \"fold 2/5\"", "\"split\": 25", "split must be a text", RZ_E_CORRUPT},
        {"\"data_sha256\": \"aa", "\"data_sha256\": \"XX", "no SHA-256", RZ_E_CORRUPT},
        {"\"seed\": -1", "\"seed\": \"x\"", "seed", RZ_E_CORRUPT},
        {"\"vocabulary_sha256\": \"", "\"vocabulary_sha256\": \"0", "vocabulary_sha256",
         RZ_E_CORRUPT},
        {"{\n", "[\n", "config.json", RZ_E_CORRUPT},
    };
    rz_error error = {0};
    rz_checkpoint out = {0};
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        char *text, changed[8192];
        write_model();
        check_ok(rz_checkpoint_begin(folder, &error));
        check_ok(rz_file_read(in("config.json"), 8000, &text, NULL, &error));
        char *place = strstr(text, cases[i].find);
        if (place == NULL)
            fail_msg("config.json has no %s: %s", cases[i].find, text);
        (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(place - text), text,
                       cases[i].replace, place + strlen(cases[i].find));
        check_ok(rz_file_write(in("config.json"), changed, strlen(changed), &error));
        check_ok(rz_checkpoint_finish(folder, &error));
        check_fails(rz_checkpoint_load(folder, NULL, &out, &error), cases[i].status,
                    cases[i].words);
        free(text);
    }
    assert_null(out.model);
}

/* A vocabulary of the same size but other content, with a DONE that fits. */
static void a_foreign_vocabulary_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_checkpoint out = {0};
    rz_vocabulary *other;
    write_model();
    check_ok(rz_checkpoint_begin(folder, &error));
    check_ok(rz_vocabulary_synthetic(10, &other, &error));
    check_ok(rz_vocabulary_write(other, in("vocab.json"), &error));
    rz_vocabulary_free(other);
    check_ok(rz_checkpoint_finish(folder, &error));
    check_fails(rz_checkpoint_load(folder, NULL, &out, &error), RZ_E_CORRUPT,
                "the model was made with");
}

/* Each byte of the weights' header changed, DONE made to fit: refused, or the change was in a text
 * of the metadata that means nothing to the loader, and then the weights are the same. */
static void changed_headers_never_change_weights(void **state)
{
    (void)state;
    rz_error error = {0};
    char *bytes;
    size_t n, accepted = 0, refused = 0;
    write_model();
    check_ok(rz_file_read(in("model.safetensors"), 1 << 20, &bytes, &n, &error));
    size_t header = 8 + (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1];
    for (size_t i = 0; i < header; i += 1 + i / 16) {
        rz_checkpoint out = {0};
        check_ok(rz_checkpoint_begin(folder, &error));
        spoil("model.safetensors", (long)i, 1);
        check_ok(rz_checkpoint_finish(folder, &error));
        if (rz_checkpoint_load(folder, NULL, &out, &error) == RZ_OK) {
            accepted++;
            assert_memory_equal(out.model->parameters, model->parameters,
                                model->n_parameters * sizeof(float));
            rz_model_free(out.model);
        } else {
            refused++;
            assert_non_null(strstr(error.text, "model.safetensors"));
        }
        rz_error_clear(&error);
        spoil("model.safetensors", (long)i, 1);
    }
    assert_true(refused > accepted);
    free(bytes);
}

static void a_weight_that_is_no_number_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    rz_checkpoint out = {0};
    write_model();
    check_ok(rz_checkpoint_begin(folder, &error));
    FILE *file = fopen(in("model.safetensors"), "r+b");
    assert_non_null(file);
    float nan_value = NAN;
    assert_int_equal(fseek(file, -4, SEEK_END), 0);
    assert_int_equal(fwrite(&nan_value, sizeof nan_value, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    check_ok(rz_checkpoint_finish(folder, &error));
    check_fails(rz_checkpoint_load(folder, NULL, &out, &error), RZ_E_CORRUPT,
                "tensor 'heads.pregabalin.bias': element 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_loaded_to_the_bit),
        cmocka_unit_test(a_finished_model_is_not_written_over),
        cmocka_unit_test(unfinished_is_not_found),
        cmocka_unit_test(every_change_is_noticed),
        cmocka_unit_test(resume_and_hidden_files_do_not_count),
        cmocka_unit_test(a_damaged_list_is_refused),
        cmocka_unit_test(a_split_that_is_not_recorded_is_empty),
        cmocka_unit_test(facilities_that_are_not_recorded_are_all),
        cmocka_unit_test(an_onset_head_is_of_version_2),
        cmocka_unit_test(hostile_configurations_are_refused),
        cmocka_unit_test(a_foreign_vocabulary_is_refused),
        cmocka_unit_test(changed_headers_never_change_weights),
        cmocka_unit_test(a_weight_that_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
