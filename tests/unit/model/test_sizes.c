/* The sizes of models/sizes: each file is what the family makes of its name, and the numbers of
 * parameters at 1,930 codes are those of the design. */
#include "check.h"

#include "base/file.h"
#include "base/size.h"
#include "model/model.h"

static void files_say_what_the_family_makes(void **state)
{
    (void)state;
    static const struct {
        const char *size;
        double millions;
    } cases[] = {
        {"2.2m", 2.191}, {"4.7m", 4.658}, {"11m", 11.361}, {"32m", 31.847}, {"101m", 101.128}};
    rz_error error = {0};
    const rz_family *family = rz_family_find("encoder");
    const char *root = getenv("REZEPT_SOURCE_ROOT");
    assert_non_null(family);
    assert_non_null(root);
    for (size_t i = 0; i < RZ_COUNT(cases); i++) {
        rz_config config, from_file;
        char path[512], *text;
        rz_tensor_spec tensors[256];
        size_t length, n, parameters = 0;
        (void)snprintf(path, sizeof path, "%s/models/sizes/%s.json", root, cases[i].size);
        check_ok(rz_file_read(path, 10000, &text, &length, &error));
        json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
        check_ok(family->config_for_size(cases[i].size, &config, &error));
        check_ok(family->config_parse(json, &from_file, &error));
        json_t *made = family->config_write(&config), *read = family->config_write(&from_file);
        if (!json_equal(made, json) || !json_equal(read, json))
            fail_msg("%s is not %s", path, json_dumps(made, JSON_INDENT(1)));
        config.n_diagnoses = config.n_medications = 965;
        check_ok(family->tensor_table(&config, tensors, RZ_COUNT(tensors), &n, &error));
        for (size_t k = 0; k < n; k++)
            parameters += tensors[k].count;
        check_near((double)parameters / 1e6, cases[i].millions, 0.0005);
        json_decref(made);
        json_decref(read);
        json_decref(json);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_say_what_the_family_makes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
